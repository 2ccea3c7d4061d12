"""A diffusers folder, looked at before anything large is loaded: class, components, configs, weights, licence."""

import json
import re
import struct
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pleinair.bundle import Defaults
from pleinair.errors import ExportError, RequestError
from pleinair_export.families import FAMILIES, Family

DOWNLOAD = "download the model again"
LEGACY = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


@dataclass(frozen=True)
class Source:
    """A pipeline folder that can be exported; `variants` is "fp16" or None, `sizes` counts parameters."""

    path: Path
    name: str
    family: Family
    configs: dict[str, dict[str, Any]]
    variants: dict[str, str | None]
    sizes: dict[str, int]
    licence: str | None
    defaults: dict[str, Any]
    scheduler: dict[str, Any]


def open_source(path: Path) -> Source:
    """Check a diffusers folder from its small files and the headers of its weights.

    Raises RequestError (no such folder) or ExportError (not one of ours, or damaged), before gigabytes are read.
    """
    if not path.exists():
        raise RequestError(f"no folder '{path}'; check the path (SOURCE is a diffusers folder on this disk)")
    if not (path / "model_index.json").is_file():
        raise ExportError(
            f"'{path}' is not a diffusers folder (no model_index.json); give one that save_pretrained wrote"
        )
    index = read_json(path / "model_index.json")
    family = FAMILIES.get(index.get("_class_name", ""))
    if family is None:
        raise ExportError(
            f"'{path.name}' is a {index.get('_class_name')}, which cannot be exported yet;"
            f" choose a model whose model_index.json says {' or '.join(FAMILIES)}"
        )
    configs, variants, sizes = {}, {}, {}
    for component, (kind, _) in family.components.items():
        if (index.get(component) or [None, None])[1] != kind:
            raise ExportError(
                f"'{path.name}' has {(index.get(component) or [None, None])[1] or 'nothing'} as {component};"
                f" choose a model with a {kind} there"
            )
        configs[component] = read_json(path / component / "config.json")
        variants[component], sizes[component] = check_weights(path / component, LEGACY[component])
    for tokenizer in family.tokenizers:
        if not (path / tokenizer).is_dir():
            raise ExportError(f"'{path / tokenizer}' is missing; {DOWNLOAD}")
    check_configs(path.name, configs)
    extra = read_json(path / "pleinair.json") if (path / "pleinair.json").exists() else {}
    unknown = set(extra.get("defaults", {})) - {field.name for field in fields(Defaults)}
    if unknown:
        raise ExportError(f"'{path / 'pleinair.json'}' has no default called {', '.join(sorted(unknown))}; remove it")
    return Source(
        path,
        extra.get("name", path.name),
        family,
        configs,
        variants,
        sizes,
        licence(path / "README.md"),
        extra.get("defaults", {}),
        read_json(path / "scheduler" / "scheduler_config.json"),
    )


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; raises ExportError where the file is missing or malformed."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"'{file}' is missing; {DOWNLOAD}") from None
    except (OSError, ValueError) as error:
        raise ExportError(f"cannot read '{file}' ({error}); {DOWNLOAD}") from None
    if not isinstance(value, dict):
        raise ExportError(f"'{file}' is not a JSON object; {DOWNLOAD}")
    return value


def check_configs(name: str, configs: dict[str, dict[str, Any]]) -> None:
    """Raise ExportError for a UNet whose extra inputs a text-to-image bundle has no port for."""
    unet, vae = configs["unet"], configs["vae"]
    if unet.get("in_channels", 4) != vae.get("latent_channels", 4):
        raise ExportError(
            f"'{name}' has a UNet with {unet['in_channels']} input channels (inpainting or editing);"
            " choose a text-to-image model"
        )
    for key in ("class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim", "encoder_hid_dim"):
        if unet.get(key) is not None:
            raise ExportError(
                f"'{name}' has a UNet with {key}, which is not supported; choose a plain SD 1.x or 2.x model"
            )


def check_weights(folder: Path, stem: str) -> tuple[str | None, int]:
    """(variant, number of parameters) of a component's safetensors; raises ExportError: none, or truncated."""
    for variant in (None, "fp16"):
        dot = f".{variant}" if variant else ""
        single, index = folder / f"{stem}{dot}.safetensors", folder / f"{stem}.safetensors.index{dot}.json"
        if single.is_file():
            return variant, count_parameters(single)
        if index.is_file():
            shards = sorted(set(read_json(index).get("weight_map", {}).values()))
            return variant, sum(count_parameters(folder / shard) for shard in shards)
    raise ExportError(
        f"'{folder}' has no {stem}.safetensors; {DOWNLOAD}, with its .safetensors files (.bin and .ckpt are not read)"
    )


def count_parameters(file: Path) -> int:
    """Numbers stored in a safetensors file, from its header; raises ExportError when the file is cut short."""
    try:
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            size = file.stat().st_size
            header = json.loads(stream.read(length)) if length < size else {}
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=-1)
        if size != 8 + length + end:
            raise ExportError(f"'{file}' is damaged or cut short ({size} bytes); {DOWNLOAD}")
        return sum(count(entry["shape"]) for entry in header.values())
    except FileNotFoundError:
        raise ExportError(f"'{file}' is missing; {DOWNLOAD}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ExportError(f"'{file}' is not a safetensors file ({error}); {DOWNLOAD}") from None


def count(shape: list[int]) -> int:
    """Product of a shape."""
    total = 1
    for side in shape:
        total *= side
    return total


def licence(readme: Path) -> str | None:
    """The `license:` of a model card's front matter."""
    if not readme.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace").replace("\r", ""), re.S)
    line = front and re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.M)
    return line[1] if line else None
