"""What a step costs besides the network: the sampler, guidance, the check for NaN, fresh noise, a linear preview.

    python benchmarks/step_cost.py --side 64 16 --step-ms 4000 10

Microseconds a step, one picture, of whole walks with a network that answers at once (fastest of --repeats). A share is
that of `all` in the time (--step-ms, for each --side) that the network itself takes for one guided evaluation.
"""

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import NamedTuple

import numpy as np

from pleinair.bundle.opening import open_bundle
from pleinair.engines.failures import check_finite
from pleinair.network.guidance import Guidance, Guide, Guided
from pleinair.pictures.vae import rough
from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import make_path
from pleinair.sampling.noise import NOISES, slerp, source, stacked
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.samplers import SAMPLERS

BUNDLE = open_bundle()
TOLD = {"text": np.zeros((1, 77, 768), np.float32)}


class Column(NamedTuple):
    """What a walk is measured with: its guidance, and whether each step is checked and shown."""

    guidance: Guidance
    everything: bool = False


COLUMNS = {
    "text alone": Column(Guidance(1.0)),
    "CFG": Column(Guidance(7.5)),
    "CFG, rescale": Column(Guidance(7.5, rescale=0.7)),
    "all": Column(Guidance(7.5, rescale=0.7), everything=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, nargs="+", default=[64, 16], help="of the latents: 64 is a picture of 512")
    parser.add_argument("--step-ms", type=float, nargs="+", default=[], help="the network's own time, for each side")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args()
    for number, side in enumerate(asked.side):
        print(f"\n{side}x{side} latents, microseconds\n")
        step_ms = asked.step_ms[number] if number < len(asked.step_ms) else None
        print(f"{'sampler':14}", *(f"{name:>13}" for name in COLUMNS), f"{'share of all':>13}" if step_ms else "")
        for sampler in SAMPLERS:
            costs = [walk_cost(sampler, side, asked, column) for column in COLUMNS.values()]
            evaluations = costs[-1][1]
            share = f"{costs[-1][0] / (10 * step_ms * evaluations):12.2f}%" if step_ms else ""
            print(f"{sampler:14}", *(f"{microseconds:13.0f}" for microseconds, _ in costs), share)
        print("\nby itself:", *(f"{name} {cost:.0f}" for name, cost in parts(side, asked.repeats).items()), sep="\n  ")


def walk_cost(sampler: str, side: int, asked: argparse.Namespace, column: Column) -> tuple[float, float]:
    """(microseconds, network evaluations) of one step of a walk."""
    config = BUNDLE.scheduler_config
    path = make_path(config, SAMPLERS[sampler].grid, asked.steps)
    shape = (4, side, side)
    answers = stacked([source(1), source(2)], shape)
    guide, generator, calls = Guide((TOLD,), (1.0,), TOLD), source(0), []

    def network(x: np.ndarray, point: Point, step: int, told: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(step)
        return answers[: len(x)]

    denoise = Guided(network, lambda step: guide, column.guidance, prediction_type(config), len(path))
    solver = make_solver(sampler, config)
    start = path.start * stacked([source(3)], shape)

    def walk() -> None:
        calls.clear()
        for state in solver(denoise, start, path, lambda: stacked([generator], shape)):
            if column.everything:
                check_finite(state.x, "")
                rough(state.x0, BUNDLE.manifest.latents.rgb, BUNDLE.manifest.vae.downsample)

    return timed(walk, asked.repeats) / len(path), len(calls) / len(path)


def parts(side: int, repeats: int) -> dict[str, float]:
    """Microseconds of single things."""
    shape = (4, side, side)
    a, b = source(1).normal(shape), source(2).normal(shape)
    draws = {f"noise, {kind}": partial(source(0, kind).normal, shape) for kind in NOISES}
    rest = {
        "variation seed (once a picture)": partial(slerp, a, b, 0.3),
        "check for NaN": partial(check_finite, a, ""),
        "preview": partial(rough, a[None], BUNDLE.manifest.latents.rgb, BUNDLE.manifest.vae.downsample),
    }
    return {name: timed(act, 20 * repeats) for name, act in {**draws, **rest}.items()}


def timed(act: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` times, in microseconds: what other programs take away is not ours."""
    times = []
    for _ in range(repeats):
        mark = perf_counter()
        act()
        times.append(perf_counter() - mark)
    return min(times) * 1e6


if __name__ == "__main__":
    main()
