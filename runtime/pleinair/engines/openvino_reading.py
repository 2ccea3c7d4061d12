"""Reading an IR: what pleinair hands to OpenVINO, and what it makes of the ports and marks that it finds."""

from pathlib import Path

from pleinair.engines.failures import unreadable
from pleinair.engines.openvino_weights import mark_stored_small
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import BundleError

with without_telemetry():
    import openvino as ov

XML = b"<?xml"


def read_model(core: ov.Core, file: Path) -> ov.Model:
    """An IR as a model whose ports have numbers that NumPy has, and whose 16-bit weights are known as such.

    OpenVINO looks into a file to tell its format, and what it reads for others (ONNX) may refer to any file and any
    address: only what begins like an IR is handed to it, with the weights that lie beside it.
    """
    try:
        with file.open("rb") as stream:
            if not stream.read(len(XML) + 3).removeprefix(b"\xef\xbb\xbf").startswith(XML):
                raise BundleError(f"'{file}' is not an OpenVINO graph; restore it or export the model again")
        model = core.read_model(file, file.with_suffix(".bin"))
        model = widen_ports(model)
        mark_stored_small(model)
    except (RuntimeError, OSError) as error:
        raise unreadable(file, error) from None
    return model


def widen_ports(model: ov.Model) -> ov.Model:
    """Let the `timestep` port take real numbers, and ports of bfloat16 take and give float32.

    Linspace and Karras spacings fall between trained steps. On disk the port is int64, which openvino.genai sets on it;
    the graph itself converts it to float32 first thing.
    """
    for port in model.inputs:
        if "timestep" in port.get_names():
            port.get_node().set_element_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()
    sides = (model.inputs, model.outputs)
    if not any(port.get_element_type() == ov.Type.bf16 for ports in sides for port in ports):
        return model
    wide = ov.preprocess.PrePostProcessor(model)
    for ports, side in zip(sides, (wide.input, wide.output), strict=True):
        for place, port in enumerate(ports):
            if port.get_element_type() == ov.Type.bf16:
                side(place).tensor().set_element_type(ov.Type.f32)
    return wide.build()
