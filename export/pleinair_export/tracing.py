"""A torch module as graph files: OpenVINO's IR, and ONNX."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from pleinair.bundle.manifest import Placed
from pleinair_export import attention, extra, onnx_files, quantize
from pleinair_export.graphs import Spec
from pleinair_export.narrow import blank_weights, narrow_weights
from pleinair_export.quiet import quiet

if TYPE_CHECKING:
    import onnx
    import openvino

FORMATS = ("openvino", "onnx")
OPSET = 17  # the newest that DirectML runs
WEIGHT = ".weight"
MODEL = "model."  # what Specs call the component that they wrap
NUMBERED = re.compile(r"[A-Za-z]+_\d+|\d+")  # names that OpenVINO gives


class WrittenGraph(NamedTuple):
    """File names of a graph, and where in it the weights of layers lie, by layer path."""

    files: tuple[str, ...]
    placed: dict[str, Placed]


def write_openvino(spec: Spec, folder: Path, weights: str) -> WrittenGraph:
    """Trace `spec` into openvino_model.xml and .bin."""
    return store_openvino(traced_openvino(spec), spec, folder, weights)


def traced_openvino(spec: Spec) -> "openvino.Model":
    """The graph with its weights as the module has them."""
    with quiet():
        import openvino

        example = {name: torch.from_numpy(value) for name, value in spec.example.items()}
        example |= {name: example[name].long() for name in spec.whole}  # openvino-genai sets an int64 tensor there
        with blank_weights(spec.module):
            # convert_model traces by itself too, but runs the module three times more to compare traces.
            traced = torch.jit.trace(spec.module, tuple(example.values()), strict=False, check_trace=False)
            model = openvino.convert_model(traced, example_input=tuple(example.values()))
        for port, (name, info) in zip(model.inputs, spec.inputs.items(), strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_partial_shape(
                openvino.PartialShape([n if isinstance(n, int) else -1 for n in info.shape])
            )
        for port, name in zip(model.outputs, spec.outputs, strict=True):
            port.get_tensor().set_names({name})
        model.validate_nodes_and_infer_types()
    return model


def store_openvino(model: "openvino.Model", spec: Spec, folder: Path, weights: str) -> WrittenGraph:
    """Write a traced graph, which is changed."""
    with quiet():
        from pleinair.engines.saving import save_ir

        narrow = {f"self.{name}": each for name, each in narrow_weights(spec.module).items()}
        model = quantize.compress_openvino(model, weights, narrow)
        name_nodes(model, spec.name)
        save_ir(model, folder / "openvino_model.xml")
    return WrittenGraph(("openvino_model.xml", "openvino_model.bin"), placed_constants(model, spec))


def name_nodes(model: "openvino.Model", name: str) -> None:
    """Number nodes that nobody named from the start of the graph: OpenVINO does it from that of the process.

    Tensors lose the numbers that torch counts values with. So equal graphs become equal files.
    """
    model.set_friendly_name(name)
    for number, node in enumerate(model.get_ordered_ops()):
        if NUMBERED.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
        for output in node.outputs():
            tensor = output.get_tensor()
            tensor.set_names({each for each in tensor.get_names() if not each.isdigit()})


def placed_constants(model: "openvino.Model", spec: Spec) -> dict[str, Placed]:
    """Layer path -> the constant of its weight; OpenVINO calls it as torch does, behind "self."."""
    names = {node.get_friendly_name() for node in model.get_ops() if node.get_type_name() == "Constant"}
    return {path: Placed(f"self.{key}") for key, path in layers(spec).items() if f"self.{key}" in names}


def layers(spec: Spec) -> dict[str, str]:
    """Name of a weight of two axes or more, as torch has it -> the path of its layer within the component."""
    weights = (name for name, each in spec.module.named_parameters() if name.endswith(WEIGHT) and each.ndim > 1)
    return {name: name.removeprefix(MODEL).removesuffix(WEIGHT) for name in weights}


def write_onnx(spec: Spec, folder: Path, weights: str) -> WrittenGraph:
    """Trace `spec` into model.onnx, and model.onnx_data where it is large."""
    return store_onnx(traced_onnx(spec), spec, folder, weights)


def store_onnx(model: "onnx.ModelProto", spec: Spec, folder: Path, weights: str) -> WrittenGraph:
    """Write a traced graph, which is changed."""
    state = dict(spec.module.named_parameters()) | dict(spec.module.named_buffers())
    transposed = onnx_files.take_parameters(model, {name: tuple(each.shape) for name, each in state.items()})
    if extra.IDS in spec.inputs:
        extra.take_extra(model)

    def values(name: str) -> torch.Tensor:
        return state[name].T if name in transposed else state[name]

    names, files = onnx_files.write(model, folder, weights, lambda name: values(name).contiguous())
    known = layers(spec)
    return WrittenGraph(
        files, {known[name]: Placed(kept, name in transposed) for name, kept in names.items() if name in known}
    )


def traced_onnx(spec: Spec) -> "onnx.ModelProto":
    """The graph, whose parameters are among its inputs and have no values: a model in memory is there once."""
    import onnx

    ports = spec.inputs | spec.outputs
    with tempfile.TemporaryDirectory() as scratch, quiet(), attention.fused(OPSET), blank_weights(spec.module):
        file = Path(scratch) / "model.onnx"
        torch.onnx.export(
            spec.module,
            tuple(torch.from_numpy(spec.example[name]) for name in spec.inputs),
            str(file),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={
                name: {axis: size for axis, size in enumerate(port.shape) if isinstance(size, str)}
                for name, port in ports.items()
            },
            opset_version=OPSET,
            export_params=False,
            do_constant_folding=False,
            dynamo=False,
        )
        return onnx.load(file)


TRACE = {"openvino": traced_openvino, "onnx": traced_onnx}
STORE = {"openvino": store_openvino, "onnx": store_onnx}
WRITE = {"openvino": write_openvino, "onnx": write_onnx}
