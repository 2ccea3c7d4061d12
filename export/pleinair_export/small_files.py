"""The small files of a bundle beside bundle.json, and where it says that it came from."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import pleinair
from pleinair.bundle.manifest import GraphInfo, Origin
from pleinair.checks import one_line
from pleinair.sources.folder import Source
from pleinair.sources.origins import read_origin
from pleinair_export.upscaler import Upscaler


def write_configs(model: Source, stage: Path) -> None:
    """Write model_index.json with the components a bundle has, and the scheduler's config as diffusers walks it."""
    (stage / "scheduler").mkdir()
    write_json(stage / "scheduler" / "scheduler_config.json", model.scheduler)
    index = dict(model.index)
    kept = {"scheduler", *(each for part in model.family.parts for each in (part.folder, part.tokenizer))}
    for key, value in index.items():
        if isinstance(value, list) and key not in kept:
            index[key] = [None, None]
    if "safety_checker" in index:
        index["requires_safety_checker"] = False
    index["scheduler"] = ["diffusers", model.scheduler.get("_class_name")]
    write_json(stage / "model_index.json", index)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON object as diffusers lays it out."""
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def origin(model: Source | Upscaler, graph: GraphInfo, libraries: tuple[str, ...], weights: str) -> Origin:
    """Where the bundle came from: names, versions, and the commit of what was fetched from a hub; no paths."""
    formats = tuple(graph.files)
    form = "both" if len(formats) > 1 else formats[0]
    tools = ["torch", *libraries, *(["openvino"] if "openvino" in formats else [])]
    tools += ["nncf"] if "openvino" in formats and weights == "int8" else []
    tools += ["onnx", "onnxruntime"] if "onnx" in formats else []
    versions = {"python": platform.python_version(), "pleinair": pleinair.__version__}
    versions |= {tool: importlib.metadata.version(tool) for tool in tools}
    path = model.path
    pulled = read_origin(path if path.is_dir() else path.parent)
    source = pulled.id if pulled else one_line(path.name, 200)
    command = f"pleinair export {source} --format {form} --weights {weights}"
    if isinstance(model, Source) and model.sampler is not None:
        command += f" --sampler {model.sampler}"
    return Origin(source, pulled.revision if pulled else None, model.licence, command, versions)
