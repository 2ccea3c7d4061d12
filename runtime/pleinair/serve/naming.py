"""Models and files by the names that requests call them: what lies in the index, and never a path."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from pleinair.bundle.manifest import Manifest
from pleinair.bundle.opening import Bundle, located, open_bundle
from pleinair.bundle.shipped import STORYBOOK, shipped_bundles
from pleinair.checks import one_line
from pleinair.errors import PleinairError, RequestError
from pleinair.library.given import made_ready
from pleinair.library.listing import inside
from pleinair.request.loras import kept, lora_names
from pleinair.request.pass_options import ENLARGERS
from pleinair.request.vae_names import OWN
from pleinair.system.home import embeddings_folder, is_name, models_folder

FRESH_S = 5.0  # seconds that what was listed holds
EMBEDDING = ".safetensors"
UNMOVED = (OWN, *ENLARGERS)  # words that name no model


@dataclass(frozen=True)
class Listed:
    """What is there at a moment: bundles by what they are for, LoRAs and textual inversions."""

    models: dict[str, Bundle] = field(default_factory=dict)
    upscalers: dict[str, Bundle] = field(default_factory=dict)
    controlnets: dict[str, Bundle] = field(default_factory=dict)
    vaes: dict[str, Bundle] = field(default_factory=dict)
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()


class Index:
    """The models of this machine by name; `default` is the one that paints where a request names none."""

    def __init__(self, default: str | None = None) -> None:
        folder = located(made_ready(default))
        self._default = open_bundle(folder, verify=False)
        if not self._default.manifest.paints:
            self._default.require("text2image")
        self.default = STORYBOOK if default is None else Path(default).name
        self._turn = Lock()
        self._listed = Listed()
        self._moment = -FRESH_S

    def listed(self) -> Listed:
        """What is there; looked up anew every FRESH_S."""
        with self._turn:
            if time.monotonic() - self._moment >= FRESH_S:
                self._listed, self._moment = self._look(), time.monotonic()
            return self._listed

    def model(self, name: object = None) -> tuple[str, Bundle]:
        """A model's name and bundle; raises RequestError for a name that is not listed."""
        chosen = self.default if name is None else name
        return str(chosen), found("model", chosen, self.listed().models)

    def paths(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of a request with the folders and files that they name; RequestError for what is not listed."""
        here, placed = self.listed(), dict(options)
        for name, shelf in beside(here).items():
            if isinstance(options.get(name), str) and options[name] not in UNMOVED:
                placed[name] = found(name, options[name], shelf).path
        if "loras" in options:
            placed["loras"] = [(lora_file(each["name"]), each.get("strength", 1.0)) for each in options["loras"]]
        if "embeddings" in options:
            placed["embeddings"] = [embedding_file(each, here.embeddings) for each in options["embeddings"]]
        if "controls" in options:
            placed["controls"] = [control_of(each, here.controlnets) for each in options["controls"]]
        return placed

    def _look(self) -> Listed:
        shelves: dict[str, dict[str, Bundle]] = {"models": {}, "upscalers": {}, "controlnets": {}, "vaes": {}}
        for name, bundle in self._bundles():
            shelves[shelf_of(bundle.manifest)].setdefault(name, bundle)
        embeddings = sorted(file.stem for file in embeddings_folder().glob(f"*{EMBEDDING}"))
        return Listed(**shelves, loras=tuple(lora_names()), embeddings=tuple(embeddings))

    def _bundles(self) -> Iterator[tuple[str, Bundle]]:
        yield self.default, self._default
        kept_here = {each.name: each for each in inside(models_folder()) if is_name(each.name)}
        for name, folder in {**shipped_bundles(), **kept_here}.items():
            with suppress(PleinairError, OSError):
                yield name, open_bundle(folder, verify=False)


def beside(here: Listed) -> dict[str, dict[str, Bundle]]:
    """Options that name one model beside the one that paints, and where they look."""
    vaes = {**here.vaes, **here.models}
    return {
        "refiner": here.models,
        "upscale": here.upscalers,
        "enlarger": here.upscalers,
        "vae": vaes,
        "preview_vae": vaes,
    }


def shelf_of(manifest: Manifest) -> str:
    """What a bundle is for."""
    if manifest.paints:
        return "models"
    if manifest.control:
        return "controlnets"
    return "vaes" if manifest.is_vae else "upscalers"


def found(what: str, name: object, shelf: Mapping[str, Any]) -> Any:
    """What lies under a name; RequestError, with the names that there are, for another one."""
    if isinstance(name, str) and name in shelf:
        return shelf[name]
    there = ", ".join(one_line(each, 60) for each in list(shelf)[:20]) or "none is here"
    raise RequestError(f"there is no {what} '{one_line(name, 80)}'; choose from: {there}")


def lora_file(name: object) -> Path:
    """The LoRA that is kept, or ships, under a name."""
    file = kept(name) if isinstance(name, str) and is_name(name) else None
    return file or found("LoRA", name, dict.fromkeys(lora_names()))


def embedding_file(name: object, names: tuple[str, ...]) -> Path:
    """The textual inversion that is kept under a name."""
    found("embedding", name, dict.fromkeys(names))
    return embeddings_folder() / f"{name}{EMBEDDING}"


def control_of(given: Mapping[str, Any], shelf: Mapping[str, Bundle]) -> dict[str, Any]:
    """A ControlNet as `Control` has it; its picture stays as it is."""
    how = {name: value for name, value in given.items() if name != "name"}
    return {**how, "model": found("ControlNet", given["name"], shelf).path}
