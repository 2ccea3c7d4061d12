"""16-bit weights of an ONNX file that ONNX Runtime leaves as they are stored.

It widens what a Cast makes of a weight when it opens a file, and holds the 32-bit copy instead of the mapped file. A
weight that a caller could give, as an input with a default, is widened in each call, where it is used.
"""

from collections.abc import Mapping

from pleinair.bundle.onnx_data import Initializer
from pleinair.bundle.onnx_nodes import GRAPH, graph_place
from pleinair.engines.onnx_ports import bytes_field, input_field, number_field

HALF = 10  # TensorProto.DataType


def with_stored_weights(content: bytes, weights: Mapping[str, Initializer]) -> bytes:
    """A file's bytes with an input for each 16-bit weight that Casts alone read.

    Raises ValueError for bytes that are no ONNX file.
    """
    place = graph_place(content)
    read = {True: set(), False: set()}
    for node in place.nodes:
        read[node.op == "Cast"].update(node.inputs)
    ports = [
        input_field(name, HALF, [number_field(1, side) for side in weight.shape])
        for name, weight in weights.items()
        if weight.kind == HALF and name in read[True] - read[False]
    ]
    graph = content[place.body : place.end] + b"".join(ports)
    return content[: place.start] + bytes_field(GRAPH, graph) + content[place.end :]
