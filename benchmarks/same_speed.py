"""Does a graph with the benchmark's weights cost as much time as with ordinary ones?

    python benchmarks/random_model.py sd15 RANDOM
    pleinair pour RANDOM ORDINARY --weights fp32
    python benchmarks/same_speed.py sd15 vae_decoder fp32 openvino --ordinary ORDINARY

Both are loaded in one process and take turns (ABBA), so that what else the machine does meets both alike. Exit code 1
when the processor time, which other programs disturb less than that of the clock, differs by more than --within.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import SimpleNamespace

import numpy as np

from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import Graph
from pleinair.engines.graphs import open_graph
from pleinair_bench.filling import filled
from pleinair_bench.worker import inputs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "graph", "weights", "format"):
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument("--ordinary", type=Path, required=True, help="a bundle of the same model and kind of weights")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--side", type=int, default=256, help="of the picture, in pixels")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="more of them wait for each other, in processor time")
    parser.add_argument("--within", type=float, default=0.03)
    asked = parser.parse_args()
    bundles = [filled(asked.model, asked.graph, asked.weights, asked.format, asked.cache), open_bundle(asked.ordinary)]
    graphs = [open_graph(each, asked.graph, asked.format, None, asked.threads) for each in bundles]
    feed = inputs(SimpleNamespace(work=asked.graph, batch=1, height=asked.side, width=asked.side), bundles[0])
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


def timed(graph: Graph, feed: dict[str, np.ndarray]) -> tuple[float, float]:
    """(wall, CPU) seconds of one run."""
    wall, cpu = perf_counter(), process_time()
    graph(**feed)
    return perf_counter() - wall, process_time() - cpu


if __name__ == "__main__":
    raise SystemExit(main())
