"""Does a graph with filled weights cost as much time as with ordinary ones?

    python benchmarks/make_topologies.py sd15 --graph vae_decoder --keep /tmp/random
    python benchmarks/same_speed.py sd15 vae_decoder fp32 openvino --ordinary /tmp/random --side 32

Both are loaded in one process and take turns (ABBA), so that what else the machine does meets both alike. Exit code 1
when the processor time, which other programs disturb less than that of the clock, differs by more than --within.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from pleinair.bundle.manifest import Port
from pleinair.engines.engine import Graph
from pleinair.engines.graphs import open_graph
from pleinair_bench.topologies import filled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topology", nargs=4, metavar=("NAME", "COMPONENT", "PRECISION", "FORMAT"))
    parser.add_argument("--ordinary", type=Path, required=True, help="what make_topologies.py was told to --keep")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--side", type=int, default=32, help="of the latents: 64 is a picture of 512")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="more of them wait for each other, in processor time")
    parser.add_argument("--within", type=float, default=0.03)
    asked = parser.parse_args()
    name, component, precision, form = asked.topology
    bundle = filled(*asked.topology, asked.cache)
    bundles = [bundle, replace(bundle, path=asked.ordinary / f"{name}-{precision}")]
    graphs = [open_graph(each, component, form, None, asked.threads) for each in bundles]
    feed = inputs(bundle.manifest.graphs[component].inputs, asked.side)
    for graph in graphs:
        spread = {port: float(array.std()) for port, array in list(graph(**feed).items())[:1]}
        timed(graph, feed)
        print("spread of", *spread.items())
    rounds = [[timed(graphs[n], feed) for n in order] for order in [(0, 1), (1, 0)] * (asked.repeats // 2)]
    rounds = [times if n % 2 == 0 else times[::-1] for n, times in enumerate(rounds)]
    for place, clock in enumerate(("wall", "CPU")):
        a, b = ([times[n][place] for times in rounds] for n in (0, 1))
        ratio = median(x / y for x, y in zip(a, b, strict=True))
        print(f"{clock:5} filled {median(a):.4f} s (least {min(a):.4f}), ordinary {median(b):.4f} s ({min(b):.4f}),"
              f" median of {len(rounds)} ratios {ratio:.4f}")  # fmt: skip
    return int(abs(ratio - 1) > asked.within)


def inputs(ports: dict[str, Port], side: int) -> dict[str, np.ndarray]:
    """One picture's worth of normal numbers, or of token ids, for every port."""
    rng = np.random.default_rng(0)
    sizes = {"batch": 1, "tokens": 77, "height": side, "width": side}
    arrays = {}
    for name, port in ports.items():
        shape = tuple(sizes.get(size, size) for size in port.shape)
        arrays[name] = (
            rng.integers(0, 40000, shape) if port.dtype == "int64" else rng.standard_normal(shape, np.float32)
        )
    return arrays


def timed(graph: Graph, feed: dict[str, np.ndarray]) -> tuple[float, float]:
    """(wall, CPU) seconds of one run."""
    wall, cpu = perf_counter(), process_time()
    graph(**feed)
    return perf_counter() - wall, process_time() - cpu


if __name__ == "__main__":
    raise SystemExit(main())
