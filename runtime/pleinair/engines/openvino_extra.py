"""The table of a text encoder that OpenVINO has read, and rows of embeddings from outside beside it."""

import numpy as np

from pleinair.engines.ports import EXTRA
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops


def table_rows(model: ov.Model) -> int | None:
    """How many tokens a text encoder's table has; None for other graphs."""
    ids = next((port for port in model.inputs if "input_ids" in port.get_names()), None)
    table = ids and table_of(ids)
    if table is None:
        return None
    rows = table.input_value(0).get_partial_shape()[0]
    return rows.get_length() if rows.is_static else None


def take_extra(model: ov.Model) -> bool:
    """Give a text encoder the input EXTRA, (rows, d): where an id is below 0, row -1 - id is its embedding.

    Done here and not on disk, where openvino.genai would meet an input it does not know. False where the graph has no
    table of embeddings that `input_ids` chooses from.
    """
    ids = next((port for port in model.inputs if "input_ids" in port.get_names()), None)
    table = ids and table_of(ids)
    if table is None:
        return False
    consumers = ids.get_target_inputs()
    width = table.input_value(0).get_partial_shape()[1].get_length()
    rows = ops.parameter([-1, width], np.float32, EXTRA)
    rows.output(0).get_tensor().set_names({EXTRA})
    none = ops.constant(0, ids.get_element_type())
    chosen = ops.less(ids, none)
    plain = ops.select(chosen, none, ids)
    for consumer in consumers:  # all of them: the pooled output searches the ids for the end of the text
        consumer.replace_source_output(plain.output(0))
    places = ops.select(chosen, ops.subtract(ops.constant(-1, ids.get_element_type()), ids), none)
    vectors = ops.gather(rows, places, ops.constant(0, np.int64))
    readers = table.output(0).get_target_inputs()
    mixed = ops.select(ops.unsqueeze(chosen, ops.constant(-1, np.int64)), vectors, table)
    for reader in readers:
        reader.replace_source_output(mixed.output(0))
    model.add_parameters([rows])
    model.validate_nodes_and_infer_types()
    return True


def table_of(ids: ov.Output) -> ov.Node | None:
    """The Gather by which ids choose rows of a table (V, d)."""
    for consumer in ids.get_target_inputs():
        node = consumer.get_node()
        if node.get_type_name() == "Gather" and consumer.get_index() == 1:
            return node if node.input_value(0).get_partial_shape().rank.get_length() == 2 else None
        if node.get_type_name() in ("Convert", "Reshape") and consumer.get_index() == 0:
            found = table_of(node.output(0))
            if found is not None:
                return found
    return None
