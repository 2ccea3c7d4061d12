"""A model exported so that it computes in int8: first as it is, checked against torch, then quantized from that."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.staging import beside, check_target
from pleinair.checks import one_of
from pleinair.errors import BundleError, RequestError
from pleinair.quantizing.quantize import quantize
from pleinair_export.convert import export
from pleinair_export.progress import ExportProgress

ACTIVATIONS = ("fp32", "int8")
WIDE = "wide"  # a hidden folder beside OUT, with the model as it is
STORED = "fp16"  # weights of what is not quantized


def check_activations(activations: str, weights: str, formats: tuple[str, ...]) -> None:
    """Raise RequestError for what cannot be computed in."""
    one_of("activations", activations, ACTIVATIONS)
    if activations == "int8" and weights != "int8":
        raise RequestError("activations in int8 are for weights in int8; add --weights int8")
    if activations == "int8" and "openvino" not in formats:
        raise RequestError("ranges of activations are recorded with OpenVINO; choose --format both or openvino")


def export_quantized(
    source: str | Path, out: str | Path, *, formats: tuple[str, ...], prompts: Path | None, force: bool, **how: Any
) -> Iterator[ExportProgress]:
    """Export a model that paints as W8A8, yielding before steps; `how` is what else `export` takes.

    What is done stays beside OUT until all is done, so that an interrupted export goes on where it was. Raises what
    `export` and `quantize` raise.
    """
    out = Path(out).resolve()
    check_target(out, force)
    exported = beside(out, WIDE)
    if not (exported / MANIFEST).exists():
        yield from export(source, exported, formats=formats, weights=STORED, **how)
    bundle = open_bundle(exported)
    if not bundle.manifest.paints:
        shutil.rmtree(exported)
        raise BundleError(f"'{bundle.manifest.name}' paints nothing by itself; leave --activations out")
    command = bundle.manifest.origin.command.replace(f"--weights {STORED}", "--weights int8 --activations int8")
    for step in quantize(exported, out, prompts=prompts, force=force, command=command):
        yield ExportProgress("w8a8", step.stage, step.done, step.total)
    shutil.rmtree(exported)
