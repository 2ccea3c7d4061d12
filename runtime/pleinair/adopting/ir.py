"""The outline of an OpenVINO IR, from its XML, which is parsed as a stream: no tree, no entities, nothing fetched."""

import re
from collections import Counter
from pathlib import Path
from xml.parsers import expat

from pleinair.adopting.outline import FoundPort, OpenShape, Outline
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError
from pleinair.system.files import read_file

LARGEST = 64 << 20  # bytes; the UNet of SDXL with int8 weights has some 15 million
DEEPEST = 100  # elements in each other
AGAIN = "download the model again"
NUMBERS = {
    **{"f32": "float32", "f16": "float16", "f64": "float64", "bf16": "bfloat16"},
    **{"i64": "int64", "i32": "int32", "boolean": "bool"},
}
PRECISIONS = {
    **{"FP32": "f32", "FP16": "f16", "FP64": "f64", "BF16": "bf16"},
    **{"I64": "i64", "I32": "i32", "BOOL": "boolean"},
}
STORED = {  # element type of a constant -> what it is called here, and its bits; shapes and ids are whole numbers
    "f32": ("fp32", 32),
    "f16": ("fp16", 16),
    "bf16": ("bf16", 16),
    "i8": ("int8", 8),
    "u8": ("int8", 8),
    "i4": ("int4", 4),
    "u4": ("int4", 4),
    "nf4": ("nf4", 4),
    "f8e4m3": ("f8e4m3", 8),
    "f8e5m2": ("f8e5m2", 8),
}
LAYER = ["net", "layers", "layer"]  # where the layers of the graph itself stand; those of loops lie deeper
EDGE = ["net", "edges", "edge"]


def read_ir(path: Path) -> Outline:
    """The outline of an IR; raises BundleError for what is none, is too large, or has a document type."""
    content = read_file(path, LARGEST, BundleError, AGAIN)
    reader = IrHandler()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, refuse_doctype
    try:
        parser.Parse(content, True)
        return reader.outline()
    except (expat.ExpatError, ValueError, LookupError, OverflowError) as error:
        raise BundleError(f"'{shown_path(path)}' is not an OpenVINO graph ({one_line(error, 80)}); {AGAIN}") from None


def refuse_doctype(*_: object) -> None:
    """Entities, which can grow without bound, are declared in a document type; no IR has one."""
    raise ValueError("it has a document type")


class IrHandler:
    """Collects ports and kinds of weights as the parser comes by them."""

    def __init__(self) -> None:
        self._place: list[str] = []  # the elements that are open
        self._layer: dict[str, str] = {}
        self._port = ""
        self._digits = ""
        self._sides: list[int | None] = []
        self._precision = ""
        self._parameters: list[FoundPort] = []
        self._results: dict[str, tuple[str, str, OpenShape]] = {}  # layer -> names, precision, shape
        self._names: dict[tuple[str, str], str] = {}  # (layer, port) -> the names of what leaves there
        self._sources: dict[str, tuple[str, str]] = {}  # layer of a result -> where it comes from
        self._stored: Counter[str] = Counter()
        self._ends = 0

    def begin(self, tag: str, said: dict[str, str]) -> None:
        self._place.append(tag)
        if len(self._place) > DEEPEST:
            raise ValueError("nested too deeply")
        if self._place == LAYER:
            self._layer, self._sides, self._precision = said, [], ""
        elif self._place == [*LAYER, "data"]:
            self._data(said)
        elif self._place == [*LAYER, "output", "port"]:
            self._leaving(said)
        elif self._place == [*LAYER, "input", "port"]:
            self._precision = said.get("precision", "")
        elif self._place == EDGE and said.get("to-layer") in self._results:
            self._sources[said["to-layer"]] = said["from-layer"], said["from-port"]
        self._digits = ""

    def text(self, words: str) -> None:
        self._digits += words if self._place[-1:] == ["dim"] else ""

    def end(self, tag: str) -> None:
        if self._place == [*LAYER, "input", "port", "dim"] and self._layer.get("type") == "Result":
            self._sides.append(size(self._digits))
        if self._place == LAYER and self._layer.get("type") == "Result":
            names = self._layer.get("output_names", "")
            self._results[self._layer["id"]] = names, self._precision, tuple(self._sides)
        self._place.pop()

    def _data(self, said: dict[str, str]) -> None:
        kind, element = self._layer.get("type"), said.get("element_type", "")
        if kind == "Parameter":
            shape = parsed(said.get("shape", ""))
            self._parameters.append(FoundPort((self._layer["name"],), NUMBERS.get(element, element), shape))
        if kind == "Const" and "size" in said:
            self._ends = max(self._ends, int(said.get("offset", "0")) + int(said["size"]))
            if element in STORED:
                name, bits = STORED[element]
                self._stored[name] += int(said["size"]) * 8 // bits

    def _leaving(self, said: dict[str, str]) -> None:
        names = said.get("names", "")
        if names:
            self._names[self._layer["id"], said["id"]] = names
        if names and self._layer.get("type") == "Parameter":
            last = self._parameters[-1]
            self._parameters[-1] = FoundPort(split(names), last.dtype, last.shape)

    def outline(self) -> Outline:
        """What was collected; raises ValueError where that is no graph."""
        if not self._parameters or not self._results:
            raise ValueError("it has no inputs or no outputs")
        outputs = []
        for layer, (names, precision, shape) in self._results.items():
            kind = PRECISIONS.get(precision, precision)
            names = names or self._names.get(self._sources.get(layer, ("", "")), f"number {len(outputs)}")
            outputs.append(FoundPort(split(names), NUMBERS.get(kind, kind), shape))
        return Outline(tuple(self._parameters), tuple(outputs), dict(self._stored), ends=self._ends)


def split(names: str) -> tuple[str, ...]:
    """Names as an IR lists them, with a comma between, and before a comma that is part of one a backslash."""
    return tuple(each.replace("\\,", ",") for each in re.split(r"(?<!\\),", names))


def parsed(shape: str) -> OpenShape | None:
    """ "?,4,64..128,?" -> (None, 4, None, None); None for a shape of any rank."""
    if "..." in shape:
        return None
    return tuple(size(side) for side in shape.split(",")) if shape.strip() else ()


def size(side: str) -> int | None:
    plain = side.strip()
    return int(plain) if plain.isascii() and plain.isdigit() and 0 < len(plain) < 10 else None
