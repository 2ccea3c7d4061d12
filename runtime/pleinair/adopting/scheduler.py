"""The scheduler config of a folder, and the one that its pictures are walked by."""

from pathlib import Path
from typing import Any

from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import small_json
from pleinair.checks import quoted, shown_path
from pleinair.errors import BundleError
from pleinair.pouring.kinds import PNDM
from pleinair.sources.families import Family
from pleinair.sources.schedulers import as_walked

GUESSED = "it has no scheduler config, so it is taken for a model that predicts noise as Stable Diffusion 1.x does"
CONFIG = "scheduler/scheduler_config.json"
WALKED = "scheduler/pleinair_scheduler_config.json"


def scheduler_of(
    root: Path, index: dict[str, Any], family: Family, sampler: str | None
) -> tuple[str, dict[str, Any], str]:
    """(file, config) to walk by: the folder's own where diffusers' pipeline would change nothing of it, else WALKED.

    A UNet without one, and with a `sampler` to paint with, is taken for one that predicts noise; that guess comes
    third, as a warning.
    """
    config = small_json(root, CONFIG)
    presumed = family.denoiser.presumed
    if config is None and presumed is not None:
        if sampler is not None:
            return WALKED, {**PNDM, "prediction_type": presumed}, GUESSED
        raise BundleError(
            f"'{shown_path(root / CONFIG)}' is missing; {AGAIN}, with its small files, or name the sampler to paint"
            f" with: pleinair adopt {quoted(root)} --sampler euler"
        )
    if config is None:
        raise BundleError(f"'{shown_path(root / CONFIG)}' is missing; {AGAIN}, with its small files")
    walked = as_walked(config, index["_class_name"], index.get("scheduler"))
    return (CONFIG if walked == config else WALKED), walked, ""
