"""What folding upsampling into convolutions saves and changes: one call of a bundle's UNet and VAE decoder on OpenVINO.

    python benchmarks/folded_upsampling.py SD15 --size 512 --precision f32 bf16

Processor time of one thread, with and without in turn, on noise. dB are from the graph that is not folded.
"""

import argparse
from pathlib import Path
from time import process_time

import numpy as np

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import Graphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--precision", nargs="+", default=["f32"])
    parser.add_argument("--graph", nargs="+", default=["unet", "vae_decoder"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    for precision in asked.precision:
        for graph in asked.graph:
            print(graph, precision, compared(bundle, graph, precision, asked.size, asked.rounds), flush=True)


def compared(bundle: Bundle, graph: str, precision: str, size: int, rounds: int) -> str:
    how = {"threads": 1, "precision": precision}
    ways = {fold: Graphs(bundle, engine_named("openvino"), fold=fold, **how) for fold in (False, True)}
    feeds = fed(bundle, graph, size)
    answers = {fold: next(iter(graphs.open(graph)(**feeds).values())) for fold, graphs in ways.items()}
    seconds: dict[bool, list[float]] = {fold: [] for fold in ways}
    for _ in range(rounds):
        for fold, graphs in ways.items():
            mark = process_time()
            graphs.open(graph)(**feeds)
            seconds[fold].append(process_time() - mark)
    error = np.mean((answers[True].astype(float) - answers[False]) ** 2)
    near = 10 * np.log10(np.mean(answers[False].astype(float) ** 2) / max(error, 1e-300))
    apart, folded = (min(seconds[fold]) for fold in (False, True))
    count = ways[True].folded.get(graph, 0)
    return f"{count} folded: {apart:.2f} s -> {folded:.2f} s ({apart / folded:.3f} times as fast), {near:.1f} dB"


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
