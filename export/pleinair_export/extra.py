"""An ONNX text encoder that takes embeddings from outside, for textual inversion."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pleinair.engines.ports import EXTRA
from pleinair.errors import ExportError

IDS = "input_ids"


def take_extra(model: onnx.ModelProto) -> None:
    """Give the graph EXTRA, (rows, d), in place: where an id is below 0, row -1 - id is its embedding.

    EXTRA is an input that has a default, an initializer that may be overridden: ONNX Runtime does not list those among
    its inputs, so that other programs need not know it. The runtime makes the same of an OpenVINO graph when it loads.
    """
    graph = model.graph
    gather = table_gather(graph)
    if gather is None:
        raise ExportError("the text encoder looks up its token embeddings in an unknown way; use the openvino format")
    width = next(tensor.dims[1] for tensor in graph.initializer if tensor.name == gather.input[0])
    table, taken = gather.output[0], "extra/taken"
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == IDS:  # all of them: the pooled output searches the ids for the end of the text
                node.input[place] = "extra/plain"
    gather.output[0] = "extra/table"
    before = [
        helper.make_node("Less", [IDS, "extra/0"], [taken]),
        helper.make_node("Where", [taken, "extra/0", IDS], ["extra/plain"]),
        helper.make_node("Sub", ["extra/-1", IDS], ["extra/flipped"]),
        helper.make_node("Where", [taken, "extra/flipped", "extra/0"], ["extra/places"]),
        helper.make_node("Gather", [EXTRA, "extra/places"], ["extra/vectors"], axis=0),
        helper.make_node("Unsqueeze", [taken, "extra/axes"], ["extra/mask"]),
    ]
    mixed = helper.make_node("Where", ["extra/mask", "extra/vectors", "extra/table"], [table])
    place = next(n for n, node in enumerate(graph.node) if "extra/table" in node.output)
    graph.node.insert(place + 1, mixed)
    for node in reversed(before):
        graph.node.insert(0, node)
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), f"extra/{name}")
        for name, value in (("0", 0), ("-1", -1), ("axes", [-1]))
    )
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, width), np.float32), EXTRA))
    graph.input.append(helper.make_tensor_value_info(EXTRA, TensorProto.FLOAT, ["rows", width]))


def table_gather(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """The Gather by which the token ids, as they are or reshaped, choose rows of an initializer."""
    weights = {tensor.name for tensor in graph.initializer}
    ids = {IDS}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in weights and node.input[1] in ids:
            return node
        if node.op_type in ("Reshape", "Cast", "Identity") and node.input[0] in ids:
            ids.add(node.output[0])
    return None
