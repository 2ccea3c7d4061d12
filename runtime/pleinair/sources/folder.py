"""A diffusers folder, looked at before anything large is loaded: class, components, configs, weights, licence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MANIFEST, Defaults
from pleinair.checks import one_line, quoted, shown_path
from pleinair.errors import ExportError, RequestError
from pleinair.request.lora_types import GivenLora
from pleinair.sources.configs import check_configs, check_numbers, text_length
from pleinair.sources.defaults import settled
from pleinair.sources.describing import Described
from pleinair.sources.families import SUPPORTED, Component, Family, as_plain, class_in, family_of
from pleinair.sources.graphs import foreign
from pleinair.sources.hub_cache import newest_snapshot, snapshot_of
from pleinair.sources.hub_ids import on_hub
from pleinair.sources.schedulers import as_walked
from pleinair.sources.settings import SETTINGS, Settings, check_sides, read_settings
from pleinair.sources.transformers import tokens_read
from pleinair.sources.weight_files import DOWNLOAD, check_weights
from pleinair.system.files import CONFIG, read_file, read_json

STEMS = {"transformers": "model", "diffusers": "diffusion_pytorch_model"}  # of the files of weights, by library
LARGEST_CARD, LARGEST_TOKENIZER = 1 << 24, 1 << 26  # bytes: the largest README, tokenizer file


@dataclass(frozen=True)
class Source(Described):
    """A pipeline folder that can be exported; `variants` are "fp16" and the like, or None; `sizes` counts parameters.

    `scheduler` is the config as diffusers walks it; `sampler` is what was named to paint with, if anything was. `file`
    holds the weights of a model that came in one file: its folder then has configs alone. `trigger` are words that it
    was trained on. `loras` are merged into its weights.
    """

    path: Path
    scheduler: dict[str, Any]
    variants: dict[str, str | None]
    sizes: dict[str, int]
    licence: str | None
    defaults: Defaults
    settings: Settings
    sampler: str | None = None
    file: Path | None = None
    trigger: str | None = None
    loras: tuple[GivenLora, ...] = ()

    @property
    def name(self) -> str:
        """What the bundle is called."""
        return self.settings.name

    def length(self, part: Component) -> int:
        """Tokens that a text encoder reads at once."""
        return tokens_read(part, self.network) or text_length(self.configs[part.folder])


def open_source(path: Path, sampler: str | None = None, pickles: bool = False) -> Source:
    """Check a diffusers folder from its small files and the headers of its weights; `sampler` to paint with by default.

    Where there are no safetensors, weights may be `pickles`.
    Raises RequestError (no such folder) or ExportError (not one of ours, or damaged), before gigabytes are read.
    """
    path = snapshot_of(path)
    check_kind(path)
    index = read_index(path / "model_index.json")
    family = known_family(path, index)
    readers = [part.tokenizer for part in family.readers]
    check_files(path, ("scheduler", *readers, *(part.folder for part in family.parts)))
    configs, variants, sizes = {}, {}, {}
    for part in family.parts:
        name = part.folder
        check_class(path, name, class_in(index, name), part.kind)
        configs[name] = read_config(path / name / "config.json")
        check_numbers(path, name, configs[name])
        variants[name], sizes[name] = check_weights(path / name, STEMS[part.library], pickles)
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
        raise ExportError(f"'{shown_path(file)}' is missing; {DOWNLOAD}")
    return read_json(file, CONFIG, ExportError, DOWNLOAD)


def read_index(file: Path) -> dict[str, Any]:
    """A model_index.json, with the class of the plain pipeline of its parts."""
    return as_plain(read_config(file))


def absent(source: str) -> RequestError:
    """The error for a SOURCE that is not there; a hub id, which looks like a path, is told with what fetches it."""
    where, named = shown_path(source), on_hub(source)
    if named is None:
        return RequestError(f"no folder or file '{where}'; check the path (SOURCE is on this disk)")
    return RequestError(
        f"no folder or file '{where}'; if it is a model of the Hugging Face hub, fetch it with: {named.command}"
    )


def check_kind(path: Path) -> None:
    """Raise ExportError, saying what a folder is and what can be done with it, for one that is no diffusers folder."""
    where = one_line(path.name, 80)
    if not path.is_dir():
        raise ExportError(f"'{where}' is neither a folder nor an ordinary file; give a diffusers folder")
    if (path / MANIFEST).is_file():
        raise ExportError(
            f"'{where}' is a bundle already; give its folder to --model, or to --vae, --control or --upscale where it"
            " is one of these"
        )
    if foreign(path):
        raise ExportError(
            f"'{where}' holds OpenVINO or ONNX graphs of another tool (no {MANIFEST}); adopt them: pleinair adopt"
            f" {quoted(path)}, or export the diffusers folder that they were made from"
        )
    if not (path / "model_index.json").exists():
        raise ExportError(f"'{where}' is not a diffusers folder (no model_index.json); {instead_of(path)}")


def instead_of(path: Path) -> str:
    """What to give instead of a folder that is no model: what it is a part of, a snapshot, or weights in it."""
    if (path.parent / "model_index.json").is_file():
        return f"give the folder it is in: {quoted(path.parent)}"
    if newest := newest_snapshot(path):
        return f"give one of its snapshots, the newest: {quoted(newest)}"
    there, kinds = sorted(path.glob("[!.]*")), (".safetensors", ".ckpt")  # the first is preferred
    files = [each for kind in kinds for each in there if each.suffix.lower() == kind]
    if not files:
        return "give one that save_pretrained wrote, or a file of weights"
    more = f", or one of {len(files) - 1} more" if len(files) > 1 else ""
    return f"give a file of weights: {quoted(files[0])}{more}"


def known_family(path: Path, index: dict[str, Any]) -> Family:
    """The family that model_index.json is of; ExportError for other classes of pipelines."""
    family = family_of(index)
    kind = index.get("_class_name")
    if not isinstance(kind, str):
        raise ExportError(
            f"'{one_line(path.name, 80)}' has a model_index.json without a _class_name, which says what model it is;"
            f" {DOWNLOAD}"
        )
    if family is None:
        raise ExportError(
            f"'{one_line(path.name, 80)}' is a {one_line(kind, 80)}, which cannot be exported yet; choose a model of"
            f" {SUPPORTED}"
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
            raise ExportError(f"'{shown_path(path / name)}' is missing; {DOWNLOAD}")
    entries = [path / name for name in ("model_index.json", "README.md", SETTINGS, *folders)]
    entries += [entry for name in folders for entry in sorted((path / name).iterdir())]
    for entry in entries:
        where = shown_path(entry)
        if not entry.is_symlink() and not entry.exists():
            continue
        real = entry.resolve()
        if not any(real.is_relative_to(home) for home in homes):
            raise ExportError(f"'{where}' is a link that leaves the model's folder; put a copy of the file there")
        if not real.is_dir() and not real.is_file():
            raise ExportError(f"'{where}' is not an ordinary file; {DOWNLOAD}")
        if entry.suffix in (".json", ".txt", ".model") and real.stat().st_size > LARGEST_TOKENIZER:
            raise ExportError(
                f"'{where}' is too large ({real.stat().st_size:,} bytes, at most {LARGEST_TOKENIZER:,}); {DOWNLOAD}"
            )


def check_class(path: Path, component: str, found: str | None, kind: str) -> None:
    """Raise ExportError unless the class that model_index.json gives for a component is `kind`."""
    if found != kind:
        what = one_line(found, 80) if found else "nothing"
        raise ExportError(f"'{one_line(path.name, 80)}' has {what} as {component}; choose a model with {kind} there")


def licence(readme: Path) -> str | None:
    """The `license:` of a model card's front matter."""
    if not readme.exists():
        return None
    text = read_file(readme, LARGEST_CARD, ExportError, "take the README away").decode("utf-8", "replace")
    front = re.match(r"---\s*\n(.*?)\n---", text, re.S)
    line = front and re.search(r"^license:\s*[\"']?([\w.+-]{1,100})", front[1], re.M)
    return line[1] if line else None
