"""Weights made smaller: fp16 or per-channel int8 on disk, float32 in the arithmetic."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import openvino

SMALLEST = 1024  # elements; below that nothing is saved
WEIGHT_INPUT = {"MatMul": 1, "Gemm": 1, "Conv": 1, "ConvTranspose": 1, "Gather": 0}


def is_weight(shape: Sequence[int]) -> bool:
    """Worth storing small: a matrix or a kernel of some size, not a norm, a bias or a table of frequencies."""
    total = math.prod(shape)
    return total >= SMALLEST and total > max(shape)


def compress_openvino(model: "openvino.Model", weights: str) -> "openvino.Model":
    """An openvino.Model with its large float weights as `weights` ("fp16", or "int8" by NNCF), for saving as it is.

    openvino's own compress_to_fp16 also rounds the table of timestep frequencies, where half a thousandth is half a
    radian at t = 999; here vectors stay float32.
    """
    if weights == "int8":
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        flatten_kernels(model)
        return model
    from openvino import Type
    from openvino.op import Constant
    from openvino.opset1 import convert

    for node in model.get_ordered_ops():
        if isinstance(node, Constant) and node.get_element_type() == Type.f32 and is_weight(node.data.shape):
            if np.abs(node.data).max() > np.finfo(np.float16).max:
                continue
            half = Constant(node.data.astype(np.float16))
            half.set_friendly_name(node.get_friendly_name())
            wide = convert(half, "f32")
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(wide.output(0))
    return model


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


def compress_onnx(model: onnx.ModelProto, weights: str) -> None:
    """Store the large float weights of `model` as `weights` ("fp16" or "int8"), in place.

    fp16 is followed by Cast and int8 by DequantizeLinear, so that every kernel still computes in float32.
    """
    graph = model.graph
    axes = output_axes(graph)
    nodes = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or not is_weight(tensor.dims):
            continue
        if weights == "fp16":
            nodes += halve(graph, tensor)
        elif tensor.name in axes:
            nodes += quantize(graph, tensor, axes[tensor.name])
    for node in reversed(nodes):
        graph.node.insert(0, node)


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


def halve(graph: onnx.GraphProto, tensor: TensorProto) -> list[onnx.NodeProto]:
    """Replace an initializer by its fp16 form and a Cast; one whose values leave fp16's range stays as it is."""
    values = numpy_helper.to_array(tensor)
    if np.abs(values).max() > np.finfo(np.float16).max:
        return []
    replace(graph, tensor, numpy_helper.from_array(values.astype(np.float16), tensor.name + "_fp16"))
    return [helper.make_node("Cast", [tensor.name + "_fp16"], [tensor.name], to=TensorProto.FLOAT)]


def quantize(graph: onnx.GraphProto, tensor: TensorProto, axis: int) -> list[onnx.NodeProto]:
    """Replace an initializer by symmetric int8 (-127 .. 127), a scale per slice of `axis`, and a DequantizeLinear."""
    values, name = numpy_helper.to_array(tensor), tensor.name
    others = tuple(n for n in range(values.ndim) if n != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    replace(graph, tensor, numpy_helper.from_array(np.rint(values / scale).astype(np.int8), name + "_int8"))
    graph.initializer.append(numpy_helper.from_array(scale.reshape(-1), name + "_scale"))
    return [helper.make_node("DequantizeLinear", [name + "_int8", name + "_scale"], [name], axis=axis)]


def replace(graph: onnx.GraphProto, old: TensorProto, new: TensorProto) -> None:
    """Swap one initializer for another."""
    graph.initializer.remove(old)
    graph.initializer.append(new)
