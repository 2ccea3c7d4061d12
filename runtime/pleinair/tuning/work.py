"""How much there is to paint, and for a model of which size."""

from dataclasses import dataclass, replace

from pleinair.bundle.manifest import Manifest

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # that a weight takes in a graph's file
MANY = 10  # pictures that a model is opened for where nobody says how many


@dataclass(frozen=True)
class PaintingWork:
    """What a model is opened for: pictures of so many pixels and steps, each step asking about `rows` texts.

    With `steps_alone` nothing else counts: a program that keeps a model open pays for opening once.
    """

    width: int
    height: int
    steps: int
    rows: int = 2
    pictures: int = 1
    steps_alone: bool = False


def usual_work(manifest: Manifest, pictures: int = MANY) -> PaintingWork:
    """Pictures as a model paints them where nothing else is said."""
    usual = manifest.defaults
    guided = manifest.guidance == "cfg" and usual.guidance > 1
    return PaintingWork(usual.width, usual.height, usual.steps, rows=2 if guided else 1, pictures=pictures)


def work_kept_open(manifest: Manifest) -> PaintingWork:
    """A usual picture of a program that keeps a model open."""
    return replace(usual_work(manifest, 1), steps_alone=True)


def millions_of_weights(manifest: Manifest, graph: str) -> float:
    """The size of a graph, told from its files."""
    info = manifest.graphs[graph]
    files = next(iter(info.files.values()))
    size = sum(manifest.files[name].size for name in files)
    return size / BYTES.get(info.weights, 2) / 1e6


def kind_of_model(manifest: Manifest) -> str:
    """What models are alike in speed by: family, form, and the size of the denoiser to two digits."""
    graph = manifest.denoiser.graph
    return f"{manifest.family} {manifest.graphs[graph].form} {millions_of_weights(manifest, graph):.2g}M"
