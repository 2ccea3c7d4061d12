"""The outline of an ONNX file, from its bytes."""

import math
from collections import Counter
from pathlib import Path

from pleinair.adopting.outline import FoundPort, Outline
from pleinair.bundle import onnx_data

NUMBERS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}  # TensorProto.DataType
STORED = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 16: "bf16", 21: "int4", 22: "int4"}


def read_onnx(path: Path) -> Outline:
    """The outline of an ONNX file, of which no weight is read; raises BundleError for a file that is none."""
    inputs, outputs = onnx_data.ports(path)
    weights = onnx_data.initializers(path)
    stored: Counter[str] = Counter()
    for weight in weights.values():
        if weight.kind in STORED:
            stored[STORED[weight.kind]] += math.prod(weight.shape)
    return Outline(
        inputs=tuple(found(name, value) for name, value in inputs.items() if name not in weights),
        outputs=tuple(found(name, value) for name, value in outputs.items()),
        stored=dict(stored),
        weights={name: weight.shape for name, weight in weights.items()},
    )


def found(name: str, value: onnx_data.Value) -> FoundPort:
    named = value.shape is not None
    shape = tuple(size if isinstance(size, int) else None for size in value.shape) if named else None
    return FoundPort((name,), NUMBERS.get(value.kind, f"TensorProto type {value.kind}"), shape)
