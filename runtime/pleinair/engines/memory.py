"""How much memory an engine takes for a graph on the CPU: what it holds of the weights, and what a call works with.

Both follow from small files: the kinds and shapes of the weights from the graph's own, the width of its largest layers
from its config.json. The factors of `RULES` were measured (docs/performance.md#memory).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from pleinair.bundle import onnx_data
from pleinair.bundle.opening import Bundle
from pleinair.engines.components import component_of
from pleinair.engines.settled import settled_constants
from pleinair.errors import BundleError
from pleinair.system.files import CONFIG, parse_json, read_file

XML_CONSTANT = re.compile(r'<data element_type="\w+" shape="([^"]*)" offset="\d+" size="(\d+)"')
LARGEST_XML = 1 << 26  # bytes
ONNX_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2, 11: 8, 16: 2, 21: 0.5, 22: 0.5}  # TensorProto.DataType -> a number's
LEAST_ROWS = 10_000  # of a table that tokens choose rows from; no layer of a text encoder has as many outputs
UNPACKED = 2.9  # times the largest small weight, which is made wide in the calls that use it
BESIDE = 1.1  # times what small weights take that stay as they are
WIDE, HALF = 4, 2  # bytes of a float32 and of a float16
LARGEST_READ = 128 << 20  # bytes of an ONNX file that is changed before it is opened
CONVOLVED = 4  # axes of a convolution's weight
INT8_ACTIVATIONS = 'type="FakeQuantize"'  # stands in an IR that computes in 8 bits
USUAL_WIDTH = {"unet": 320, "vae": 256, "text": 768, "upscaler": 64}  # channels, where no config says it
COLOURS, KERNEL = 3, 9  # channels of a picture; numbers of a convolution's kernel of 3x3
SHUFFLED = 2  # answers that an upscaler holds which enlarges last, by moving channels to places


class KnownWeight(NamedTuple):
    """Numbers of a weight, the bytes that each has in the file, and the length of its first axis.

    It is `widened` where the engine's kernels read no such small ones, and `outside` where it lies in another file.
    """

    count: int
    size: float
    rows: int
    widened: bool = False
    outside: bool = False


@dataclass(frozen=True)
class Cost:
    """Bytes: held as long as a graph is loaded, used in a call, and those of its files, which an engine may map."""

    held: float
    working: float
    mapped: float


class EngineRules(NamedTuple):
    """Numbers that a call holds at once, for each place of the latents, pixel or token and each channel; bytes beside.

    `vae_int8` are those of a VAE that computes in 8 bits; those of an upscaler count at its last layer, whose own
    answers come on top. `graph` are the bytes of one that has no weights, and
    `described` those for each byte of its description (XML). `merged_small` are the bytes of a weight of 8 bits after a
    LoRA was merged into it. `unpacks` says that small weights are made wide in the call that uses them, unless it
    computes in 8 bits, and `maps` that files are mapped.
    """

    unet: float
    vae: float
    vae_int8: float
    text: float
    upscaler: float
    graph: float
    described: float
    merged_small: float
    unpacks: bool
    maps: bool


RULES = {
    "openvino": EngineRules(
        unet=20,
        vae=3.05,
        vae_int8=3.05,
        text=20,
        upscaler=2,
        graph=0,
        described=70,
        merged_small=2,
        unpacks=False,
        maps=True,
    ),
    "onnx": EngineRules(
        unet=12,
        vae=4.4,
        vae_int8=3.7,
        text=20,
        upscaler=3.25,
        graph=11e6,
        described=0,
        merged_small=4,
        unpacks=True,
        maps=False,
    ),
}


def graph_cost(bundle: Bundle, graph: str, engine: str, precision: str, places: int, merged: bool = False) -> Cost:
    """What a graph takes on the CPU when a call has so many places: latents of all rows, pixels, or tokens.

    Weights that LoRAs were `merged` into lie in memory beside what the kernels read, for no file has them to map.

    Raises BundleError for files that cannot be read.
    """
    rules, part = RULES[engine], component_of(bundle, graph)
    stored = rules.unpacks and not merged and stays_stored(bundle, graph)
    unpacks = rules.unpacks and not bundle.manifest.graphs[graph].in_int8
    wide = bytes_of(precision)
    held = unpacked = widest = 0.0
    for each in weights_of(bundle, graph, engine):
        small = each.size <= 1
        if stored and each.size == HALF:  # it is made wide in the calls that use it
            held += 0 if each.outside else each.count * each.size
            widest = max(widest, each.count * WIDE)
            continue
        if merged:
            held += each.count * (rules.merged_small if small else each.size)
        if rules.unpacks:
            held += each.count * (each.size * BESIDE if small else WIDE)
            unpacked = max(unpacked, each.count * WIDE if small and unpacks else 0)
        elif part == "text" and each.rows >= LEAST_ROWS:
            continue  # rows of it are read where the file is mapped
        elif each.widened:  # the engine keeps a wide weight beside what its kernels read
            held += each.count * (wide + (2 if wide < WIDE else WIDE))
        else:
            held += each.count * (each.size if small else wide)
    kind = "vae_int8" if part == "vae" and bundle.manifest.graphs[graph].in_int8 else part
    if part == "upscaler":
        numbers = places * upscaler_numbers(bundle, graph, engine)
    else:
        numbers = getattr(rules, kind) * places * width_of(bundle, graph, part)
    working = numbers * wide + UNPACKED * unpacked + widest
    mapped = bundle.graph_size(graph, engine) if rules.maps else 0
    held += rules.graph + rules.described * bundle.graph_file(graph, engine).stat().st_size
    return Cost(held, working, mapped)


def tabulated_bytes(bundle: Bundle, graph: str, engine: str, precision: str, ports: frozenset[str]) -> float:
    """Bytes of what a graph is counted to hold on the CPU that go where what follows from `ports` alone is tabulated.

    Raises BundleError for files that cannot be read.
    """
    if engine != "openvino":
        return 0.0
    file, wide = bundle.graph_file(graph, engine), bytes_of(precision)
    weights = settled_in(file, ports, file.stat().st_mtime_ns)
    return sum(each.count * (each.size if each.size <= 1 else wide) for each in weights)


def bytes_of(precision: str) -> float:
    """Of a number that is computed with."""
    return WIDE / 2 if precision in ("bf16", "f16") else WIDE


def stays_stored(bundle: Bundle, graph: str) -> bool:
    """Whether ONNX Runtime leaves the 16-bit weights of a graph as they are: one in int8, small enough to be read.

    Those of larger ones lie beside it.
    """
    return bundle.manifest.graphs[graph].in_int8 and bundle.graph_file(graph, "onnx").stat().st_size <= LARGEST_READ


def weights_of(bundle: Bundle, graph: str, engine: str) -> tuple[KnownWeight, ...]:
    """The weights of a graph's file, as it lists them."""
    file = bundle.graph_file(graph, engine)
    return weights_in(file, engine, file.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def weights_in(file: Path, engine: str, _written: int) -> tuple[KnownWeight, ...]:
    if engine == "onnx":
        found = onnx_data.initializers(file).values()
        return tuple(
            KnownWeight(
                count=prod(each.shape),
                size=ONNX_BYTES.get(each.kind, WIDE),
                rows=each.shape[0] if each.shape else 1,
                outside=each.span is None,
            )
            for each in found
        )
    text = read_ir(file)
    return weights_told(text, INT8_ACTIVATIONS in text)


@lru_cache(maxsize=8)
def settled_in(file: Path, ports: frozenset[str], _written: int) -> tuple[KnownWeight, ...]:
    text = read_ir(file)
    return weights_told("".join(settled_constants(text, ports)), INT8_ACTIVATIONS in text)


def read_ir(file: Path) -> str:
    """The description of a graph for OpenVINO."""
    return read_file(file, LARGEST_XML, BundleError, "export the model again").decode(errors="replace")


def weights_told(text: str, in_int8: bool) -> tuple[KnownWeight, ...]:
    """The weights that a description, or a part of it, tells of."""
    shapes = [
        (tuple(int(side) for side in sides.split(",") if side.strip()), int(size))
        for sides, size in XML_CONSTANT.findall(text)
    ]
    return tuple(
        KnownWeight(
            count=prod(shape),
            size=size / prod(shape),
            rows=shape[0] if shape else 1,
            widened=size <= prod(shape) and len(shape) == CONVOLVED and not in_int8,
        )
        for shape, size in shapes
        if prod(shape)
    )


def upscaler_numbers(bundle: Bundle, graph: str, engine: str) -> float:
    """Numbers that an upscaler holds at once for each pixel that it is given: most where it is at its last layer.

    ESRGAN has enlarged the picture by then, with all channels; the compact form has not.
    """
    scale, weights = bundle.manifest.scale, weights_of(bundle, graph, engine)
    for made, times, kept in ((COLOURS, scale**2, RULES[engine].upscaler), (COLOURS * scale**2, 1, SHUFFLED)):
        last = [each.count // (made * KERNEL) for each in weights if each.rows == made and each.count > made]
        if last:
            return times * (kept * last[-1] + 3 * made)  # what it answers is copied twice
    return scale**2 * (RULES[engine].upscaler * USUAL_WIDTH["upscaler"] + 3 * COLOURS)


def width_of(bundle: Bundle, graph: str, part: str) -> int:
    """Channels of a network where its pictures are largest, or of its tokens.

    A decoder enlarges to the full size before it narrows to the first of its widths.
    """
    name = f"{graph}/config.json"
    if name not in bundle.manifest.files:
        return USUAL_WIDTH[part]
    config = parse_json(bundle.files.read(name, CONFIG), bundle.path / name, BundleError, "export the model again")
    blocks, heads = config.get("block_out_channels"), config.get("num_attention_heads")
    if isinstance(blocks, list) and blocks and isinstance(blocks[0], int):
        return blocks[1] if part == "vae" and len(blocks) > 1 else blocks[0]
    if isinstance(heads, int) and isinstance(config.get("attention_head_dim"), int):
        return heads * config["attention_head_dim"]
    found = config.get("hidden_size", config.get("d_model"))
    return found if isinstance(found, int) else USUAL_WIDTH[part]
