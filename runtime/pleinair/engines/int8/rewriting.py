"""A W8A8 graph that OpenVINO has read, given the form in which it is computed well here."""

from pleinair.engines.int8.attention import widen_attention
from pleinair.engines.int8.channels_first import channels_first
from pleinair.engines.int8.forms import CHANNELS_FIRST, PAIRED, SHIFTED, STORED, ChosenForm, TakenForm
from pleinair.engines.int8.nodes import Place, constant_of, lead, place_of
from pleinair.engines.int8.saturation import int8_constant, pair_weights
from pleinair.engines.int8.shapes import freeze_shapes
from pleinair.engines.int8.shifting import shift_activations
from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov


def is_w8a8(model: ov.Model) -> bool:
    """Whether any activation is quantized."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def unround(model: ov.Model) -> None:
    """Let what the layers of a W8A8 model read be as it is, in place: they compute in float."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and constant_of(node.input_value(0)) is None:
            lead(node.output(0), node.input_value(0))
    model.validate_nodes_and_infer_types()


def put_in_form(model: ov.Model, chosen: ChosenForm) -> TakenForm:
    """Edit a W8A8 model in place; one whose shapes are not static keeps its layout."""
    if chosen.form == STORED:
        return TakenForm(*chosen)
    if chosen.form == SHIFTED:
        return TakenForm(*chosen, shifted=shift_activations(model))
    linear = left = 0
    attention = widen_attention(model)
    if chosen.form == CHANNELS_FIRST and not model.is_dynamic():
        freeze_shapes(model)
        linear = channels_first(model)
    if chosen.form == CHANNELS_FIRST:
        left = len(linear_over_images(model))
    counts = pair_weights(model)._asdict()
    shifted = shift_activations(model) if chosen.form == PAIRED else 0
    return TakenForm(*chosen, shifted=shifted, linear=linear, left=left, attention=attention, **counts)


def linear_over_images(model: ov.Model) -> list[ov.Node]:
    """The linear layers in int8 whose activations come out of a convolution: not those of the text and of the time."""
    of_images: set[Place] = set()
    found = []
    for node in model.get_ordered_ops():
        inputs = [place_of(source) in of_images for source in node.input_values()]
        if any(inputs) or node.get_type_name() == "Convolution":
            of_images |= {place_of(output) for output in node.outputs()}
        if node.get_type_name() == "MatMul" and inputs[0] and int8_constant(node.input_value(1)) is not None:
            found.append(node)
    return found
