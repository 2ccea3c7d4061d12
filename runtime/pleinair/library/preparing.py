"""What was fetched made ready to paint, without PyTorch: graphs of other tools are adopted, safetensors are poured."""

from collections.abc import Iterator

from pleinair.adopting.adopt import judged, written
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.checks import shown_path
from pleinair.engines.engine import usual_format
from pleinair.errors import ResourceError
from pleinair.library import choosing
from pleinair.library.pourable import WEIGHTS
from pleinair.library.poured import mark
from pleinair.library.pulling import Brought
from pleinair.library.weights import network_weights
from pleinair.pouring.pour import PourProgress, pour
from pleinair.sources.origins import write_origin

READING = "reading the graphs once, for their SHA-256"
COMMAND = "pleinair pour"


def prepare(
    found: Brought,
    file: str | None,
    formats: tuple[str, ...] | None,
    weights: str | None,
    allow_pickle: bool = False,
) -> Iterator[PourProgress]:
    """Make `found.model` a bundle, step by step; what it is already stays.

    `formats` are those that are poured, by default that of an engine which is installed. Raises what `adopt` and `pour`
    raise, and ResourceError for a bundle with other weights than are asked for.
    """
    if (found.model / MANIFEST).is_file():
        yield from other_weights(found, weights)
    elif found.kind in choosing.GRAPHS:
        adoption = judged(found.model)
        yield PourProgress(READING, 0, adoption.size)
        written(adoption)
        yield from (PourProgress(warning, 0, 0, note=True) for warning in adoption.warnings)
    else:
        source = found.folder / file if file else found.folder
        how = {"formats": formats or (usual_format(),), "weights": weights or WEIGHTS, "allow_pickle": allow_pickle}
        yield from pour(source, found.model, **how)
        write_origin(found.model, found.origin)
        mark(found.model, source)


def other_weights(found: Brought, weights: str | None) -> Iterator[PourProgress]:
    """Say that a bundle has other weights than are asked for; ResourceError where those could have been poured."""
    bundle = open_bundle(found.model, verify=False)
    there = network_weights(bundle)
    if weights in (None, there):
        return
    if bundle.manifest.origin.command.startswith(COMMAND):
        raise ResourceError(
            f"'{found.origin.id}' is here with {there} weights, in '{shown_path(found.model)}'; for"
            f" {weights} ones choose another --to, or remove it (pleinair models rm)"
        )
    yield PourProgress(
        f"its weights are {there}, as they came; only safetensors can be stored as {weights}", 0, 0, True
    )
