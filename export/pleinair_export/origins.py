"""Where a bundle says that it came from."""

import importlib.metadata
import platform
from pathlib import Path

import pleinair
from pleinair.bundle.manifest import GraphInfo, Origin
from pleinair.checks import one_line, quoted
from pleinair.pouring.controlnets import ControlSource
from pleinair.sources.folder import Source
from pleinair.sources.lone_vaes import LoneVae
from pleinair.sources.origins import read_origin
from pleinair_export.upscaler import UpscalerSource


def origin(
    model: Source | UpscalerSource | LoneVae | ControlSource,
    graph: GraphInfo,
    libraries: tuple[str, ...],
    weights: str,
) -> Origin:
    """Where the bundle came from: names, versions, and the commit of what was fetched from a hub; no paths."""
    formats = tuple(graph.files)
    form = "both" if len(formats) > 1 else formats[0]
    tools = ["torch", *libraries, *(["openvino"] if "openvino" in formats else [])]
    tools += ["nncf"] if "openvino" in formats and weights == "int8" else []
    tools += ["onnx", "onnxruntime"] if "onnx" in formats else []
    versions = {"python": platform.python_version(), "pleinair": pleinair.__version__}
    versions |= {tool: importlib.metadata.version(tool) for tool in tools}
    path = given(model)
    pulled = read_origin(path if path.is_dir() else path.parent)
    source = pulled.id if pulled else one_line(path.name, 200)
    command = f"pleinair export {quoted(source)} --format {form} --weights {weights}"
    if isinstance(model, Source) and model.sampler is not None:
        command += f" --sampler {model.sampler}"
    loras = model.loras if isinstance(model, Source) else ()
    command += "".join(f" --lora {quoted(f'{each.file.name}:{each.weight:g}')}" for each in loras)
    trigger = model.trigger if isinstance(model, Source) else None
    return Origin(source, pulled.revision if pulled else None, model.licence, command, versions, trigger)


def given(model: Source | UpscalerSource | LoneVae) -> Path:
    """The file or the folder that is exported."""
    if isinstance(model, LoneVae):
        return model.path / model.part.folder
    return getattr(model, "file", None) or model.path
