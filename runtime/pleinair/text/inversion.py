"""Textual inversion: vectors that stand in a prompt like words, from .safetensors files, without torch.

The files come from strangers. Nothing in them is run, and their header is believed only where the sizes agree.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pleinair.errors import RequestError
from pleinair.system.files import read_file

LARGEST = 64 << 20  # bytes of a file; 75 vectors for both encoders of SDXL are 0.6 MB
LARGEST_HEADER = 1 << 20
LOUDEST = 1e4  # the vectors of words are about 0.01 to 1
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
UNNAMED = ("emb_params", "string_to_param.*", "string_to_param", "*")  # A1111's tensors, called like their file
SDXL = ("clip_l", "clip_g")
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Embedding:
    """Vectors (n, d) of one file; `words` in a prompt stand for them: bare ones, and those in <angle brackets>."""

    name: str
    vectors: np.ndarray = field(repr=False)
    words: tuple[str, ...]


class Embeddings:
    """The embeddings a prompt may name, and all their vectors as the rows of one table (rows, d)."""

    def __init__(self, found: Sequence[Embedding], width: int) -> None:
        self.found = tuple(found)
        self.table = np.concatenate([np.zeros((0, width), np.float32), *(each.vectors for each in found)])
        rows_of: dict[str, tuple[Embedding, range]] = {}
        for each, rows in self.placed():
            for word in each.words:
                if rows_of.setdefault(word.lower(), (each, rows))[0] is not each:
                    raise RequestError(f"two embeddings are called {word!r}; load one of them at a time")
        longest_first = sorted(rows_of, key=len, reverse=True)
        self._named = [rows_of[word] for word in longest_first]
        patterns = "|".join(f"({_pattern(word)})" for word in longest_first)
        self._pattern = re.compile(patterns, re.IGNORECASE) if patterns else None

    def placed(self) -> Iterator[tuple[Embedding, range]]:
        """Every embedding with the rows of the table that are its own."""
        start = 0
        for each in self.found:
            rows = range(start, start + len(each.vectors))
            yield each, rows
            start = rows.stop

    def split(self, text: str) -> list[str | tuple[Embedding, range]]:
        """Text cut where an embedding is named; in the place of each name, the embedding and its rows."""
        if self._pattern is None:
            return [text]
        cut: list[str | tuple[Embedding, range]] = []
        end = 0
        for name in self._pattern.finditer(text):
            cut += [text[end : name.start()], self._named[name.lastindex - 1]]
            end = name.end()
        return [*cut, text[end:]]


def _pattern(word: str) -> str:
    """A bare word is no part of a longer one; case does not matter, as it does not to CLIP."""
    exact = re.escape(word)
    return exact if word.startswith("<") else rf"(?<!\w){exact}(?!\w)"


def open_embeddings(files: Sequence[str | Path], width: int, most: int) -> Embeddings:
    """Embeddings of `width` numbers a vector and at most `most` vectors each; RequestError names the file."""
    found = [open_embedding(Path(file), width, most) for file in files]
    stems = Counter(each.name for each in found)
    return Embeddings([each if stems[each.name] == 1 else by_key(each) for each in found], width)


def by_key(embedding: Embedding) -> Embedding:
    """The embedding under the name of its key alone, if it has one: diffusers calls every file learned_embeds."""
    keyed = tuple(word for word in embedding.words if word.strip("<>") != embedding.name.strip("<>"))
    return replace(embedding, words=keyed) if keyed else embedding


def open_embedding(file: Path, width: int, most: int) -> Embedding:
    """One .safetensors file in diffusers' layout {"<name>": (n, d)}, A1111's {"emb_params": (n, d)}, or SDXL's.

    It is named by its file's stem, with or without angle brackets, and in diffusers' layout also by its key. Of SDXL's
    clip_l and clip_g the one that fits is taken. Raises RequestError: unreadable, hostile, or for another encoder.
    """
    key, vectors = _choose(file, read_safetensors(file), width)
    if vectors.ndim == 1:
        vectors = vectors[None]
    if vectors.ndim != 2 or not vectors.size:
        raise RequestError(f"'{file.name}' holds an array of shape {vectors.shape}, no vectors; choose another file")
    if vectors.shape[1] != width:
        raise RequestError(
            f"embedding '{file.name}' is for a text encoder of width {vectors.shape[1]} and this model's has {width};"
            " choose one made for this kind of model"
        )
    if len(vectors) > most:
        raise RequestError(f"embedding '{file.name}' has {len(vectors)} vectors and a model reads {most} at once")
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > LOUDEST:
        raise RequestError(f"embedding '{file.name}' has numbers that no encoder can read; download it again")
    names = [file.stem] if key in (*UNNAMED, *SDXL) else [key, file.stem]
    words = dict.fromkeys(word for name in names for word in (name, f"<{name.strip('<>')}>"))
    spoken = tuple(word for word in words if word.strip("<> "))
    return Embedding(file.stem, vectors.astype(np.float32), spoken)


def _choose(file: Path, tensors: dict[str, np.ndarray], width: int) -> tuple[str, np.ndarray]:
    """The tensor of the file that holds its vectors, and its key."""
    for key in UNNAMED:
        if key in tensors:
            return key, tensors[key]
    for key in SDXL:
        if key in tensors and (tensors[key].shape[-1:] == (width,) or not {*SDXL} <= set(tensors)):
            return key, tensors[key]
    if {*SDXL} <= set(tensors):
        widths = " and ".join(str((tensors[key].shape or (0,))[-1]) for key in SDXL)
        raise RequestError(
            f"embedding '{file.name}' is for text encoders of widths {widths} and this model's has {width};"
            " choose one made for this kind of model"
        )
    if len(tensors) != 1:
        some = str(list(tensors)[:4])[:80]
        raise RequestError(
            f"'{file.name}' is no textual inversion: it holds {len(tensors)} arrays {some}; choose another file"
        )
    return next(iter(tensors.items()))


def read_safetensors(file: Path) -> dict[str, np.ndarray]:
    """The floating-point arrays of a small safetensors file as float32 or wider.

    Raises RequestError for files that are absent, too large, pickled, or whose header and size do not agree.
    """
    if file.suffix.lower() in PICKLES:
        raise RequestError(
            f"'{file.name}' is a PyTorch file, which can run any code when it is opened; convert it to .safetensors"
            " where you trust it (safetensors.torch.save_file), or download the .safetensors form"
        )
    content = read_file(file, LARGEST, RequestError, "check the path: a textual inversion is a small .safetensors file")
    try:
        return _parse_safetensors(content)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RequestError(
            f"'{file.name}' is no safetensors file, or damaged ({str(error)[:80]}); download it again"
        ) from None


def _parse_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """The format: 8 bytes of header length, a JSON header, then the arrays without gaps or overlaps."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(LARGEST_HEADER, len(content) - 8):
        raise ValueError("header length")
    header = json.loads(content[8 : 8 + length], object_pairs_hook=_without_repeats)
    header.pop("__metadata__", None)
    data = memoryview(content)[8 + length :]
    arrays, end = {}, 0
    for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if kind not in KINDS:
            raise ValueError(f"numbers of type {str(kind)[:10]}")
        if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in (*shape, start, stop)):
            raise ValueError("shapes")
        if start != end or stop > len(data) or len(shape) > 8:
            raise ValueError("offsets")
        if stop - start != math.prod(shape) * np.dtype(KINDS[kind]).itemsize:
            raise ValueError("sizes")
        numbers = np.frombuffer(data[start:stop], KINDS[kind]).reshape(shape)
        if kind == "BF16":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        arrays[key] = numbers
        end = stop
    if end != len(data):
        raise ValueError("trailing bytes")
    return arrays


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key twice")
    return entries
