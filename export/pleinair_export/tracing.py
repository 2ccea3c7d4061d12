"""A torch module as graph files: OpenVINO's IR, and ONNX."""

import shutil
from pathlib import Path

import torch

from pleinair_export import attention, extra, quantize
from pleinair_export.graphs import Spec
from pleinair_export.quiet import quiet

FORMATS = ("openvino", "onnx")
OPSET = 17  # the newest that DirectML runs
EXTERNAL = 1_500_000_000  # bytes of weights beyond which they lie beside model.onnx: protobuf ends at 2 GiB


def write_openvino(spec: Spec, folder: Path, weights: str) -> tuple[str, ...]:
    """Trace `spec` into openvino_model.xml and .bin; returns the file names."""
    with quiet():
        import openvino

        example = {name: torch.from_numpy(value) for name, value in spec.example.items()}
        if "timestep" in example:
            example["timestep"] = example["timestep"].long()  # openvino-genai sets an int64 tensor on that port
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
        if weights != "fp32":
            model = quantize.compress_openvino(model, weights)
        try:
            openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(f"OpenVINO could not save {spec.name}: {error}") from error
    return "openvino_model.xml", "openvino_model.bin"


def write_onnx(spec: Spec, folder: Path, weights: str) -> tuple[str, ...]:
    """Trace `spec` into model.onnx (and model.onnx_data where it is large); returns the file names."""
    import onnx

    scratch = folder / "scratch"
    scratch.mkdir()
    ports = spec.inputs | spec.outputs
    with quiet(), attention.fused(OPSET):
        torch.onnx.export(
            spec.module,
            tuple(torch.from_numpy(spec.example[name]) for name in spec.inputs),
            str(scratch / "model.onnx"),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={
                name: {axis: size for axis, size in enumerate(port.shape) if isinstance(size, str)}
                for name, port in ports.items()
            },
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(scratch / "model.onnx")
    shutil.rmtree(scratch)
    if extra.IDS in spec.inputs:
        extra.take_extra(model)
    if weights != "fp32":
        quantize.compress_onnx(model, weights)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < EXTERNAL:
        onnx.save(model, folder / "model.onnx")
        return ("model.onnx",)
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    return "model.onnx", "model.onnx_data"


WRITE = {"openvino": write_openvino, "onnx": write_onnx}
