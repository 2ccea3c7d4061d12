"""What a rewriting of graphs saves and changes: one call of a bundle's UNet and VAE decoder.

    python benchmarks/rewritings.py fold SD15 --size 512 --precision f32 bf16
    python benchmarks/rewritings.py share SD15 --graph unet --threads 2 --engine onnx

Time with and without it in turn, the least of some rounds, on noise: processor time of one thread, or the clock's where
there are more. dB are from the graph without it.
"""

import argparse
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from pleinair.bundle.manifest import LATENTS
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import Graphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rewriting", choices=("fold", "share"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", choices=("openvino", "onnx"), default="openvino")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--precision", nargs="+", default=["f32"])
    parser.add_argument("--graph", nargs="+", default=["unet", "vae_decoder"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    for precision in asked.precision:
        for graph in asked.graph:
            how = {"precision": precision, "threads": asked.threads}
            told = compared(bundle, asked.engine, graph, asked.rewriting, asked.size, asked.rounds, how)
            print(graph, precision, told, flush=True)


def compared(
    bundle: Bundle, engine: str, graph: str, rewriting: str, size: int, rounds: int, how: dict[str, Any]
) -> str:
    ways = {done: Graphs(bundle, engine_named(engine), **{rewriting: done}, **how) for done in (False, True)}
    feeds = dict.fromkeys(ways, fed(bundle, graph, size))
    if rewriting == "share":
        latents = next(port for port, feed in bundle.manifest.denoiser.feeds.items() if feed == LATENTS)
        feeds[False] = feeds[False] | {latents: np.concatenate([feeds[False][latents][:1]] * 2)}
        feeds[True] = feeds[True] | {latents: feeds[True][latents][:1]}
    answers = {done: next(iter(graphs.open(graph)(**feeds[done]).values())) for done, graphs in ways.items()}
    clock = process_time if how["threads"] == 1 else perf_counter
    seconds: dict[bool, list[float]] = {done: [] for done in ways}
    for _ in range(rounds):
        for done, graphs in ways.items():
            mark = clock()
            graphs.open(graph)(**feeds[done])
            seconds[done].append(clock() - mark)
    error = np.mean((answers[True].astype(float) - answers[False]) ** 2)
    near = 10 * np.log10(np.mean(answers[False].astype(float) ** 2) / (error or 1))
    apart, rewritten = (min(seconds[done]) for done in (False, True))
    count = sum(found.get(graph, 0) for found in ways[True].rewritten.values())
    told = f"{near:.1f} dB" if error else "equal to the bit"
    return f"{count} rewritten: {apart:.2f} s -> {rewritten:.2f} s ({apart / rewritten:.3f} times as fast), {told}"


def fed(bundle: Bundle, graph: str, size: int) -> dict[str, np.ndarray]:
    """Noise for each input: two rows for a UNet, as a guided step has them, one for a VAE."""
    noise = np.random.default_rng(0)
    rows, side = (1 if graph.startswith("vae") else 2), size // 8
    feeds = {}
    for name, port in bundle.manifest.graphs[graph].inputs.items():
        free = [rows, *((side, side) if len(port.shape) == 4 else (77,))]
        shape = [each if isinstance(each, int) else free.pop(0) for each in port.shape]
        feeds[name] = noise.standard_normal(shape, np.float32) if shape else np.float32(500)
    return feeds


if __name__ == "__main__":
    main()
