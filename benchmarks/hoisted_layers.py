"""What exact rewrites of a UNet could save at most: layers that depend on the prompt or the time alone, merged ones.

    python benchmarks/hoisted_layers.py sd15 --step-s 8.3

Processor time of one thread for a guided step (batch 2) in float: keys and values of the text, projections of the
time, and queries, keys and values in one product instead of three. --step-s is what the whole step takes, for shares.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import numpy as np

from pleinair.engines.openvino import ov

from openvino import opset13 as ops  # isort: skip

BATCH, TOKENS, TIME = 2, 77, 1280
SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True)
class UNetSizes:
    """Transformer blocks by (channels, image tokens), and residual blocks by channels: how many there are of each."""

    text: int
    blocks: dict[tuple[int, int], int]
    residuals: dict[int, int]


MODELS = {
    "sd15": UNetSizes(768, {(320, 4096): 5, (640, 1024): 5, (1280, 256): 5, (1280, 64): 1}, {320: 5, 640: 5, 1280: 12}),
    "sdxl": UNetSizes(2048, {(640, 4096): 10, (1280, 1024): 60}, {320: 5, 640: 5, 1280: 7}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--step-s", type=float, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    model, repeats = MODELS[asked.model], asked.repeats
    text = sum(
        count * 2 * linear(BATCH, TOKENS, model.text, [width], repeats) for (width, _), count in model.blocks.items()
    )
    time = sum(count * linear(1, BATCH, TIME, [width], repeats) for width, count in model.residuals.items())
    apart, merged = (
        sum(
            count * linear(BATCH, tokens, width, parts(width), repeats)
            for (width, tokens), count in model.blocks.items()
        )
        for parts in (lambda width: [width] * 3, lambda width: [3 * width])
    )
    saved = {"keys and values of the text": text, "projections of the time": time, "merged products": apart - merged}
    for name, seconds in saved.items():
        print(f"{name:30} {1e3 * seconds:8.1f} ms, {100 * seconds / asked.step_s:5.2f} % of a step")


def linear(batch: int, rows: int, width: int, outputs: list[int], repeats: int) -> float:
    """Seconds of linear layers on one array, the shortest of some runs."""
    noise = np.random.default_rng(0)
    start = ops.parameter([batch, rows, width], np.float32)
    weights = [ops.constant(noise.standard_normal((each, width), np.float32)) for each in outputs]
    ends = [ops.relu(ops.matmul(start, weight, False, True)) for weight in weights]
    model = ov.Model([end.output(0) for end in ends], [start], "linear")
    request = ov.Core().compile_model(model, "CPU", SETTINGS).create_infer_request()
    feeds = [noise.standard_normal((batch, rows, width), np.float32)]
    return shortest(lambda: request.infer(feeds), repeats)


def shortest(act: Callable[[], object], repeats: int) -> float:
    act()
    times = []
    for _ in range(repeats):
        mark = process_time()
        act()
        times.append(process_time() - mark)
    return min(times)


if __name__ == "__main__":
    main()
