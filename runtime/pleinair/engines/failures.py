"""What an engine's own errors and answers mean to people."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from pleinair.checks import one_line, shown_path
from pleinair.engines.edits import Residuals
from pleinair.errors import BundleError, EngineError, PleinairError, ResourceError


def unreadable(file: Path, error: Exception) -> PleinairError:
    """The error for a graph file that an engine cannot load."""
    if out_of_memory(error):
        return ResourceError(f"not enough memory to load '{file.parent.name}'; close programs, or use int8 weights")
    return BundleError(
        f"cannot load '{shown_path(file)}' ({reason(error)}); check the bundle with: pleinair info BUNDLE --verify"
    )


def failed(graph: str, device: str, error: Exception) -> PleinairError:
    """The error for a graph that an engine cannot compile or run."""
    if out_of_memory(error):
        return ResourceError(f"not enough memory to run '{graph}'; choose a smaller --size or --batch")
    return EngineError(f"'{graph}' failed on {device} ({reason(error)}); try another --device or --engine")


def no_extra(graph: str) -> BundleError:
    """The error for a text encoder that takes no embeddings from outside."""
    return BundleError(
        f"'{graph}' of this bundle takes no textual inversions; export the model again, or leave --embedding out"
    )


def no_weight(graph: str, name: str) -> BundleError:
    """The error for an edit of a weight that a graph does not have."""
    return BundleError(f"'{graph}' has no weight '{name}' of that shape; export the model again")


def no_residuals(model: str, edit: Residuals, channels: Sequence[int | None]) -> BundleError:
    """The error for a UNet whose skip connections and middle, of so many `channels`, are not a ControlNet's."""
    return BundleError(
        f"the ControlNet '{edit.name}' is not for '{model}': it adds to skip connections of {listed(edit.channels)}"
        f" channels, and that model's are {listed(channels)}; give a --control that was made for the model"
    )


def listed(channels: Sequence[int | None]) -> str:
    """Widths of skip connections, equal ones that follow each other together: 320 x 4, 640 x 3."""
    runs = [(width, len([*same])) for width, same in groupby(channels)]
    return ", ".join(f"{width or 'any'} x {count}" for width, count in runs[:8]) or "none"


def check_finite(numbers: np.ndarray, when: str) -> None:
    """Raise EngineError for NaN or infinity, which would end as a black picture."""
    if not np.isfinite(numbers).all():
        raise EngineError(
            f"the network returned NaN or infinity {when}; try another --engine or --device, or a lower --guidance"
        )


def out_of_memory(error: Exception) -> bool:
    """Whether an engine's error says that memory has ended; each has its own words for it."""
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("bad_alloc", "bad alloc", "out of memory", "failed to allocate")
    )


def reason(error: Exception) -> str:
    """The telling line of an engine's many-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__, 200)
