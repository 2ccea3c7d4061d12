"""How long engines take for a job, from the table that `benchmarks/engine_costs.py` has measured."""

from dataclasses import dataclass

from pleinair.bundle.manifest import Manifest
from pleinair.tuning.costs import COSTS
from pleinair.tuning.work import PaintingWork, millions_of_weights

MEASURED_FORMS = ("fp32", "fp16")  # of weights; there is no telling others from these


@dataclass(frozen=True)
class CostLine:
    """Seconds that grow along a line: so many for nothing, and so many for each unit."""

    base: float
    per_unit: float

    def at(self, units: float) -> float:
        """Seconds for so many units."""
        return self.base + self.per_unit * units


@dataclass(frozen=True)
class EngineCosts:
    """Processor seconds of an engine that computes in some precision.

    `denoiser` and `others` are those of opening the denoiser and the other graphs of text-to-image, by millions of
    weights, and `denoiser_kept` and `others_kept` those of opening them where they were compiled by an earlier start;
    `step` and `decoding` are those of running, by millions of weights times latent pixels.
    """

    importing: float
    denoiser: CostLine
    others: CostLine
    denoiser_kept: CostLine
    others_kept: CostLine
    step: CostLine
    decoding: CostLine


def estimated_seconds(
    manifest: Manifest, engine: str, precision: str, work: PaintingWork, cores: int, kept: bool = False
) -> float | None:
    """Seconds from an engine's import to the last picture; None where nothing like that has been measured.

    Of work whose steps alone count, they are the seconds of these.

    `kept` says that what is compiled stays on the disk, so that only the first start has to compile.

    Other graphs are opened while the denoiser is where there are several cores, and running takes all cores.
    """
    row = COSTS.get(f"{engine} {precision}")
    denoiser, decoder = manifest.denoiser.graph, manifest.vae.decoder
    forms = {manifest.graphs[graph].form for graph in (denoiser, decoder)}
    if row is None or not forms.issubset(MEASURED_FORMS):
        return None
    lines = {name: CostLine(*value) for name, value in row.items() if name != "importing"}
    costs = EngineCosts(importing=row["importing"], **lines)
    graph, rest = (costs.denoiser_kept, costs.others_kept) if kept else (costs.denoiser, costs.others)
    weights = {name: millions_of_weights(manifest, name) for name in manifest.graphs}
    others = [decoder, *(encoder.graph for encoder in manifest.text_encoders)]
    opening = [graph.at(weights[denoiser]), rest.at(sum(weights[name] for name in others))]
    area = work.width * work.height / manifest.vae.downsample**2
    steps = work.steps * costs.step.at(weights[denoiser] * area * work.rows / 1e6)
    if work.steps_alone:
        return work.pictures * steps / cores
    opened = max(opening) if cores > 1 else sum(opening)
    running = steps + costs.decoding.at(weights[decoder] * area / 1e6)
    return costs.importing + opened + work.pictures * running / cores
