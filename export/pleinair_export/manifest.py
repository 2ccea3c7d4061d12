"""The small files of a bundle: bundle.json, model_index.json and the scheduler's config."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import pleinair
from pleinair.bundle.format_1 import FEEDS
from pleinair.bundle.manifest import (
    FORMAT,
    Autoencoder,
    Denoiser,
    GraphInfo,
    Joined,
    Latents,
    Manifest,
    Origin,
    TextEncoder,
)
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.verifying import FileInfo, file_info
from pleinair.checks import one_line
from pleinair_export import families
from pleinair_export.preview import Rgb
from pleinair_export.source import Source, read_config
from pleinair_export.tokenizer import Tokens
from pleinair_export.upscaler import Upscaler


def write_configs(model: Source, stage: Path) -> None:
    """Write model_index.json with the components a bundle has, and the scheduler's config as diffusers walks it."""
    (stage / "scheduler").mkdir()
    write_json(stage / "scheduler" / "scheduler_config.json", model.scheduler)
    index = read_config(model.path / "model_index.json")
    kept = {"scheduler", *model.family.components, *model.family.tokenizers}
    for key, value in index.items():
        if isinstance(value, list) and key not in kept:
            index[key] = [None, None]
    index["requires_safety_checker"] = False
    index["scheduler"] = ["diffusers", model.scheduler.get("_class_name")]
    write_json(stage / "model_index.json", index)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON object as diffusers lays it out."""
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def make_manifest(
    model: Source, stage: Path, infos: dict[str, GraphInfo], tokens: Tokens, rgb: Rgb | None, weights: str
) -> Manifest:
    """bundle.json for a stage that is complete but for it."""
    vae, unet = model.configs["vae"], model.configs["unet"]
    channels = vae.get("latent_channels", 4)
    scale, shift = vae.get("scaling_factor", 0.18215), vae.get("shift_factor") or 0.0
    inpaints = unet.get("in_channels", 4) != channels
    return Manifest(
        format=FORMAT,
        name=model.name,
        family=families.generation(unet),
        tasks=families.tasks(unet, channels),
        latents=Latents(channels, model.factor, rgb),
        vaes={"default": Autoencoder("vae_decoder", "vae_encoder", model.factor, scale, shift)},
        defaults=model.defaults,
        text_encoders=(
            TextEncoder(
                graph="text_encoder",
                tokenizer="tokenizer",
                length=tokens.length,
                bos_id=tokens.bos_id,
                eos_id=tokens.eos_id,
                pad_id=tokens.pad_id,
                output="last_hidden_state",
            ),
        ),
        conditioning={"text": Joined(("text_encoder",))},
        denoisers=(Denoiser("unet", FEEDS, "out_sample", ("mask", "masked_image") if inpaints else ()),),
        scheduler="scheduler/scheduler_config.json",
        graphs=infos,
        files=list_files(stage),
        origin=origin(model, infos["unet"], ("diffusers", "transformers"), weights),
        vocabulary=model.settings.vocabulary,
        sizes=model.settings.sizes,
    )


def make_upscaler_manifest(model: Upscaler, stage: Path, info: GraphInfo, weights: str) -> Manifest:
    """bundle.json of an upscaler, for a stage that is complete but for it."""
    return Manifest(
        format=FORMAT,
        name=model.name,
        family=UPSCALER,
        tasks=("upscale",),
        graphs={UPSCALER: info},
        files=list_files(stage),
        origin=origin(model, info, (), weights),
        scale=model.scale,
    )


def list_files(stage: Path) -> dict[str, FileInfo]:
    """Every file below a folder but hidden ones, with its size and hash."""
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(stage).as_posix(): file_info(path) for path in files}


def origin(model: Source | Upscaler, graph: GraphInfo, libraries: tuple[str, ...], weights: str) -> Origin:
    """Where the bundle came from: names and versions, no paths."""
    formats = tuple(graph.files)
    form = "both" if len(formats) > 1 else formats[0]
    tools = ["torch", *libraries, *(["openvino"] if "openvino" in formats else [])]
    tools += ["nncf"] if "openvino" in formats and weights == "int8" else []
    tools += ["onnx", "onnxruntime"] if "onnx" in formats else []
    versions = {"python": platform.python_version(), "pleinair": pleinair.__version__}
    versions |= {tool: importlib.metadata.version(tool) for tool in tools}
    source = one_line(model.path.name, 200)
    command = f"pleinair export {source} --format {form} --weights {weights}"
    if isinstance(model, Source) and model.sampler is not None:
        command += f" --sampler {model.sampler}"
    return Origin(source, None, model.licence, command, versions)
