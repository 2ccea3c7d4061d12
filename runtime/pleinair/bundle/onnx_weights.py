"""The weights of an ONNX file, wherever their numbers are, and the file with other weights in their places.

The field numbers are those of onnx.proto.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from pleinair.bundle.onnx_data import (
    BYTES,
    DATA_TYPE,
    DIMENSIONS,
    EXTERNAL_DATA,
    KEY,
    MOST_FIELDS,
    NAME,
    NUMBER,
    VALUE,
    Content,
    tensor_facts,
)
from pleinair.bundle.onnx_nodes import GRAPH, GraphPlace, placed
from pleinair.checks import one_line

TENSOR = 5  # of GraphProto
PLACED, OUTSIDE = 14, 1  # of TensorProto: where its numbers are, and "elsewhere"
KINDS = {1: np.dtype(np.float32), 2: np.dtype(np.uint8), 3: np.dtype(np.int8), 10: np.dtype(np.float16)}
NUMBERS = {kind: number for number, kind in KINDS.items()}
MEMORY = "in memory"  # the location of numbers that a session is handed


@dataclass(frozen=True)
class Weight:
    """An initializer: its kind and shape, where its field stands in the file, and where its numbers are.

    These are `count` bytes from `offset` on of the file beside it that is called `location`, "" for the file itself.
    """

    name: str
    kind: np.dtype
    shape: tuple[int, ...]
    start: int
    end: int
    location: str
    offset: int
    count: int

    def read(self, file: Path) -> np.ndarray:
        """Its numbers, those of the ONNX file `file`; raises ValueError where they are not all there, OSError."""
        with (file.parent / self.location if self.location else file).open("rb") as stream:
            if self.offset + self.count > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"the numbers of '{one_line(self.name, 60)}' are not all there")
            stream.seek(self.offset)
            content = stream.read(self.count)
        return np.frombuffer(content, self.kind).reshape(self.shape)


def weights_in(data: bytes | Content, graph: GraphPlace) -> dict[str, Weight]:
    """The initializers of a graph by name, as far as they are of KINDS and stored as bytes."""
    left = [MOST_FIELDS]
    fields = (field for place, *field in placed(data, graph.body, graph.end, left) if place == TENSOR)
    found = (weight_in(data, *field, left) for field in fields)
    return {weight.name: weight for weight in found if weight is not None}


def weight_in(data: bytes | Content, start: int, body: int, end: int, left: list[int]) -> Weight | None:
    """One of them; None for another kind, and for numbers that are stored otherwise."""
    facts = tensor_facts(data, body, end, left)
    if facts.kind not in KINDS or not (facts.raw or "location" in facts.outside):
        return None
    kind = KINDS[facts.kind]
    count = prod(facts.shape) * kind.itemsize
    if facts.raw and facts.raw[1] - facts.raw[0] != count:
        return None
    location = "" if facts.raw else facts.outside["location"]
    offset = facts.raw[0] if facts.raw else int(facts.outside.get("offset", 0))
    return Weight(facts.name, kind, facts.shape, start, end, location, offset, count)


def replaced(
    content: bytes | Content, graph: GraphPlace, dropped: Iterable[tuple[int, int]], fresh: Mapping[str, np.ndarray]
) -> bytes:
    """A file without some fields of its graph, and with weights whose numbers a session is to be handed.

    What of a file on the disk goes is not read.
    """
    kept, at = [], graph.body
    for start, end in sorted(set(dropped)):
        kept.append((at, start))
        at = end
    kept.append((at, graph.end))
    added = b"".join(delimited(TENSOR, declared(name, array)) for name, array in fresh.items())
    head = varint(GRAPH << 3 | BYTES) + varint(sum(end - start for start, end in kept) + len(added))
    written = BytesIO()  # which gives its bytes away without another copy of them
    for part in ((0, graph.start), head, *kept, added, (graph.end, len(content))):
        written.write(part if isinstance(part, bytes) else piece(content, *part))
    return written.getvalue()


def piece(content: bytes | Content, start: int, end: int) -> bytes | memoryview:
    """A part of a file, however long it is."""
    return content.piece(start, end) if isinstance(content, Content) else memoryview(content)[start:end]


def declared(name: str, array: np.ndarray) -> bytes:
    """A TensorProto whose numbers are elsewhere."""
    pairs = {"location": MEMORY, "offset": "0", "length": str(array.nbytes)}
    return b"".join(
        [
            *(number(DIMENSIONS, side) for side in array.shape),
            number(DATA_TYPE, NUMBERS[array.dtype]),
            delimited(NAME, name.encode()),
            *(
                delimited(EXTERNAL_DATA, delimited(KEY, key.encode()) + delimited(VALUE, value.encode()))
                for key, value in pairs.items()
            ),
            number(PLACED, OUTSIDE),
        ]
    )


def delimited(field: int, content: bytes) -> bytes:
    return varint(field << 3 | BYTES) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return varint(field << 3 | NUMBER) + varint(value)


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
