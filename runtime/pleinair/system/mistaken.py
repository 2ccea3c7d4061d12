"""Files that are given as weights and are none: told by how they begin or what they are called, with what leads on."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from pleinair.checks import shown_path
from pleinair.errors import PleinairError

HEAD = 24  # bytes that tell


class Mistaken(NamedTuple):
    """What a file is that begins so, in small letters, or is called so; and what helps."""

    what: str
    remedy: str
    begins: tuple[bytes, ...] = ()
    called: tuple[str, ...] = ()


ROWS = (
    Mistaken("a GGUF file, whose packed weights are not supported", "take its .safetensors", (b"gguf",), ("*.gguf",)),
    Mistaken(
        "a pointer of Git LFS and not the file itself",
        "fetch that with: git lfs pull",
        (b"version https://git-lfs",),
    ),
    Mistaken(
        "a page of a web site, as some give for files to those who are not logged in",
        "log in there, and download it again",
        (b"<!doctype html", b"<html"),
    ),
    Mistaken(
        "an archive",
        "unpack it, and give what was in it",
        (b"\x1f\x8b", b"7z\xbc\xaf", b"rar!", b"bzh", b"\xfd7zxz", b"\x28\xb5\x2f\xfd"),
        ("*.zip", "*.gz", "*.tgz", "*.7z", "*.rar", "*.tar", "*.xz", "*.zst"),
    ),
    Mistaken(
        "a download that has not ended",
        "let it end, and give the file that it becomes",
        called=("*.part", "*.partial", "*.crdownload", "*.download", "*.aria2", "*.incomplete"),
    ),
    Mistaken(
        "a graph of a model",
        "give the folder of the whole model: pleinair adopt FOLDER",
        (b"<?xml",),
        ("*.onnx", "*.onnx_data", "*.xml", "openvino_*.bin"),
    ),
    Mistaken(
        "made for other frameworks",
        "take the model's .safetensors",
        (b"\x89hdf",),
        ("*.msgpack", "*.h5", "*.npz", "*.tflite", "*.mlmodel", "*.engine"),
    ),
    Mistaken("a picture", "choose a file of weights", (b"\x89png", b"\xff\xd8\xff", b"riff")),
    Mistaken("a text and no weights", "give the folder the model is in", (b"{",), ("*.json", "*.yaml", "*.txt")),
)


def mistaken_for_weights(name: str, head: bytes = b"") -> Mistaken | None:
    """What a file of this name, which begins with `head`, is; None where neither tells."""
    name, head = name.lower(), head[:HEAD].lower()
    return next(
        (row for row in ROWS if any(fnmatchcase(name, each) for each in row.called) or head.startswith(row.begins)),
        None,
    )


def check_mistaken(file: Path, raises: type[PleinairError], head: bytes = b"") -> None:
    """Raise for a file that is of another kind by its name, or by its `head`."""
    if found := mistaken_for_weights(file.name, head):
        raise raises(f"'{shown_path(file)}' is {found.what}; {found.remedy}")
