"""Ports for a ControlNet's residuals, put into a UNet that OpenVINO has read.

A skip connection is joined to the way up by a Concat of two arrays of four axes along their channels, and by nothing
else; the last one made is joined first.
"""

import numpy as np

from pleinair.engines.edits import Residuals
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

CHANNELS = (1, -3)  # the axis of four, counted from either end


def skip_joints(model: ov.Model) -> list[ov.Node]:
    """The Concats that join skip connections, those made first at the beginning."""
    found = [node for node in model.get_ordered_ops() if node.get_type_name() == "Concat"]
    return [node for node in found if _joins(node)][::-1]


def _joins(node: ov.Node) -> bool:
    shape = node.get_output_partial_shape(0)
    of_four = shape.rank.is_static and shape.rank.get_length() == 4
    return of_four and node.get_input_size() == 2 and node.get_attributes()["axis"] in CHANNELS


def channels_of(port: ov.Input | ov.Output) -> int | None:
    """How many channels an array has; None where the graph does not say."""
    side = port.get_partial_shape()[1]
    return side.get_length() if side.is_static else None


def found_channels(joints: list[ov.Node]) -> list[int | None]:
    """Channels of the skip connections, and of the middle."""
    skips = [channels_of(joint.input(1)) for joint in joints]
    return [*skips, channels_of(joints[-1].input(0))] if joints else []


def add_residuals(model: ov.Model, edit: Residuals) -> list[int | None] | None:
    """Put the ports of `edit` in; where the model's skip connections are others, their channels, and no change."""
    joints = skip_joints(model)
    found = found_channels(joints)
    if len(found) != len(edit.channels) or any(
        side not in (None, wanted) for side, wanted in zip(found, edit.channels, strict=True)
    ):
        return found
    places = [*(joint.input(1) for joint in joints), joints[-1].input(0)]
    model.add_parameters(
        [_added(place, name, width) for place, name, width in zip(places, edit.ports, edit.channels, strict=True)]
    )
    model.validate_nodes_and_infer_types()
    return None


def _added(place: ov.Input, name: str, channels: int) -> ov.Node:
    """A parameter that adds to what comes in at a place of the graph."""
    source = place.get_source_output()
    port = ops.parameter([-1, channels, -1, -1], np.float32, name)
    port.output(0).get_tensor().set_names({name})
    kind = source.get_element_type()
    added = port if kind == ov.Type.f32 else ops.convert(port, kind)
    place.replace_source_output(ops.add(source, added).output(0))
    return port
