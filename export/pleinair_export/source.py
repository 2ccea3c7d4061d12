"""A diffusers folder, looked at before anything large is loaded: class, components, configs, weights, licence."""

import json
import math
import re
import stat
import struct
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pleinair.bundle.describing import ADDED, Described, channels_behind, pooled_width
from pleinair.bundle.families import FAMILIES, PROJECTED, SUPPORTED, Family, Part
from pleinair.bundle.manifest import MANIFEST, Defaults, Sizes
from pleinair.bundle.manifest_checks import LONGEST_WORD, MOST_WORDS, is_vocabulary, suits
from pleinair.checks import number, one_line, shown, whole
from pleinair.errors import BundleError, ExportError, RequestError
from pleinair.request.options import MAX_SIDE, MAX_STEPS
from pleinair.sampling.configured import make_solver
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import default_sampler, named
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.scheduler_config import check_config
from pleinair.system.files import CONFIG, read_file, read_json
from pleinair_export.families import as_walked, habits

DOWNLOAD = "download the model again"
STEMS = {"transformers": "model", "diffusers": "diffusion_pytorch_model"}  # of the files of weights, by library
FOREIGN_PORTS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim")
GRAPHS = ("openvino_model.xml", "model.onnx")
SETTINGS = "pleinair.json"
WHOLES = ("I64", "I32", "BOOL")  # kinds of position ids and the like
CARD, HEADER, TEXT = 1 << 24, 1 << 24, 1 << 26  # bytes: the largest README, safetensors header, tokenizer file
LARGEST = 1_000_000  # of the numbers in a component's config: its widths, its vocabulary
DEEPEST = 48  # layers in a row
LATENTS = 256  # latent pixels along one side of the default size


@dataclass(frozen=True)
class Settings:
    """What an optional pleinair.json in the folder says; `defaults` are still to be checked against the model.

    {"name": "my model", "defaults": {"guidance": 4.0}, "vocabulary": ["house"], "sizes": {"smallest": 384, "largest":
    768}}: all words that the model knows, and the sides, in pixels, that it paints well.
    """

    name: str
    defaults: dict[str, Any]
    vocabulary: tuple[str, ...]
    sizes: Sizes | None


@dataclass(frozen=True)
class Source(Described):
    """A pipeline folder that can be exported; `variants` is "fp16" or None, `sizes` counts parameters.

    `scheduler` is the config as diffusers walks it; `sampler` is what was named to paint with, if anything was.
    """

    path: Path
    scheduler: dict[str, Any]
    variants: dict[str, str | None]
    sizes: dict[str, int]
    licence: str | None
    defaults: Defaults
    settings: Settings
    sampler: str | None = None

    @property
    def name(self) -> str:
        return self.settings.name

    def length(self, part: Part) -> int:
        """Tokens that a text encoder reads at once."""
        return text_length(self.configs[part.folder])


def open_source(path: Path, sampler: str | None = None) -> Source:
    """Check a diffusers folder from its small files and the headers of its weights; `sampler` to paint with by default.

    Raises RequestError (no such folder) or ExportError (not one of ours, or damaged), before gigabytes are read.
    """
    check_kind(path)
    index = read_config(path / "model_index.json")
    family = family_of(path, index)
    readers = [part.tokenizer for part in family.readers]
    check_files(path, ("scheduler", *readers, *(part.folder for part in family.parts)))
    configs, variants, sizes = {}, {}, {}
    for part in family.parts:
        name = part.folder
        check_class(path, name, index.get(name), part.kind)
        configs[name] = read_config(path / name / "config.json")
        check_numbers(path, name, configs[name])
        variants[name], sizes[name] = check_weights(path / name, STEMS[part.library])
    model = Described(family, index, configs)
    check_configs(path, model)
    config = read_config(path / "scheduler" / "scheduler_config.json")
    scheduler = as_walked(config, index["_class_name"], index.get("scheduler"))
    settings = read_settings(path)
    defaults = settled(path, model, scheduler, settings.defaults | ({"sampler": sampler} if sampler else {}))
    check_sides(settings.sizes, defaults)
    return Source(
        **vars(model),
        path=path,
        scheduler=scheduler,
        variants=variants,
        sizes=sizes,
        licence=licence(path / "README.md"),
        defaults=defaults,
        settings=settings,
        sampler=sampler,
    )


def read_config(file: Path) -> dict[str, Any]:
    """A JSON object that the model must have; raises ExportError where it is missing, malformed or no ordinary file."""
    if not file.exists():
        raise ExportError(f"'{one_line(file, 120, end=True)}' is missing; {DOWNLOAD}")
    return read_json(file, CONFIG, ExportError, DOWNLOAD)


def absent(source: str) -> RequestError:
    """The error for a SOURCE that is not there; a hub id, which looks like a path, is told with what fetches it."""
    where = one_line(source, 120, end=True)
    hub = re.fullmatch(r"(?:https://huggingface\.co/|hf://)?([\w-][\w.-]*/[\w-][\w.-]*?)/?", source)
    if hub is None:
        return RequestError(f"no folder or file '{where}'; check the path (SOURCE is on this disk)")
    folder = hub[1].partition("/")[2]
    return RequestError(
        f"no folder or file '{where}'; a model of the Hugging Face hub is downloaded first: hf download {hub[1]}"
        f" --local-dir {folder}, and then exported from '{folder}'"
    )


def check_kind(path: Path) -> None:
    """Raise ExportError, saying what a folder is and what can be done with it, for one that is no diffusers folder."""
    where = one_line(path.name, 80)
    if not path.is_dir():
        raise ExportError(f"'{where}' is neither a folder nor an ordinary file; give a diffusers folder")
    if (path / MANIFEST).is_file():
        raise ExportError(f"'{where}' is a bundle already; give its folder to --model, or an upscaler's to --upscale")
    if any((path / folder / name).is_file() for folder in ("unet", "transformer", ".") for name in GRAPHS):
        raise ExportError(
            f"'{where}' holds OpenVINO or ONNX graphs of another tool (no {MANIFEST}), which are not read yet;"
            " export the diffusers folder that they were made from"
        )
    if not (path / "model_index.json").exists():
        raise ExportError(
            f"'{where}' is not a diffusers folder (no model_index.json); give one that save_pretrained wrote,"
            " or an upscaler's .safetensors or .pth file"
        )


def family_of(path: Path, index: dict[str, Any]) -> Family:
    """The family of the pipeline class in model_index.json; ExportError for other classes."""
    kind = index.get("_class_name")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise ExportError(
            f"'{one_line(path.name, 80)}' is a {one_line(kind, 80)}, which cannot be exported yet; choose a model of"
            f" {SUPPORTED}, whose model_index.json says {' or '.join(FAMILIES)}"
        )
    if index.get("requires_aesthetics_score"):
        raise ExportError(
            f"'{one_line(path.name, 80)}' is a refiner, which cannot be exported yet; choose the base model beside it"
        )
    return family


def check_files(path: Path, folders: tuple[str, ...]) -> None:
    """Raise ExportError for anything in these folders that is no ordinary file of the model.

    Links may stay within the folder; those of a hub cache lead to the blobs beside its snapshots.
    """
    homes = [path.resolve()]
    if path.resolve().parent.name == "snapshots":
        homes.append(path.resolve().parents[1] / "blobs")
    for name in folders:
        if not (path / name).is_dir():
            raise ExportError(f"'{one_line(path / name, 120, end=True)}' is missing; {DOWNLOAD}")
    entries = [path / name for name in ("model_index.json", "README.md", SETTINGS, *folders)]
    entries += [entry for name in folders for entry in sorted((path / name).iterdir())]
    for entry in entries:
        where = one_line(entry, 120, end=True)
        if not entry.is_symlink() and not entry.exists():
            continue
        real = entry.resolve()
        if not any(real.is_relative_to(home) for home in homes):
            raise ExportError(f"'{where}' is a link that leaves the model's folder; put a copy of the file there")
        if not real.is_dir() and not real.is_file():
            raise ExportError(f"'{where}' is not an ordinary file; {DOWNLOAD}")
        if entry.suffix in (".json", ".txt") and real.stat().st_size > TEXT:
            raise ExportError(f"'{where}' is too large ({real.stat().st_size:,} bytes, at most {TEXT:,}); {DOWNLOAD}")


def check_class(path: Path, component: str, entry: Any, kind: str) -> None:
    """Raise ExportError unless model_index.json gives a component as [library, `kind`]."""
    found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if found != kind:
        what = one_line(found, 80) if found else "nothing"
        raise ExportError(
            f"'{one_line(path.name, 80)}' has {what} as {component}; choose a model that has a {kind} there"
        )


def check_numbers(path: Path, component: str, config: dict[str, Any]) -> None:
    """Raise ExportError for a number in a component's config that no model has, at any depth."""
    left = [(key, value) for key, value in config.items() if key != "_name_or_path"]
    while left:
        key, value = left.pop()
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else ((key, each) for each in value)
            left += [(f"{key}.{name}" if isinstance(value, dict) else name, each) for name, each in inner]
        most = DEEPEST if "layer" in key else LARGEST
        if isinstance(value, int | float) and not abs(value) <= most:  # NaN is not, either
            raise ExportError(
                f"'{one_line(path.name, 80)}' has {shown(value)} as {one_line(key, 80)} of its {component}; {DOWNLOAD}"
            )


def check_configs(path: Path, model: Described) -> None:
    """Raise ExportError for what a bundle has no port for, and for values of a wrong kind."""
    unet, vae = model.unet, model.configs["vae"]
    texts = {part.folder: model.configs[part.folder] for part in model.family.readers}
    levels, sides = vae.get("block_out_channels"), unet.get("sample_size")
    sides = sides if isinstance(sides, list) and len(sides) == 2 else [64 if sides is None else sides]
    scale, shift = vae.get("scaling_factor", 0.18215), vae.get("shift_factor") or 0.0
    widths = [vae.get("latent_channels", 4), unet.get("in_channels", 4), unet.get("out_channels", 4)]
    told, joined = unet.get("time_cond_proj_dim"), unet.get("cross_attention_dim", 1280)
    checks = {
        "block_out_channels of its vae": isinstance(levels, list) and 1 <= len(levels) <= 7 and wholes(levels),
        "sample_size of its unet": wholes(sides, LATENTS),
        "scaling_factor of its vae": is_number(scale) and scale != 0,
        "shift_factor of its vae": is_number(shift),
        "latents_mean and latents_std of its vae": are_moments(vae),
        "channels of its vae and unet": wholes(widths, 256),
        "time_cond_proj_dim of its unet": told is None or (wholes([told]) and told > 3),
        "cross_attention_dim of its unet": wholes([joined]),
    }
    if model.family.pools:
        added = [unet.get(key) for key in ("projection_class_embeddings_input_dim", "addition_time_embed_dim")]
        added += [model.configs[part.folder].get("projection_dim", 512) for part in pooling(model.family)]
        checks["numbers that its unet is told beside the text"] = wholes(added)
    for name, text in texts.items():
        lengths = [text_length(text), text.get("hidden_size", 512), text.get("num_hidden_layers", 12)]
        checks[f"max_position_embeddings of its {name}"] = wholes(lengths[:1], 4096) and lengths[0] >= 3
        checks[f"hidden_size and num_hidden_layers of its {name}"] = wholes(lengths[1:])
    wrong = [what for what, fine in checks.items() if not fine]
    if wrong:
        raise ExportError(f"'{one_line(path.name, 80)}' has impossible {wrong[0]}; {DOWNLOAD}")
    check_ports(path, model)


def check_ports(path: Path, model: Described) -> None:
    """Raise ExportError for a UNet that does not fit its latents, or is told what nothing here tells it."""
    name, unet = one_line(path.name, 80), model.unet
    read, made = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if channels_behind(model.family, read, model.channels) is None or made != model.channels:
        raise ExportError(
            f"'{name}' has a UNet of {read} channels in and {made} out for latents of {model.channels};"
            " choose a model for text to image, inpainting or editing"
        )
    texts = sum(model.configs[part.folder].get("hidden_size", 512) for part in model.family.readers)
    if texts != unet.get("cross_attention_dim", 1280):
        raise ExportError(f"'{name}' has a UNet that reads another width than its text is ({texts}); {DOWNLOAD}")
    foreign = [key for key in FOREIGN_PORTS if unet.get(key) is not None]
    if unet.get("addition_embed_type") != (ADDED if model.family.pools else None):
        foreign.append("addition_embed_type")
    if unet.get("time_cond_proj_dim") and "image" in model.behind:
        foreign.append("time_cond_proj_dim")
    if foreign:
        raise ExportError(
            f"'{name}' has a UNet with {foreign[0]} {shown(unet.get(foreign[0]))}, which is not supported; choose a"
            f" plain model of {SUPPORTED}"
        )
    pooled = sum(model.configs[part.folder].get("projection_dim", 512) for part in pooling(model.family))
    if pooled and pooled != pooled_width(unet):
        raise ExportError(
            f"'{name}' has a UNet that is told other numbers than a text and its sizes, as refiners are, which is not"
            f" supported; choose a plain model of {SUPPORTED}"
        )


def pooling(family: Family) -> list[Part]:
    """The text encoders whose pooled output the UNet is told."""
    return [part for part in family.readers if part.kind == PROJECTED]


def text_length(config: dict[str, Any]) -> Any:
    return config.get("max_position_embeddings", 77)


def are_moments(vae: dict[str, Any]) -> bool:
    """Whether a VAE's config has no mean and deviation of its latents, or a number of each for every channel."""
    lists = [vae.get(name) for name in ("latents_mean", "latents_std")]
    if lists == [None, None]:
        return True
    count = vae.get("latent_channels", 4)
    sized = all(isinstance(each, list) and len(each) == count and all(map(is_number, each)) for each in lists)
    return sized and all(lists[1])


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def wholes(values: list[Any], most: int = LARGEST) -> bool:
    """Whether all are whole numbers from 1 to `most`."""
    return all(type(value) is int and 1 <= value <= most for value in values)


def read_settings(path: Path) -> Settings:
    """Read pleinair.json; raises ExportError for what no bundle may say."""
    file = path / SETTINGS
    given = read_json(file, CONFIG, ExportError, f"correct {SETTINGS}") if file.exists() else {}
    name, defaults = given.pop("name", re.sub(r"[\\:]", "-", path.name)), given.pop("defaults", {})
    vocabulary, sizes = given.pop("vocabulary", []), given.pop("sizes", None)
    if given:
        known = "name, defaults, vocabulary and sizes"
        raise ExportError(f"{SETTINGS} has an unknown key '{one_line(next(iter(given)), 40)}'; use {known}")
    if not isinstance(name, str) or name != one_line(name, 100) or not name or re.search(r"[\\/:]", name):
        raise ExportError(
            f"the name of the model is {shown(name)}; give {SETTINGS} a name of at most 100 characters, without / \\ :"
        )
    if not isinstance(defaults, dict):
        raise ExportError(f'the defaults in {SETTINGS} are {shown(defaults)}; write an object like {{"steps": 8}}')
    return Settings(name, defaults, claimed_words(vocabulary), claimed_sizes(sizes))


def claimed_words(vocabulary: Any) -> tuple[str, ...]:
    words = isinstance(vocabulary, list) and all(isinstance(word, str) for word in vocabulary)
    if not words or not is_vocabulary(vocabulary):
        raise ExportError(
            f"{SETTINGS} has a vocabulary that is no list of words; give at most {MOST_WORDS:,} of them,"
            f" each of at most {LONGEST_WORD} printable characters"
        )
    return tuple(vocabulary)


def claimed_sizes(sizes: Any) -> Sizes | None:
    if sizes is None:
        return None
    names = [each.name for each in fields(Sizes)]
    numbers = isinstance(sizes, dict) and [*sizes] == names and all(type(side) is int for side in sizes.values())
    if not numbers or not suits(Sizes(**sizes)):
        raise ExportError(f"{SETTINGS} has impossible sizes; give {' and '.join(names)}, whole numbers of pixels")
    return Sizes(**sizes)


def check_sides(sizes: Sizes | None, defaults: Defaults) -> None:
    """Raise ExportError where the default size is none of those that the model is said to paint well."""
    if sizes is not None and not suits(sizes, defaults.width, defaults.height):
        raise ExportError(
            f"{SETTINGS} leaves the default size of {defaults.width}x{defaults.height} out of its sizes"
            f" ({sizes.smallest} to {sizes.largest}); correct one of them"
        )


def settled(path: Path, model: Described, scheduler: dict[str, Any], wishes: dict[str, Any]) -> Defaults:
    """What a bundle paints with unless told: the model's habits and the `wishes` of its maker, tried out on a path.

    Raises ExportError for wishes that every picture would fail with, and for scheduler configs that cannot be walked.
    """
    check_wishes(wishes)
    factor = model.factor
    height, width = (side * factor for side in model.size)
    try:
        scheduler = check_config(scheduler)
        sampler = own_sampler(wishes["sampler"]) if "sampler" in wishes else known_sampler(path, scheduler)
        steps, guidance = habits(model, scheduler)
        prediction_type(scheduler)
        defaults = Defaults(
            pixels("width", wishes.get("width", width), factor),
            pixels("height", wishes.get("height", height), factor),
            sampler,
            whole("steps", wishes.get("steps", steps), 1, MAX_STEPS),
            number("guidance", wishes.get("guidance", guidance), 0, 100),
            number("image_guidance", wishes.get("image_guidance", Defaults.image_guidance), 1, 100),
        )
        make_solver(sampler, scheduler)
        make_path(scheduler, SAMPLERS[sampler].grid, defaults.steps, None)
    except ExportError:
        raise
    except (RequestError, BundleError) as error:
        why, _, hint = str(error).rpartition("; ")
        raise ExportError(
            f"a bundle of '{one_line(path.name, 80)}' could not paint: {one_line(why, 160)}; {one_line(hint, 300)}"
        ) from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ExportError(
            f"the scheduler config of '{one_line(path.name, 80)}' cannot be read ({one_line(error, 80)}); {DOWNLOAD}"
        ) from None
    return defaults


def check_wishes(wishes: dict[str, Any]) -> None:
    """Raise ExportError for a default that no bundle has, and for one of a wrong type."""
    kinds = {each.name: each.type for each in fields(Defaults)}
    for key, value in wishes.items():
        accepted = {int: int, float: (int, float), str: str}.get(kinds.get(key), ())
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise ExportError(
                f"{SETTINGS} cannot set '{one_line(key, 40)}' to {shown(value)}; choose from: {', '.join(kinds)}"
            )


def known_sampler(path: Path, scheduler: dict[str, Any]) -> str:
    """The sampler of a scheduler config; ExportError, with how to name one, for a class that is not known."""
    try:
        return default_sampler(scheduler)
    except BundleError:
        raise ExportError(
            f"the scheduler class of '{one_line(path.name, 80)}', {shown(scheduler.get('_class_name'))}, is not known;"
            " name the sampler to paint with: --sampler dpmpp_2m"
        ) from None


def own_sampler(name: str) -> str:
    """A sampler by its own name or another tool's; RequestError for none, and for one that names a spacing too."""
    sampler, spacing = named(name)
    if spacing:
        raise RequestError(f"a default sampler has no spacing, as '{one_line(name, 40)}' has; choose {sampler}")
    return sampler


def pixels(name: str, value: int, factor: int) -> int:
    """Pixels along one side of a picture; RequestError for what is no multiple of `factor`."""
    if whole(name, value, factor, MAX_SIDE) % factor:
        raise RequestError(f"{name} {shown(value)} is not a multiple of {factor}; choose one that is")
    return value


def check_weights(folder: Path, stem: str) -> tuple[str | None, int]:
    """(variant, number of parameters) of a component's safetensors; raises ExportError: none, or truncated."""
    variant, files = weight_files(folder, stem)
    return variant, sum(map(count_parameters, files))


def weight_files(folder: Path, stem: str) -> tuple[str | None, list[Path]]:
    """(variant, files) of a component's safetensors; raises ExportError where there are none."""
    for variant in (None, "fp16"):
        dot = f".{variant}" if variant else ""
        single, index = folder / f"{stem}{dot}.safetensors", folder / f"{stem}.safetensors.index{dot}.json"
        if single.exists():
            return variant, [single]
        if index.exists():
            return variant, [folder / shard for shard in sorted(shards(index))]
    raise ExportError(
        f"'{one_line(folder, 120, end=True)}' has no {stem}.safetensors; {DOWNLOAD}, with its .safetensors files"
        " (.bin and .ckpt are not read)"
    )


def stored_kind(folder: Path, stem: str) -> str:
    """What safetensors calls the numbers that a component's weights are; "F32" where there are several kinds."""
    _, files = weight_files(folder, stem)
    kinds = {str(entry.get("dtype")) for file in files for entry in read_header(file)[0].values()} - set(WHOLES)
    return kinds.pop() if len(kinds) == 1 else "F32"


def shards(index: Path) -> set[str]:
    """The files that an index of shards names, all beside it; ExportError for names that lead elsewhere."""
    table = read_json(index, CARD, ExportError, DOWNLOAD).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ExportError(f"'{one_line(index, 120, end=True)}' has no weight_map; {DOWNLOAD}")
    for name in table.values():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]{1,200}\.safetensors", name):
            raise ExportError(
                f"'{one_line(index, 120, end=True)}' names {shown(name)}, which is no file beside it; {DOWNLOAD}"
            )
    return set(table.values())


def count_parameters(file: Path) -> int:
    """Numbers stored in a safetensors file, from its header; raises ExportError when the file is cut short."""
    header, size, data = read_header(file)
    where = one_line(file, 120, end=True)
    try:
        end = max((entry["data_offsets"][1] for entry in header.values()), default=-1)
        shapes = [entry["shape"] for entry in header.values()]
        count = sum(math.prod(shape) for shape in shapes if len(shape) < 9 and wholes(shape, size))
    except (KeyError, TypeError, IndexError) as error:
        raise ExportError(f"'{where}' is not a safetensors file ({one_line(error, 80)}); {DOWNLOAD}") from None
    if data != end or not 0 < count <= 2 * size:  # two numbers to a byte at most
        raise ExportError(f"'{where}' is damaged or cut short ({size} bytes); {DOWNLOAD}")
    return count


def read_header(file: Path) -> tuple[dict[str, dict[str, Any]], int, int]:
    """(tensors, bytes of the file, bytes behind the header) of a safetensors file; raises ExportError."""
    where = one_line(file, 120, end=True)
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ExportError(f"'{where}' is not an ordinary file; {DOWNLOAD}")
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > min(HEADER, facts.st_size - 8):
                raise ExportError(f"'{where}' is damaged or cut short ({facts.st_size} bytes); {DOWNLOAD}")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return header, facts.st_size, facts.st_size - 8 - length
    except FileNotFoundError:
        raise ExportError(f"'{where}' is missing; {DOWNLOAD}") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise ExportError(f"'{where}' is not a safetensors file ({one_line(error, 80)}); {DOWNLOAD}") from None


def licence(readme: Path) -> str | None:
    """The `license:` of a model card's front matter."""
    if not readme.exists():
        return None
    text = read_file(readme, CARD, ExportError, "take the README away").decode("utf-8", "replace")
    front = re.match(r"---\s*\n(.*?)\n---", text, re.S)
    line = front and re.search(r"^license:\s*[\"']?([\w.+-]{1,100})", front[1], re.M)
    return line[1] if line else None
