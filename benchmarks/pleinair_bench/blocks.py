"""A step of SD 1.5 at 512x512 with guidance, and its decoder, told from one block of each resolution.

The whole networks take gigabytes of disk and memory and half a minute to compile; these blocks take neither, and the
kernels that they run are those of the whole. A level's blocks differ in the channels that come in alone, so that a
level takes as many times one block's time as it has times that block's arithmetic. Weights are random; in W8A8 the
ranges are made up, which times do not tell from others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.errors import EngineError

MODEL, SIZE = "sd15", 512
ROWS = 2  # of the UNet's calls: with guidance
STORED = ("fp32", "w8a8")
HEADS, TEXT, TEXT_WIDE = 8, 77, 768
# Side of the latents -> channels, what comes into each residual block, transformers, channels of the 3x3 convolutions
# that change the side to this one. At the bottom, 8, there are residual blocks and a quarter of 16's transformer.
LEVELS = {
    64: (320, (320, 320, 960, 640, 640), 5.0, (640,)),
    32: (640, (320, 640, 1920, 1280, 960), 5.0, (320, 1280)),
    16: (1280, (640, 1280, 2560, 2560, 1920), 5.25, (640, 1280)),
}
LOWEST = (8, (1280, 1280, 1280, 1280, 2560, 2560, 2560), (1280,))  # counted with 16's block
DECODER = (256, 128)  # channels and side of its measured block
DECODER_GFLOP = 2515.0
REACH = 4.0  # of made-up ranges


@dataclass(frozen=True)
class Block:
    """One graph to measure, and how many times its time a network takes: `part` is "run", of a step, or "decode"."""

    name: str
    part: str
    times: float
    kind: str  # residual | transformer
    channels: int
    side: int
    rows: int


def all_blocks() -> Iterator[Block]:
    """The blocks that a step and a decode are told from."""
    for side, (channels, into, count, resizing) in LEVELS.items():
        whole = level_work(channels, side, into, resizing)
        if side == min(LEVELS):
            whole += level_work(channels, *LOWEST)
        times = whole / residual_work(channels, channels, side)
        yield Block(f"residual_{side}", "run", times, "residual", channels, side, ROWS)
        yield Block(f"transformer_{side}", "run", count, "transformer", channels, side, ROWS)
    channels, side = DECODER
    times = DECODER_GFLOP * 1e9 / residual_work(channels, channels, side)
    yield Block("residual_decoder", "decode", times, "residual", channels, side, 1)


def level_work(channels: int, side: int, into: tuple[int, ...], resizing: tuple[int, ...]) -> float:
    """Operations of a level's residual blocks and of the convolutions that lead to it, for one row."""
    plain = sum(18.0 * (each * side) ** 2 for each in resizing)
    return plain + sum(residual_work(each, channels, side) for each in into)


def residual_work(into: int, channels: int, side: int) -> float:
    """Operations of a residual block of one row: two 3x3 convolutions, and a 1x1 where the channels change."""
    shortcut = into * channels if into != channels else 0
    return 2.0 * side**2 * (9 * (into * channels + channels**2) + shortcut)


class BlockGraph:
    """Makes blocks in OpenVINO's operators; `int8` puts made-up ranges around every product and convolution."""

    def __init__(self, int8: bool) -> None:
        from pleinair.engines.openvino_weights import ops

        self.ops, self.int8 = ops, int8
        self.numbers = np.random.default_rng(0)

    def weights(self, *shape: int) -> Any:
        """Random numbers of the size that keeps what they are multiplied with; one range for each output channel."""
        reach = 1 / np.sqrt(np.prod(shape[1:]))
        if not self.int8:
            return self.ops.constant((self.numbers.random(shape, np.float32) - 0.5) * np.float32(2 * reach))
        made = self.ops.constant(self.numbers.integers(-127, 128, shape, np.int8))
        scale = np.full((shape[0], *[1] * (len(shape) - 1)), reach / 127, np.float32)
        return self.ops.multiply(self.ops.convert(made, np.float32), self.ops.constant(scale))

    def narrow(self, node: Any) -> Any:
        """An input of a product or convolution, rounded to 8 bits in W8A8."""
        if not self.int8:
            return node
        low, high = (self.ops.constant(np.float32(end)) for end in (-REACH, REACH * 127 / 128))
        return self.ops.fake_quantize(node, low, high, low, high, 256)

    def convolution(self, node: Any, into: int, out: int, side: int = 3) -> Any:
        pad = [side // 2] * 2
        made = self.ops.convolution(self.narrow(node), self.weights(out, into, side, side), [1, 1], pad, pad, [1, 1])
        return self.ops.add(made, self.ops.constant(np.zeros((1, out, 1, 1), np.float32)))

    def linear(self, node: Any, into: int, out: int) -> Any:
        made = self.ops.matmul(self.narrow(node), self.weights(out, into), False, True)
        return self.ops.add(made, self.ops.constant(np.zeros((1, 1, out), np.float32)))

    def group_norm(self, node: Any, channels: int) -> Any:
        scale, shift = (self.ops.constant(np.full(channels, value, np.float32)) for value in (1.1, 0.1))
        return self.ops.group_normalization(node, scale, shift, 32, 1e-5)

    def layer_norm(self, node: Any, channels: int) -> Any:
        found = self.ops.mvn(node, self.ops.constant(np.array([2])), True, 1e-5, "INSIDE_SQRT")
        scale, shift = (self.ops.constant(np.full((1, 1, channels), value, np.float32)) for value in (1.1, 0.1))
        return self.ops.add(self.ops.multiply(found, scale), shift)

    def residual(self, block: Block) -> Any:
        """ResnetBlock2D: two of norm, swish and 3x3 convolution, with the time's embedding between them."""
        channels, ops = block.channels, self.ops
        given = ops.parameter([block.rows, channels, block.side, block.side], np.float32)
        found = self.convolution(ops.swish(self.group_norm(given, channels)), channels, channels)
        found = ops.add(found, ops.constant(np.full((1, channels, 1, 1), 0.1, np.float32)))
        found = self.convolution(ops.swish(self.group_norm(found, channels)), channels, channels)
        return ops.result(ops.add(given, found)), [given]

    def transformer(self, block: Block) -> Any:
        """Transformer2DModel of one block: self attention, attention to the text, GEGLU."""
        channels, ops, tokens = block.channels, self.ops, block.side**2
        given = ops.parameter([block.rows, channels, block.side, block.side], np.float32)
        text = ops.parameter([block.rows, TEXT, TEXT_WIDE], np.float32)
        found = self.convolution(self.group_norm(given, channels), channels, channels, 1)
        found = ops.reshape(
            ops.transpose(found, ops.constant([0, 2, 3, 1])), ops.constant([block.rows, tokens, channels]), False
        )
        normed = self.layer_norm(found, channels)
        found = ops.add(found, self.attention(normed, normed, channels, channels))
        found = ops.add(found, self.attention(self.layer_norm(found, channels), text, channels, TEXT_WIDE))
        wide = self.linear(self.layer_norm(found, channels), channels, 8 * channels)
        halves = ops.split(wide, ops.constant(2), 2)
        inner = ops.multiply(halves.output(0), ops.gelu(halves.output(1), "ERF"))
        found = ops.add(found, self.linear(inner, 4 * channels, channels))
        back = ops.constant([block.rows, block.side, block.side, channels])
        found = ops.transpose(ops.reshape(found, back, False), ops.constant([0, 3, 1, 2]))
        return ops.result(ops.add(given, self.convolution(found, channels, channels, 1))), [given, text]

    def attention(self, queries: Any, keys: Any, channels: int, wide: int) -> Any:
        heads = [
            self.heads(self.linear(of, into, channels), channels)
            for of, into in ((queries, channels), (keys, wide), (keys, wide))
        ]
        found = self.ops.scaled_dot_product_attention(*heads)
        found = self.ops.transpose(found, self.ops.constant([0, 2, 1, 3]))
        return self.linear(self.ops.reshape(found, self.ops.constant([0, 0, channels]), True), channels, channels)

    def heads(self, node: Any, channels: int) -> Any:
        split = self.ops.reshape(node, self.ops.constant([0, 0, HEADS, channels // HEADS]), True)
        return self.ops.transpose(split, self.ops.constant([0, 2, 1, 3]))


def made(block: Block, int8: bool) -> Any:
    """The OpenVINO model of a block."""
    from pleinair.engines.openvino import ov

    result, given = getattr(BlockGraph(int8), block.kind)(block)
    return ov.Model([result], given, block.name)


def hint(precision: str) -> str:
    """What OpenVINO is asked to compute in: `auto` is bf16 where the CPU has it, as pleinair chooses."""
    return precision if precision != "auto" else "bf16" if able("bf16") else "f32"


def able(precision: str) -> bool:
    """Whether OpenVINO's CPU computes in this ("bf16")."""
    from pleinair.engines.openvino import ov

    try:
        return precision.upper() in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        raise EngineError(f"OpenVINO has no CPU here ({error}); use ONNX Runtime") from None


def seconds(stored: str, precision: str, threads: int | None) -> dict[str, list[float]]:
    """An estimate of a step and of a decode, with the seconds of each block's second call beside them."""
    from pleinair.engines.openvino import ov

    core, found = ov.Core(), {}
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint(precision)}
    settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
    parts = {"run": 0.0, "decode": 0.0}
    for block in all_blocks():
        request = core.compile_model(made(block, stored == "w8a8"), "CPU", settings).create_infer_request()
        numbers = np.random.default_rng(1)
        given = [numbers.standard_normal(tuple(port.shape), np.float32) for port in request.model_inputs]
        request.infer(given, share_inputs=True)
        mark = perf_counter()
        request.infer(given, share_inputs=True)
        found[block.name] = [perf_counter() - mark]
        parts[block.part] += block.times * found[block.name][0]
    return found | {name: [value] for name, value in parts.items()}
