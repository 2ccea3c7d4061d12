"""A diffusers folder, looked at before anything large is loaded: class, components, configs, weights, licence."""

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pleinair.bundle import Defaults, Sizes, inpaint_channels
from pleinair.errors import BundleError, ExportError, RequestError
from pleinair.manifest_checks import LONGEST_WORD, MOST_WORDS, is_vocabulary, suits
from pleinair.schedule import prediction_type
from pleinair_export.families import FAMILIES, Family

DOWNLOAD = "download the model again"
STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
FOREIGN_PORTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim", "encoder_hid_dim")


@dataclass(frozen=True)
class Source:
    """A pipeline folder that can be exported; `variants` is "fp16" or None, `sizes` counts parameters.

    `vocabulary` and `sides` are what the model is said to know and to paint well.
    """

    path: Path
    name: str
    family: Family
    configs: dict[str, dict[str, Any]]
    scheduler: dict[str, Any]
    variants: dict[str, str | None]
    sizes: dict[str, int]
    licence: str | None
    defaults: dict[str, Any]
    vocabulary: tuple[str, ...]
    sides: Sizes | None

    @property
    def size(self) -> tuple[int, int]:
        """Default height and width of the latents."""
        side = self.configs["unet"].get("sample_size") or 64
        return (side, side) if isinstance(side, int) else tuple(side)

    @property
    def factor(self) -> int:
        """Image pixels per latent pixel along one side."""
        return 2 ** (len(self.configs["vae"]["block_out_channels"]) - 1)

    @property
    def length(self) -> int:
        """Tokens that the text encoder reads at once."""
        return self.configs["text_encoder"].get("max_position_embeddings", 77)


def open_source(path: Path) -> Source:
    """Check a diffusers folder from its small files and the headers of its weights.

    Raises RequestError (no such folder) or ExportError (not one of ours, or damaged), before gigabytes are read.
    """
    if not path.exists():
        raise RequestError(f"no folder or file '{path}'; check the path (SOURCE is on this disk)")
    if not (path / "model_index.json").is_file():
        raise ExportError(
            f"'{path}' is not a diffusers folder (no model_index.json); give one that save_pretrained wrote,"
            " or an upscaler's .safetensors or .pth file"
        )
    index = read_json(path / "model_index.json")
    family = FAMILIES.get(str(index.get("_class_name")))
    if family is None:
        raise ExportError(
            f"'{path.name}' is a {index.get('_class_name')}, which cannot be exported yet;"
            f" choose a model whose model_index.json says {' or '.join(FAMILIES)}"
        )
    configs, variants, sizes = {}, {}, {}
    for component, (kind, _) in family.components.items():
        check_class(path.name, component, index.get(component), kind)
        configs[component] = read_json(path / component / "config.json")
        variants[component], sizes[component] = check_weights(path / component, STEMS[component])
    for tokenizer in family.tokenizers:
        if not (path / tokenizer).is_dir():
            raise ExportError(f"'{path / tokenizer}' is missing; {DOWNLOAD}")
    scheduler = read_json(path / "scheduler" / "scheduler_config.json")
    check_configs(path.name, configs["unet"], configs["vae"], scheduler)
    name, defaults = wishes(path)
    terms, claimed = licence(path / "README.md"), claims(path)
    source = Source(path, name, family, configs, scheduler, variants, sizes, terms, defaults, *claimed)
    check_sides(source)
    return source


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


def check_class(name: str, component: str, entry: Any, kind: str) -> None:
    """Raise ExportError unless model_index.json gives a component as [library, `kind`]."""
    found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if found != kind:
        raise ExportError(f"'{name}' has {found or 'nothing'} as {component}; choose a model that has a {kind} there")


def check_configs(name: str, unet: dict[str, Any], vae: dict[str, Any], scheduler: dict[str, Any]) -> None:
    """Raise ExportError for what a text-to-image bundle has no port or our samplers have no formula for."""
    latents, read, made = vae.get("latent_channels", 4), unet.get("in_channels", 4), unet.get("out_channels", 4)
    if read not in (latents, inpaint_channels(latents)) or made != latents:
        raise ExportError(
            f"'{name}' has a UNet of {read} channels in and {made} out for latents of {latents};"
            " choose a model for text to image or inpainting"
        )
    foreign = [key for key in FOREIGN_PORTS if unet.get(key) is not None]
    if foreign:
        raise ExportError(
            f"'{name}' has a UNet with {foreign[0]}, which is not supported; choose a plain SD 1.x or 2.x model"
        )
    try:
        prediction_type(scheduler)
    except BundleError as error:
        raise ExportError(f"'{name}': {error}") from None
    if not isinstance(vae.get("block_out_channels"), list):
        raise ExportError(f"'{name}' has a VAE config without block_out_channels; {DOWNLOAD}")


def wishes(path: Path) -> tuple[str, dict[str, Any]]:
    """Name and defaults from an optional pleinair.json, {"name": ..., "defaults": {"guidance": 4.0, ...}}."""
    file = path / "pleinair.json"
    given = read_json(file) if file.exists() else {}
    name, defaults = given.get("name", path.name), given.get("defaults", {})
    kinds = get_type_hints(Defaults)
    for key, value in defaults.items() if isinstance(defaults, dict) else [("defaults", defaults)]:
        accepted = {int: int, float: (int, float), str: str}.get(kinds.get(key), ())
        if not isinstance(value, accepted):
            raise ExportError(f"'{file}' cannot set '{key}' to {value!r}; choose from: {', '.join(kinds)}")
    return str(name), defaults


def claims(path: Path) -> tuple[tuple[str, ...], Sizes | None]:
    """What an optional pleinair.json says that the model knows and paints well.

    {"vocabulary": ["house", ...], "sizes": {"smallest": 384, "largest": 768}}, sides in pixels.
    """
    file = path / "pleinair.json"
    given = read_json(file) if file.exists() else {}
    vocabulary, sides = given.get("vocabulary", []), given.get("sizes")
    words = isinstance(vocabulary, list) and all(isinstance(word, str) for word in vocabulary)
    if not words or not is_vocabulary(vocabulary):
        raise ExportError(
            f"'{file}' has a vocabulary that is no list of words; give at most {MOST_WORDS:,} of them,"
            f" each of at most {LONGEST_WORD} printable characters"
        )
    if sides is None:
        return tuple(vocabulary), None
    names = get_type_hints(Sizes)
    numbers = isinstance(sides, dict) and sides.keys() == names.keys() and all(type(n) is int for n in sides.values())
    if not numbers or not suits(Sizes(**sides)):
        raise ExportError(f"'{file}' has impossible sizes; give {' and '.join(names)}, whole numbers of pixels")
    return tuple(vocabulary), Sizes(**sides)


def check_sides(source: Source) -> None:
    """Raise ExportError where the default size is none of those that the model is said to paint well."""
    height, width = (
        source.defaults.get(name, side * source.factor)
        for name, side in zip(("height", "width"), source.size, strict=True)
    )
    if source.sides is not None and not suits(source.sides, width, height):
        raise ExportError(
            f"'{source.path / 'pleinair.json'}' leaves its default size of {width}x{height} out of its sizes"
            f" ({source.sides.smallest} to {source.sides.largest}); correct one of them"
        )


def check_weights(folder: Path, stem: str) -> tuple[str | None, int]:
    """(variant, number of parameters) of a component's safetensors; raises ExportError: none, or truncated."""
    for variant in (None, "fp16"):
        dot = f".{variant}" if variant else ""
        single, index = folder / f"{stem}{dot}.safetensors", folder / f"{stem}.safetensors.index{dot}.json"
        if single.is_file():
            return variant, count_parameters(single)
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict):
                raise ExportError(f"'{index}' has no weight_map; {DOWNLOAD}")
            return variant, sum(count_parameters(folder / str(shard)) for shard in set(shards.values()))
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
        return sum(math.prod(entry["shape"]) for entry in header.values())
    except FileNotFoundError:
        raise ExportError(f"'{file}' is missing; {DOWNLOAD}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ExportError(f"'{file}' is not a safetensors file ({error}); {DOWNLOAD}") from None


def licence(readme: Path) -> str | None:
    """The `license:` of a model card's front matter."""
    if not readme.is_file():
        return None
    front = re.match(r"---\s*\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.S)
    line = front and re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.M)
    return line[1] if line else None
