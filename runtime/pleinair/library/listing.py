"""Which models and downloads are kept on this machine."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle
from pleinair.bundle.shipped import shipped_bundle, shipped_bundles
from pleinair.checks import one_line, shown_path
from pleinair.errors import BundleError, PleinairError, RequestError
from pleinair.library.speed import Speed, remembered
from pleinair.sources.origins import Pulled, read_origin
from pleinair.sources.unsupported import refuse_model
from pleinair.system.home import downloads_folder, is_name, models_folder

UNFINISHED = ".pulling-"  # begins the name of a folder that is being downloaded


@dataclass(frozen=True)
class LocalModel:
    """A folder among the models: its bundle, or the `problem` with it and, without what helps, its `reason`."""

    name: str
    folder: Path
    size: int  # bytes on disk
    bundle: Bundle | None
    problem: str | None
    speed: Speed | None
    reason: str = ""


@dataclass(frozen=True)
class Download:
    """A folder that was downloaded to be made into a model, or is not whole yet."""

    name: str  # OWNER/NAME
    folder: Path
    size: int  # bytes on disk
    origin: Pulled | None
    whole: bool


def local_models() -> list[LocalModel]:
    """What ships with pleinair, and all that lies in the models folder."""
    folders = [folder for folder in inside(models_folder()) if not folder.name.startswith(".")]
    found = [*shipped_bundles().items(), *((folder.name, folder) for folder in folders)]
    return [inspected(name, folder) for name, folder in found]


def local_model(name: str) -> LocalModel:
    """The model of a name; raises RequestError for what is none, BundleError where there is no such model."""
    folder = checked_folder(name)
    if os.path.lexists(folder):
        return inspected(name, folder)
    if ships := shipped_bundle(name):
        return inspected(name, ships)
    raise BundleError(f"no model '{name}' in '{shown_path(models_folder())}'; see what is there with: pleinair models")


def model_called(name: object, sha256: object) -> Path | None:
    """The folder of the model that a record names: one of that name, if it can be of the same content."""
    if not isinstance(name, str):
        return None
    alike = []
    for folder in inside(models_folder()):
        with suppress(PleinairError):
            bundle = open_bundle(folder, verify=False)
            if name in (bundle.manifest.name, folder.name):
                alike.append((bundle_identity(bundle)["sha256"].startswith(str(sha256)), folder))
    return max(alike)[1] if alike else None


def checked_folder(name: str) -> Path:
    """Where a model of this name lies, or would; RequestError for a name that leads elsewhere."""
    if not is_name(name):
        raise RequestError(
            f"'{one_line(name, 80)}' is not the name of a model; choose one that `pleinair models` lists"
        )
    return models_folder() / name


def inspected(name: str, folder: Path) -> LocalModel:
    """What there is to say of a folder, whether it is a model or not."""
    try:
        refuse_model(folder)
        bundle, problem, reason = open_bundle(folder, verify=False), None, ""
    except (PleinairError, OSError) as error:
        bundle, problem, reason = None, str(error), getattr(error, "reason", str(error))
    return LocalModel(name, folder, size_on_disk(folder), bundle, problem, remembered(folder), reason)


def downloads() -> list[Download]:
    """What lies in the downloads folder, and what is not whole yet among the models."""
    folders = [folder for owner in inside(downloads_folder()) for folder in inside(owner)]
    folders += [folder for folder in inside(models_folder()) if folder.name.startswith(UNFINISHED)]
    return [download(folder) for folder in folders]


def download(folder: Path) -> Download:
    """What there is to say of a downloaded folder; one that is not whole goes by the name it had on the hub."""
    origin, whole = read_origin(folder), not folder.name.startswith(UNFINISHED)
    name = f"{folder.parent.name}/{folder.name}" if whole or origin is None else origin.id
    return Download(name, folder, size_on_disk(folder), origin, whole)


def inside(folder: Path) -> list[Path]:
    """The folders in a folder, none where it cannot be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def size_on_disk(folder: Path) -> int:
    """Bytes of the files below a folder; what links lead to lies elsewhere and is not counted."""
    return sum(facts.st_size for facts in below(folder) if stat.S_ISREG(facts.st_mode))


def below(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder, followlinks=False):
        for name in names:
            try:
                yield os.lstat(Path(parent, name))
            except OSError:
                continue
