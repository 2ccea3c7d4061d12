"""Where pictures go: file names that overwrite nothing, and files that are whole or absent."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pleinair.errors import RequestError, ResourceError
from pleinair.metadata import left_out, of_job, save_options, settings_json
from pleinair.pipeline import Result

LARGEST_WEBP = 16383  # pixels a side
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
ARRAYS = ".npz"


def planned_files(output: Path | None, prompt: str, seeds: tuple[int, ...], overwrite: bool) -> list[Path]:
    """The file of each seed's picture (one .npz for all), checked before anything costly is done.

    Without `output`, names are made of the prompt and the seed, in the current folder, and avoid existing files.
    Raises RequestError for an unknown suffix, ResourceError for a folder that cannot be written and for a file
    that would be overwritten.
    """
    if output is None:
        files = [free_name(Path(f"{slug(prompt)}-{seed}.png")) for seed in seeds]
    elif output.suffix.lower() not in {*PICTURES, ARRAYS}:
        raise RequestError(f"cannot write '{output.name}': its name must end in .png, .jpg, .webp or .npz; rename it")
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
    """Raise ResourceError where a file cannot be written without losing something."""
    if file.is_dir():
        raise ResourceError(f"'{file}' is a folder; name a file in it with -o")
    if file.exists() and not overwrite:
        raise ResourceError(f"'{file}' exists; choose another name with -o, or replace it with --force")


def write(
    result: Result, files: list[Path], overwrite: bool, metadata: bool = True, warnings: list[str] | None = None
) -> list[Path]:
    """Write the pictures, or float32 `images` (N, H, W, 3) and `latents` (N, 4, h, w) as .npz; returns the files.

    Without `overwrite`, a file that has appeared since `planned_files` is left alone, and a free name is used.
    Without `metadata`, the files hold pixels and nothing that says what made them. What a file has no room for is
    said in `warnings`.
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
            raise RequestError(f"a WebP has at most {LARGEST_WEBP} pixels a side; let the name of '{file}' end in .png")
        options = save_options(kind, result.settings, seed, metadata)
        missing = left_out(kind, result.settings, seed) if metadata else None
        if warnings is not None and missing and missing not in warnings:
            warnings.append(missing)
        with whole_file(file, overwrite, written) as stream:
            picture.save(stream, kind, **options)
    return written


@contextlib.contextmanager
def whole_file(file: Path, overwrite: bool, written: list[Path]) -> Iterator[BinaryIO]:
    """A stream that becomes `file` when all is written, and nothing when it is not; its name is added to `written`."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name[:50]}.", delete=False) as stream:
            temporary = Path(stream.name)
            yield stream
        temporary.chmod(0o666 & ~_umask())
        written.append(_place(temporary, file, overwrite))
    except OSError as error:
        raise ResourceError(
            f"cannot write '{file}' ({error.strerror or error}); free space or choose another -o"
        ) from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _place(temporary: Path, file: Path, overwrite: bool) -> Path:
    """Move a finished file to its name, or to a free one beside it where that has been taken meanwhile."""
    while not overwrite:
        try:
            os.link(temporary, file)  # unlike a rename, this fails where the name exists
            return file
        except FileExistsError:
            file = free_name(file)
        except OSError:  # a file system without links
            file = free_name(file)
            break
    temporary.replace(file)
    return file


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ResourceError(f"no folder '{folder}'; create it, or choose another -o")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResourceError(
            f"cannot write in '{folder.resolve().name or folder}' ({error.strerror}); choose another -o"
        ) from None


def free_name(file: Path) -> Path:
    names: Iterator[Path] = (file if n == 1 else file.with_stem(f"{file.stem}-{n}") for n in range(1, 1_000_000))
    return next(name for name in names if not name.exists())
