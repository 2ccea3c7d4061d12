"""Where pictures go: file names that overwrite nothing, and files that are whole or absent."""

import contextlib
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Container, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL.Image import Image

from pleinair.checks import one_line, shown_path
from pleinair.errors import RequestError, ResourceError
from pleinair.files.metadata import left_out, of_job, save_options, settings_json

LARGEST_WEBP = 16383  # pixels a side
SHOWN = 120  # characters of a reason that an error quotes
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
ARRAYS = ".npz"


class Finished(Protocol):
    """What there is to write of finished pictures: a pipeline's Result."""

    images: list[Image]
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    pixels: np.ndarray  # (N, H, W, 3)
    latents: np.ndarray  # (N, 4, h, w)


def planned_files(output: Path | None, prompt: str, seeds: tuple[int, ...], overwrite: bool) -> list[Path]:
    """The file of each seed's picture (one .npz for all), checked before anything costly is done.

    Without `output`, names are made of the prompt and the seed, in the current folder, and avoid existing files.
    Raises RequestError for an unknown suffix, ResourceError for a folder that cannot be written and for a file
    that would be overwritten.
    """
    if output is None:
        files = free_names(Path(f"{slug(prompt)}-{seed}.png") for seed in seeds)
    elif output.suffix.lower() not in {*PICTURES, ARRAYS}:
        raise RequestError(
            f"cannot write '{shown_path(output)}': its name must end in .png, .jpg, .webp or .npz; choose such a name"
        )
    elif output.suffix.lower() == ARRAYS or len(seeds) == 1:
        files = [output]
    else:
        files = numbered(output, len(seeds))
    for file in files:
        check_free(file, overwrite)
    check_folder(files[0].parent)
    return files


def slug(prompt: str) -> str:
    """The words of a prompt as they stand in a file name."""
    return re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:50].rstrip("-") or "picture"


def numbered(file: Path, count: int) -> list[Path]:
    """The file itself, or NAME-1, NAME-2 ... for more than one."""
    return [file] if count == 1 else [file.with_stem(f"{file.stem}-{number}") for number in range(1, count + 1)]


def check_free(file: Path, overwrite: bool) -> None:
    """Raise ResourceError where a file cannot be written, or not without losing something (of a link: the link)."""
    there = standing(file)
    if there is None:
        return
    if file.is_dir():
        raise ResourceError(f"'{shown_path(file)}' is a folder; name a file in it with -o")
    if not stat.S_ISREG(there.st_mode) and not stat.S_ISLNK(there.st_mode):
        raise ResourceError(f"'{shown_path(file)}' is not an ordinary file; choose another name with -o")
    if not overwrite:
        raise ResourceError(
            f"'{shown_path(file)}' exists; choose another name with -o, or replace it with --force"
            " (in Python: overwrite=True)"
        )


def check_distinct(files: Iterable[Path]) -> None:
    """Raise RequestError where two of the files that a command is to write are one, here or on another system."""
    seen: dict[str, Path] = {}
    for file in files:
        name = folded(file)
        if name in seen:
            raise RequestError(
                f"'{shown_path(seen[name])}' and '{shown_path(file)}' are one file; name one of them differently"
            )
        seen[name] = file


def folded(file: Path) -> str:
    """One text for all names of a file: through links, and without what some systems cannot tell apart."""
    return unicodedata.normalize("NFC", str(Path(os.path.realpath(file.parent), file.name))).casefold()


def standing(file: Path) -> os.stat_result | None:
    """What has this name, be it a link that leads nowhere; ResourceError for a name that the system refuses."""
    try:
        return file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL, or what no file name can hold
        why = getattr(error, "strerror", None) or one_line(error, SHOWN)
        raise ResourceError(f"cannot write '{shown_path(file)}' ({why}); check the path or choose another -o") from None


def write_pictures(result: Finished, files: list[Path], overwrite: bool, metadata: bool = True) -> list[Path]:
    """Write the pictures, or float32 `images` (N, H, W, 3) and `latents` (N, 4, h, w) as .npz; returns the files.

    Without `overwrite`, a file that has appeared since `planned_files` is left alone, and a free name is used.
    Without `metadata`, the files hold pixels and nothing that says what made them. `no_room` tells what a file has no
    room for. Raises RequestError for a WebP that is too large, ResourceError for a file that cannot be written.
    """
    written: list[Path] = []
    if files[0].suffix.lower() == ARRAYS:
        with whole_file(files[0], overwrite, written) as stream:
            arrays = {"images": result.pixels.astype(np.float32), "latents": result.latents.astype(np.float32)}
            if metadata:
                arrays["settings"] = np.array(settings_json(of_job(result.settings)))
            np.savez(stream, **arrays)
        return written
    for file, picture, seed in zip(files, result.images, result.seeds, strict=True):
        kind = PICTURES[file.suffix.lower()]
        if kind == "WEBP" and max(picture.size) > LARGEST_WEBP:
            raise RequestError(
                f"a WebP has at most {LARGEST_WEBP} pixels a side; let the name of '{shown_path(file)}' end in .png"
            )
        options = save_options(kind, result.settings, seed, metadata)
        with whole_file(file, overwrite, written) as stream:
            picture.save(stream, kind, **options)
    return written


def no_room(files: Iterable[Path], settings: dict[str, Any], seeds: Iterable[int]) -> tuple[str, ...]:
    """A warning, each once, about what these files have no room for of the record of pictures with these seeds."""
    kinds = {PICTURES.get(file.suffix.lower(), "") for file in files}
    lost = (left_out(kind, settings, seed) for kind in sorted(kinds) for seed in seeds)
    return tuple(dict.fromkeys(filter(None, lost)))


@contextlib.contextmanager
def whole_file(file: Path, overwrite: bool, written: list[Path]) -> Iterator[BinaryIO]:
    """A stream that becomes `file` when all is written, and nothing when it is not; its name is added to `written`."""
    temporary = file.with_name(f".{file.name[:50]}.{os.urandom(8).hex()}")
    try:
        with temporary.open("x+b") as stream:  # with the permissions that the system gives new files
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        written.append(_place(temporary, file, overwrite))
    except OSError as error:
        raise ResourceError(
            f"cannot write '{shown_path(file)}' ({error.strerror or error}); free space or choose another -o"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def clear_unfinished(file: Path) -> None:
    """Remove what a process that was killed has left of a file that it was writing with `whole_file`."""
    left = re.compile(re.escape(f".{file.name[:50]}.") + "[0-9a-f]{16}")
    with contextlib.suppress(OSError):
        for each in file.parent.iterdir():
            if left.fullmatch(each.name):
                each.unlink(missing_ok=True)


def _place(temporary: Path, file: Path, overwrite: bool) -> Path:
    """Move a finished file to its name, or to a free one beside it where that has been taken meanwhile."""
    if overwrite:
        temporary.replace(file)
        return file
    names = beside(file)
    while True:
        name = next(names)
        try:
            os.link(temporary, name)  # unlike a rename, this fails where the name exists
            return name
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            name = free_name(name)
            temporary.replace(name)
            return name


def check_folder(folder: Path) -> None:
    """Raise ResourceError where nothing can be written in a folder."""
    if not folder.is_dir():
        raise ResourceError(f"no folder '{shown_path(folder)}'; create it, or choose another -o")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResourceError(f"cannot write in '{shown_path(folder)}' ({error.strerror}); choose another -o") from None


def beside(file: Path) -> Iterator[Path]:
    """The file itself, then NAME-2, NAME-3 ... without end."""
    return (file if number == 1 else file.with_stem(f"{file.stem}-{number}") for number in count(1))


def free_name(file: Path) -> Path:
    return free_names([file])[0]


def free_names(files: Iterable[Path], overwrite: bool = False, taken: Container[str] = ()) -> list[Path]:
    """Each file's own name, or the first beside it that nothing has; with `overwrite`, that none of these files has.

    Nor is it one of the `taken`, which are `folded`.
    """
    names: dict[str, Path] = {}
    left: dict[Path, Iterator[Path]] = {}
    for file in files:
        for name in left.setdefault(file, beside(file)):
            key = folded(name)
            if key not in names and key not in taken and (overwrite or standing(name) is None):
                names[key] = name
                break
    return list(names.values())
