"""An ONNX graph and its weights on disk, written one by one."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from pleinair_export import quantize

EXTERNAL = 1_500_000_000  # bytes of weights beyond which they lie beside model.onnx: protobuf ends at 2 GiB
GRAPH, DATA = "model.onnx", "model.onnx_data"
ALIGNED = 4096  # bytes, as pages of memory are
SWAPPED = [1, 0]

Readers = defaultdict[str, list[onnx.NodeProto]]


def take_parameters(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> set[str]:
    """Make parameters, which are inputs of the graph, initializers without values, in place; returns those transposed.

    A parameter is transposed before it is stored, so that the graph need not do it.
    """
    graph, transposed, idle = model.graph, set(), set()
    readers = readers_of(graph)
    for port in [port for port in graph.input if port.name in shapes]:
        shape = shapes[port.name]
        graph.input.remove(port)
        if len(shape) == 2 and all(map(is_transpose, readers[port.name])):
            idle |= skip_transposing(readers, port.name)
            transposed.add(port.name)
            shape = shape[::-1]
        graph.initializer.append(TensorProto(name=port.name, data_type=port.type.tensor_type.elem_type, dims=shape))
    for place in reversed(range(len(graph.node))):
        if graph.node[place].output[0] in idle:
            del graph.node[place]
    return transposed


def readers_of(graph: onnx.GraphProto) -> Readers:
    """Name of a value -> the nodes that read it."""
    readers: Readers = defaultdict(list)
    for node in graph.node:
        for name in set(node.input):
            readers[name].append(node)
    return readers


def skip_transposing(readers: Readers, name: str) -> set[str]:
    """Let a value be read past the nodes that transpose it, which are all that read it; returns what those write."""
    past, written = [], set()
    for node in readers[name]:
        written.add(node.output[0])
        for reader in readers.pop(node.output[0], ()):
            for place, each in enumerate(reader.input):
                if each == node.output[0]:
                    reader.input[place] = name
            past.append(reader)
    readers[name] = past
    return written


def is_transpose(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == SWAPPED


def write(
    model: onnx.ModelProto, folder: Path, weights: str, values: Callable[[str], torch.Tensor]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give a graph's empty initializers their `values`, stored as `weights`, and write it.

    One array is in memory at a time where the weights lie beside the graph. Returns the name of each initializer as it
    is stored, and the names of the files.
    """
    graph = model.graph
    empty = [tensor for tensor in graph.initializer if is_empty(tensor)]
    axes = quantize.output_axes(graph)
    large = sum(quantize.stored_size(tensor.dims, weights) for tensor in empty) >= EXTERNAL
    names, nodes = {}, []
    with (folder / DATA).open("wb") as stream:
        for tensor in empty:
            graph.initializer.remove(tensor)
            array = numbers(values(tensor.name), tensor.data_type)
            arrays, behind = quantize.stored(tensor.name, array, weights, axes.get(tensor.name))
            names[tensor.name] = next(iter(arrays))
            nodes += behind
            for name, each in arrays.items():
                beside = large and quantize.is_weight(each.shape)
                graph.initializer.append(outside(stream, name, each) if beside else numpy_helper.from_array(each, name))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.save(model, folder / GRAPH)
    if large:
        return names, (GRAPH, DATA)
    (folder / DATA).unlink()
    return names, (GRAPH,)


def is_empty(tensor: TensorProto) -> bool:
    """Whether an initializer waits for its values."""
    return not tensor.raw_data and not any((tensor.float_data, tensor.int64_data, tensor.int32_data))


def numbers(values: torch.Tensor, kind: int) -> np.ndarray:
    return (values.float() if kind == TensorProto.FLOAT else values).numpy()


def outside(stream: BinaryIO, name: str, array: np.ndarray) -> TensorProto:
    """An initializer whose numbers are appended to a file."""
    stream.write(bytes(-stream.tell() % ALIGNED))
    place = {"location": DATA, "offset": str(stream.tell()), "length": str(array.nbytes)}
    stream.write(array.data)
    return TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=TensorProto.EXTERNAL,
        external_data=[onnx.StringStringEntryProto(key=key, value=value) for key, value in place.items()],
    )
