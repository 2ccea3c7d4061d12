"""How much arithmetic a graph is: counted in its IR, so that a time can be held against the machine's own limit."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from pleinair.engines.engine import Shapes


def gflop(file: Path, shapes: Shapes) -> float | None:
    """10^9 multiplications and additions of one call, matrix products and convolutions only; None where unreadable.

    Needs openvino, which reads ONNX files too unless they hold operators of ONNX Runtime's own.
    """
    from pleinair.engines.openvino import ov

    try:
        model = ov.Core().read_model(file)
        model.reshape({port.get_any_name(): shapes[port.get_any_name()] for port in model.inputs})
        return (
            sum(COUNTED[node.get_type_name()](node) for node in model.get_ops() if node.get_type_name() in COUNTED)
            / 1e9
        )
    except (RuntimeError, KeyError):
        return None


def _sizes(port: Any) -> list[int]:
    return [int(side) for side in port.get_shape()]


def _convolution(node: Any) -> int:
    kernel, out = _sizes(node.input(1)), _sizes(node.output(0))  # (out, in, kh, kw)
    return 2 * prod(out) * prod(kernel[1:])


def _grouped(node: Any) -> int:
    kernel, out = _sizes(node.input(1)), _sizes(node.output(0))  # (groups, out, in, kh, kw)
    return 2 * prod(out) * prod(kernel[2:])


def _product(node: Any) -> int:
    a, out = _sizes(node.input(0)), _sizes(node.output(0))
    transposed = node.get_attributes().get("transpose_a", False) and len(a) > 1
    return 2 * prod(out) * (a[-2] if transposed else a[-1])


def _attention(node: Any) -> int:
    query, keys, values = (_sizes(node.input(number)) for number in range(3))  # (..., tokens, width)
    return 2 * prod(query[:-1]) * keys[-2] * (query[-1] + values[-1])


COUNTED: dict[str, Callable[[Any], int]] = {
    "Convolution": _convolution,
    "GroupConvolution": _grouped,
    "MatMul": _product,
    "ScaledDotProductAttention": _attention,
}
