"""How weights are stored, read from the files themselves: what a name or a manifest says may be something else."""

import json
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pleinair_bench.constants import ir_constants, onnx_constants

SAFETENSORS = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "I8": "int8", "U8": "int8"}
GRAPHS = {"float32": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}
LARGEST_HEADER = 16 << 20  # bytes
UNKNOWN = "unknown"


def of_diffusers(component: Path) -> str:
    """How most weights of a diffusers folder's component are stored; "unknown" where there is no safetensors file."""
    files = sorted(component.glob("*.safetensors"))
    plain = [file for file in files if len(file.name.split(".")) == 2]  # and no variant: NAME.fp16.safetensors
    try:
        return _most(pair for file in plain or files for pair in _tensors(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return UNKNOWN


def of_graph(file: Path) -> str:
    """How most weights of an OpenVINO or ONNX graph are stored; "unknown" where it cannot be read."""
    try:
        places = ir_constants(file) if file.suffix == ".xml" else onnx_constants(file)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, SyntaxError):  # an XML error is one
        return UNKNOWN
    return _most((GRAPHS[dtype], size) for _, _, size, dtype, _ in places)


def _tensors(file: Path) -> Iterable[tuple[str, int]]:
    """(kind, bytes) of each tensor that a safetensors file's header names."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > LARGEST_HEADER:
            raise ValueError("not a safetensors file")
        header = json.loads(stream.read(length))
    for name, tensor in header.items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            yield SAFETENSORS.get(tensor["dtype"], UNKNOWN), int(last) - int(first)


def _most(kinds: Iterable[tuple[str, int]]) -> str:
    """The kind that has most bytes."""
    found: Counter[str] = Counter()
    for kind, size in kinds:
        found[kind] += size
    return found.most_common(1)[0][0] if found else UNKNOWN
