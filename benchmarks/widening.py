"""The topology of a real model, made from the exports of two narrow ones: files of the same graph but for numbers."""

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import Message
from onnx import TensorProto

from narrow_models import Narrow
from pleinair.pouring.checkpoints import Shape
from pleinair.pouring.forms import FORMS, size_of
from pleinair.pouring.topologies import Hole, Segment
from pleinair_bench.constants import fields
from pleinair_bench.onnx_file import varint
from pleinair_bench.recognise import HoleOf
from pleinair_export.onnx_files import ALIGNED, DATA, EXTERNAL, GRAPH
from pleinair_export.quantize import is_weight, stored_size

XML, BIN = "openvino_model.xml", "openvino_model.bin"
CONSTANT = re.compile(rb'element_type="(\w+)" shape="([\d, ]*)" offset="(\d+)" size="(\d+)"')
IR_WHOLE = {b"i64": np.int64, b"i32": np.int32}
WHOLE = {TensorProto.INT64: np.int64, TensorProto.INT32: np.int32}
RAW = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number  # the last of a tensor whose numbers lie in it
GraphFiles = dict[str, tuple[Segment, ...]]
Table = Callable[[int], np.ndarray]


class Widening:
    """What is the same in both narrow models, and what the rest becomes in a model of parameters of these `shapes`."""

    def __init__(self, narrow: Narrow, shapes: Mapping[str, Shape], hole: HoleOf) -> None:
        self.narrow, self.shapes, self.hole = narrow, shapes, hole

    def text(self, first: bytes, second: bytes) -> bytes:
        """A text whose numbers may differ."""
        mine, theirs = (re.findall(rb"\d+|\D+", each) for each in (first, second))
        if len(mine) != len(theirs):
            raise ValueError(f"{first[:80]!r} and {second[:80]!r} are not of one graph")
        return b"".join(
            a if a == b else b"%d" % self.narrow.real(int(a), int(b)) for a, b in zip(mine, theirs, strict=True)
        )

    def numbers(self, first: np.ndarray, second: np.ndarray, table: Table) -> np.ndarray:
        """Whole numbers, or the `table` of frequencies, which has a number for every second channel."""
        if first.dtype.kind == "i":
            pairs = zip(first.tolist(), second.tolist(), strict=True)
            return np.array([self.narrow.real(*pair) for pair in pairs], first.dtype)
        if np.array_equal(first, second):
            return first
        if all(np.array_equal(each, table(len(each))) for each in (first, second)):
            return table(self.narrow.real(len(first), len(second)))
        if len({*first, *second}) == 1:
            return np.resize(first, self.narrow.real(len(first), len(second)))
        if first.size == 1:
            return np.array([self.narrow.real(int(first[0]), int(second[0]))], first.dtype)
        raise ValueError(
            f"a constant of {first.size} numbers and of {second.size} is no parameter in a form that is known"
        )

    def size(self, part: Segment) -> int:
        """Bytes of a part in the real model."""
        return size_of(self.shapes[part.key], part.form) if isinstance(part, Hole) else len(part)

    def dims(self, hole: Hole) -> Shape:
        """What an ONNX graph says of the shape of a parameter."""
        shape = self.shapes[hole.key]
        if FORMS[hole.form].scale:
            return shape[:1]
        return shape[::-1] if hole.transposed else shape


def frequencies(count: int) -> np.ndarray:
    """The table of a timestep embedding of twice so many channels, as torch works it out in diffusers."""
    exponent = -math.log(10000) * torch.arange(start=0, end=count, dtype=torch.float32)
    return torch.exp(exponent / count).numpy()


@cache
def folded_frequencies(count: int) -> np.ndarray:
    """The same as OpenVINO works it out."""
    import openvino
    from diffusers.models.embeddings import Timesteps

    traced = torch.jit.trace(Timesteps(2 * count, flip_sin_to_cos=True, downscale_freq_shift=0), torch.ones(1))
    model = openvino.convert_model(traced, example_input=torch.ones(1))
    constants = (node for node in model.get_ordered_ops() if node.get_type_name() == "Constant")
    return next(node.data.reshape(-1).copy() for node in constants if node.data.size == count)


def widened(written: list[list[Path]], weights: str, widening: Widening) -> GraphFiles:
    """The files of the real graph, of those of the narrow ones, the graph itself first."""
    folders = tuple(graph.parent for graph, *_ in written)
    if written[0][0].name == XML:
        return widened_openvino(folders, widening)
    return widened_onnx(folders, weights, widening)


def widened_openvino(folders: tuple[Path, Path], widening: Widening) -> GraphFiles:
    """openvino_model.xml and .bin: constants lie in the order in which they are named, equal ones once."""
    texts = [(folder / XML).read_bytes() for folder in folders]
    data = [np.memmap(folder / BIN, np.uint8, "r") for folder in folders]
    found = [list(CONSTANT.finditer(text)) for text in texts]
    starts = [[0, *(match.end() for match in each)] for each in found]
    ends = [[*(match.start() for match in each), len(text)] for each, text in zip(found, texts, strict=True)]
    between = [
        widening.text(texts[0][a:b], texts[1][c:d])
        for a, b, c, d in zip(starts[0], ends[0], starts[1], ends[1], strict=True)
    ]
    contents: list[Segment] = []
    places: dict[Segment, int] = {}
    pieces, end = between[:1], 0
    for pair, behind in zip(zip(*found, strict=True), between[1:], strict=True):
        kind, shape = pair[0][1], widening.text(pair[0][2], pair[1][2])
        raw = [each[int(match[3]) : int(match[3]) + int(match[4])] for each, match in zip(data, pair, strict=True)]
        content = widening.hole(*raw) or constant(kind, raw, widening)
        size = widening.size(content)
        if size * count(pair[0][2]) != len(raw[0]) * count(shape):
            raise ValueError(f"{content} does not fit into the shape {shape.decode()}")
        if content not in places:
            places[content] = end
            contents.append(content)
            end += size
        pieces += [b'element_type="%s" shape="%s" offset="%d" size="%d"' % (kind, shape, places[content], size), behind]
    return {XML: (b"".join(pieces),), BIN: joined(contents)}


def constant(kind: bytes, raw: list[np.ndarray], widening: Widening) -> bytes:
    """The bytes of a constant that is no parameter."""
    if raw[0].tobytes() == raw[1].tobytes():
        return raw[0].tobytes()
    dtype = IR_WHOLE.get(kind, np.float32)
    return widening.numbers(*(each.view(dtype) for each in raw), folded_frequencies).tobytes()


def count(shape: bytes) -> int:
    """Numbers of a constant of a shape as an IR has it."""
    return math.prod(map(int, re.findall(rb"\d+", shape)))


def joined(parts: list[Segment]) -> tuple[Segment, ...]:
    """Parts with kept bytes side by side made one."""
    made: list[Segment] = []
    for part in parts:
        if made and isinstance(part, bytes) and isinstance(made[-1], bytes):
            made[-1] += part
        elif part:
            made.append(part)
    return tuple(made)


def widened_onnx(folders: tuple[Path, Path], weights: str, widening: Widening) -> GraphFiles:
    """model.onnx, and model.onnx_data where the real model's weights are too large for it."""
    large = sum(stored_size(shape, weights) for shape in widening.shapes.values()) >= EXTERNAL
    outside: list[Segment] = []
    models = [onnx.load(folder / GRAPH) for folder in folders]
    pairs = zip(*(model.graph.initializer for model in models), strict=True)
    initializers = [initializer(*pair, large, outside, widening) for pair in pairs]
    for model in models:
        del model.graph.initializer[:]
    widen(*models, widening)
    return {GRAPH: joined(embedded(models[0], initializers, widening))} | ({DATA: joined(outside)} if large else {})


def widen(first: Message, second: Message, widening: Widening) -> None:
    """Make the numbers of `first` those of the real model, in place."""
    if isinstance(first, TensorProto) and first.raw_data != second.raw_data:
        pair = (np.frombuffer(each.raw_data, WHOLE.get(each.data_type, np.float32)) for each in (first, second))
        first.raw_data = second.raw_data = widening.numbers(*pair, frequencies).tobytes()
    fields_of_both = first.ListFields(), second.ListFields()
    if [field.name for field, _ in fields_of_both[0]] != [field.name for field, _ in fields_of_both[1]]:
        raise ValueError(f"the narrow graphs say different things of {first!r:.400} and {second!r:.400}")
    for (field, mine), (_, theirs) in zip(*fields_of_both, strict=True):
        if mine == theirs:
            continue
        if not field.is_repeated:
            if field.message_type:
                widen(mine, theirs, widening)
            else:
                setattr(first, field.name, real(mine, theirs, widening))
        elif field.message_type:
            for pair in zip(mine, theirs, strict=True):
                widen(*pair, widening)
        else:
            mine[:] = [real(*pair, widening) for pair in zip(mine, theirs, strict=True)]


def real(first: int | float | str | bytes, second: int | float | str | bytes, widening: Widening) -> int | float:
    if first == second:
        return first
    if isinstance(first, int):
        return widening.narrow.real(first, second)
    raise ValueError(f"{first!r} in one narrow graph is {second!r} in the other")


def initializer(
    first: TensorProto, second: TensorProto, large: bool, outside: list[Segment], widening: Widening
) -> list[Segment]:
    """A tensor as it is written, its numbers put into what lies `outside` where they are many."""
    pair = [np.frombuffer(each.raw_data, np.uint8) for each in (first, second)]
    content = widening.hole(*pair)
    made = TensorProto()
    made.CopyFrom(first)
    if content is None:
        widen(made, second, widening)
        return [made.SerializeToString()]
    if first.name != second.name:
        raise ValueError(f"{first.name} and {second.name} are not of one graph")
    size = widening.size(content)
    made.ClearField("raw_data")
    made.dims[:] = widening.dims(content)
    small = is_weight(first.dims), is_weight(made.dims)
    if small[0] != small[1]:
        raise ValueError(f"{first.name} is stored as a weight in only one of the narrow and the real model")
    if not (large and small[1]):
        return [made.SerializeToString(), *field(RAW, [content], widening)]
    end = sum(map(widening.size, outside))
    outside += [bytes(-end % ALIGNED), content]
    place = {"location": DATA, "offset": str(end + -end % ALIGNED), "length": str(size)}
    made.data_location = TensorProto.EXTERNAL
    made.external_data.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in place.items())
    return [made.SerializeToString()]


def embedded(model: onnx.ModelProto, initializers: list[list[Segment]], widening: Widening) -> list[Segment]:
    """A model without initializers as it is written with these: fields lie in the order of their numbers."""
    inner = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
    tensors = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
    before, after = split(model.graph.SerializeToString(), tensors)
    graph = [before, *(part for each in initializers for part in field(tensors, each, widening)), after]
    model.ClearField("graph")
    before, after = split(model.SerializeToString(), inner)
    return [before, *field(inner, graph, widening), after]


def split(message: bytes, number: int) -> tuple[bytes, bytes]:
    """A message where a field of this number would lie."""
    end = 0
    for each, _, last in fields(np.frombuffer(message, np.uint8), 0, len(message)):
        if each > number:
            break
        end = last
    return message[:end], message[end:]


def field(number: int, content: list[Segment], widening: Widening) -> list[Segment]:
    return [varint(number << 3 | 2) + varint(sum(map(widening.size, content))), *content]
