"""Weights made smaller: fp16 or per-channel int8 on disk, float32 in the arithmetic."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    import openvino
    import torch

Arrays = dict[str, np.ndarray]

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
LARGEST_HALF = float(np.finfo(np.float16).max)
SMALLEST = 1024  # elements; below that nothing is saved
WEIGHT_INPUT = {"MatMul": 1, "Gemm": 1, "Conv": 1, "ConvTranspose": 1, "Gather": 0}


def is_weight(shape: Sequence[int]) -> bool:
    """Worth storing small: a matrix or a kernel of some size, not a norm, a bias or a table of frequencies."""
    total = math.prod(shape)
    return total >= SMALLEST and total > max(shape)


def compress_openvino(
    model: "openvino.Model", weights: str, narrow: Mapping[str, "torch.Tensor"] = MappingProxyType({})
) -> "openvino.Model":
    """An openvino.Model with its large float weights as `weights` ("fp32", "fp16", or "int8" by NNCF), to be saved.

    Constants that are called as the `narrow` weights have the numbers of these, in 16 bits, and none of their own.
    openvino's own compress_to_fp16 also rounds the table of timestep frequencies, where half a thousandth is half a
    radian at t = 999; here vectors stay float32.
    """
    from openvino.op import Constant

    for constant in [node for node in model.get_ordered_ops() if isinstance(node, Constant)]:
        name = constant.get_friendly_name()
        if name in narrow:
            store(constant, weights, narrow[name].float().numpy())
        elif weights == "fp16" and is_float(constant) and is_weight(constant.get_output_shape(0)):
            store(constant, weights, constant.data)
    if weights == "int8":
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        flatten_kernels(model)
    return model


def is_float(constant: "openvino.op.Constant") -> bool:
    from openvino import Type

    return constant.get_element_type() == Type.f32


def store(constant: "openvino.op.Constant", weights: str, values: np.ndarray) -> None:
    """Give a float32 weight its values, in 16 bits unless `weights` is "fp32" or they have not their range."""
    from openvino.op import Constant
    from openvino.opset1 import convert

    name, targets = constant.get_friendly_name(), constant.output(0).get_target_inputs()
    small = values if weights == "fp32" or np.abs(values).max() > LARGEST_HALF else values.astype(np.float16)
    if weights == "int8" and not np.array_equal(small, values):
        small = values  # of bfloat16: rounded twice, a number could become another
    half = small.dtype == np.float16
    kept = Constant(small)
    kept.set_friendly_name(name)
    end = convert(kept, "f32").output(0) if half else kept.output(0)
    if not half:
        end.set_names(constant.output(0).get_names())
    elif weights == "int8":  # NNCF leaves it behind what it makes, where it would put one of this name
        end.get_node().set_friendly_name(f"{name}/fq_weights_{next(iter(targets)).get_index()}/convert")
    else:
        end.get_node().set_rt_info(*mark())
    for target in targets:
        target.replace_source_output(end)


@cache
def mark() -> tuple["openvino.OVAny", str]:
    """OpenVINO's own mark of a conversion that widens a stored weight, which its files keep, and the mark's name.

    It cannot be made from Python, so it is taken from what OpenVINO compresses itself.
    """
    from openvino import Model
    from openvino._offline_transformations import compress_model_transformation
    from openvino.opset1 import constant, matmul, parameter

    from pleinair.engines.openvino_weights import MARK

    taken = parameter([1, 32], np.float32)
    model = Model([matmul(taken, constant(np.ones((32, 32), np.float32)), False, False)], [taken])
    compress_model_transformation(model)
    return next(node.rt_info[MARK] for node in model.get_ops() if node.get_type_name() == "Convert"), MARK


def flatten_kernels(model: "openvino.Model") -> None:
    """Store the int8 kernels of 1x1 convolutions as matrices, in place, which are made kernels as the last thing.

    OpenVINO turns such a convolution into a MatMul where its input is transposed, and takes a reshape for a transpose:
    with one latent pixel left and a batch, the graph no longer compiles. It looks for kernels that come scaled.
    """
    from openvino import opset13 as ops
    from openvino.op import Constant

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or tuple(node.input_value(1).get_shape()[2:]) != (1, 1):
            continue
        scaled = node.input_value(1).get_node()
        wide = scaled.get_type_name() == "Convert"  # the scales of NNCF are float16
        product = scaled.input_value(0).get_node() if wide else scaled
        if product.get_type_name() != "Multiply":
            continue
        whole, scale = (product.input_value(n).get_node() for n in (0, 1))
        stored = whole.input_value(0).get_node()
        matrix, factors = (Constant(each.data.reshape(len(each.data), -1)) for each in (stored, scale))
        matrix.set_friendly_name(stored.get_friendly_name())
        factors.set_friendly_name(scale.get_friendly_name())
        flat = ops.multiply(ops.convert(matrix, whole.get_element_type()), factors)
        flat = ops.convert(flat, "f32") if wide else flat
        kernel = ops.reshape(flat, Constant(np.array(node.input_value(1).get_shape())), False)
        node.input(1).replace_source_output(kernel.output(0))


def stored(name: str, values: np.ndarray, weights: str, axis: int | None) -> tuple[Arrays, list[onnx.NodeProto]]:
    """What an ONNX graph holds of a float weight: initializers, that of the weight first, and the nodes that widen it.

    fp16 is followed by Cast and int8, where the weight has an `axis` of output channels, by DequantizeLinear, so that
    every kernel still computes in float32.
    """
    if values.dtype == np.float32 and is_weight(values.shape):
        if weights == "fp16":
            return halve(name, values)
        if weights == "int8" and axis is not None:
            return quantize(name, values, axis)
    return {name: values}, []


def stored_size(shape: Sequence[int], weights: str) -> int:
    """Bytes that a float weight takes."""
    return math.prod(shape) * (BYTES[weights] if is_weight(shape) else 4)


def output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Initializer name -> the axis that has a scale of its own, for those that are nothing but weights."""
    axes: dict[str, int] = {}
    other: set[str] = set()
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in ranks:
                continue
            if place == WEIGHT_INPUT.get(node.op_type):
                axes[name] = output_axis(node, ranks[name])
            else:
                other.add(name)
    return {name: axis for name, axis in axes.items() if name not in other}


def output_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of a weight that becomes output channels; for Gather, the rows of its table."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "MatMul":
        return rank - 1
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB") else 1
    return 1 if node.op_type == "ConvTranspose" else 0


def halve(name: str, values: np.ndarray) -> tuple[Arrays, list[onnx.NodeProto]]:
    """As fp16 and a Cast; an array whose values leave fp16's range stays as it is."""
    if np.abs(values).max() > LARGEST_HALF:
        return {name: values}, []
    small = f"{name}_fp16"
    return {small: values.astype(np.float16)}, [helper.make_node("Cast", [small], [name], to=TensorProto.FLOAT)]


def quantize(name: str, values: np.ndarray, axis: int) -> tuple[Arrays, list[onnx.NodeProto]]:
    """As symmetric int8 (-127 .. 127), a scale per slice of `axis`, and a DequantizeLinear."""
    others = tuple(n for n in range(values.ndim) if n != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    small, scales = f"{name}_int8", f"{name}_scale"
    arrays = {small: np.rint(values / scale).astype(np.int8), scales: scale.reshape(-1)}
    return arrays, [helper.make_node("DequantizeLinear", [small, scales], [name], axis=axis)]
