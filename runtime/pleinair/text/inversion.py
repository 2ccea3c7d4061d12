"""Textual inversion: vectors that stand in a prompt like words, from .safetensors files, without torch.

A vector is for one text encoder. A model of several, as SDXL, has vectors for each of them in one file. A LoRA may
bring embeddings with it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pleinair.checks import one_line, shown_value
from pleinair.errors import RequestError
from pleinair.text.tensor_file import read_safetensors

LONGEST = 200  # characters of a word
LORAS = re.compile(r".*(lora_|\.hada_|\.lokr_).*")  # names of arrays
LOUDEST = 1e4  # the vectors of words are about 0.01 to 1
UNNAMED = ("emb_params", "string_to_param.*", "string_to_param", "*")  # A1111's tensors, called like their file
SDXL = ("clip_l", "clip_g")  # for the first text encoder and for the second
INSIDE = re.compile(r"bundle_emb\.(.+?)\.(clip_l|clip_g|emb_params|string_to_param\.\*)")  # of a LoRA's arrays


@dataclass(frozen=True)
class EncoderRoom:
    """What a text encoder takes: vectors of a `width`, and at most so many at once."""

    width: int
    most: int


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
                    raise RequestError(f"two embeddings are called {shown_value(word)}; load one of them at a time")
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


def open_embeddings(files: Sequence[str | Path], encoders: Sequence[EncoderRoom]) -> list[Embeddings]:
    """For each of a model's text encoders, its vectors of the embeddings in files; RequestError names the file."""
    found = [each for file in files for each in open_embedding(Path(file), encoders)]
    stems = Counter(first.name for first, *_ in found)
    told = [each if stems[each[0].name] == 1 else tuple(map(by_key, each)) for each in found]
    return [Embeddings([each[place] for each in told], encoder.width) for place, encoder in enumerate(encoders)]


def by_key(embedding: Embedding) -> Embedding:
    """The embedding under the name of its key alone, if it has one: diffusers calls every file learned_embeds."""
    keyed = tuple(word for word in embedding.words if word.strip("<>") != embedding.name.strip("<>"))
    return replace(embedding, words=keyed) if keyed else embedding


def open_embedding(file: Path, encoders: Sequence[EncoderRoom]) -> list[tuple[Embedding, ...]]:
    """What a .safetensors file holds for each encoder: diffusers' layout {"<name>": (n, d)}, A1111's {"emb_params":
    (n, d)}, SDXL's {"clip_l": (n, d), "clip_g": (n, D)}; and of a LoRA all that `embeddings_inside` finds.

    It is named by its file's stem, with or without angle brackets, and in diffusers' layout also by its key; those
    inside a LoRA by what they are called there. Raises RequestError: unreadable, hostile, or for other encoders.
    """
    tensors = read_safetensors(file, vectors_among)
    inside = embeddings_inside(tensors)
    if inside:
        return [
            _checked(file, name, (name,), {part: tensors[key] for part, key in parts.items()}, encoders)
            for name, parts in inside.items()
        ]
    key = next(iter(tensors), "")
    names = (key, file.stem) if is_word(key) else (file.stem,)
    return [_checked(file, file.stem, names, tensors, encoders)]


def is_word(key: str) -> bool:
    """Whether the name of an array is one that somebody would write in a prompt."""
    return key not in (*UNNAMED, *SDXL) and len(key) <= LONGEST and key.isprintable()


def embeddings_inside(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """The embeddings that a LoRA's file brings with it, from the names of its arrays.

    Name of an embedding -> what its vectors are for ("clip_l", "clip_g", or A1111's "emb_params") -> their array.
    """
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        inside = INSIDE.fullmatch(key)
        if inside:
            found.setdefault(inside[1], {})[inside[2]] = key
    return found


def vectors_among(keys: Collection[str]) -> Collection[str]:
    """The arrays of a file that are vectors, by their names; all where no name says it."""
    inside = [key for parts in embeddings_inside(keys).values() for key in parts.values()]
    if inside:
        return inside
    known = next((key for key in UNNAMED if key in keys), None)
    return [known] if known else [key for key in SDXL if key in keys] or keys


def _checked(
    file: Path,
    name: str,
    names: Sequence[str],
    tensors: Mapping[str, np.ndarray],
    encoders: Sequence[EncoderRoom],
) -> tuple[Embedding, ...]:
    """An embedding for each encoder; its words are the `names`, bare and in angle brackets."""
    words = dict.fromkeys(word for each in names for word in (each, f"<{each.strip('<>')}>"))
    spoken = tuple(word for word in words if word.strip("<> "))
    chosen = _paired(file, tensors, encoders) if len(encoders) > 1 else [_choose(file, tensors, encoders[0].width)]
    vectors = [_vectors(file, each, encoder) for each, encoder in zip(chosen, encoders, strict=True)]
    if len(set(map(len, vectors))) > 1:
        counts = " and ".join(str(len(each)) for each in vectors)
        raise RequestError(
            f"embedding '{file.name}' has {counts} vectors for the model's text encoders, and a word stands for as many"
            " in each; download it again"
        )
    return tuple(Embedding(name, each, spoken) for each in vectors)


def _paired(file: Path, tensors: Mapping[str, np.ndarray], encoders: Sequence[EncoderRoom]) -> list[np.ndarray]:
    """The vectors for each of several encoders, in their order; RequestError where one of them has none."""
    widths = " and ".join(str(encoder.width) for encoder in encoders)
    if len(encoders) == len(SDXL) and {*SDXL} <= set(tensors):
        return [tensors[key] for key in SDXL]
    there = " and ".join(key for key in SDXL if key in tensors)
    if len(tensors) > 1 and not there:
        raise _no_inversion(file, tensors)
    what = f"has {there} alone" if there else f"has only vectors of {_width(next(iter(tensors.values())))} numbers"
    raise RequestError(
        f"embedding '{file.name}' {what}, and this model has {len(encoders)} text encoders, of widths {widths}; choose"
        " one made for this kind of model"
    )


def _vectors(file: Path, vectors: np.ndarray, encoder: EncoderRoom) -> np.ndarray:
    """Vectors (n, d) that an encoder can read; RequestError for others."""
    if vectors.ndim == 1:
        vectors = vectors[None]
    if vectors.ndim != 2 or not vectors.size:
        raise RequestError(f"'{file.name}' has an array of shape {vectors.shape}, not vectors; choose another file")
    if vectors.shape[1] != encoder.width:
        raise RequestError(
            f"embedding '{file.name}' is for a text encoder of width {vectors.shape[1]} and this model's has"
            f" {encoder.width}; choose one made for this kind of model"
        )
    if len(vectors) > encoder.most:
        raise RequestError(
            f"embedding '{file.name}' has {len(vectors)} vectors and a model reads {encoder.most} at once; choose"
            " another"
        )
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > LOUDEST:
        raise RequestError(f"embedding '{file.name}' has numbers that no text encoder can read; download it again")
    return vectors.astype(np.float32)


def _choose(file: Path, tensors: Mapping[str, np.ndarray], width: int) -> np.ndarray:
    """The vectors of an embedding for the one encoder that there is."""
    if {*SDXL} <= set(tensors):
        fitting = [tensors[key] for key in SDXL if _width(tensors[key]) == width]
        if fitting:
            return fitting[0]
        widths = " and ".join(str(_width(tensors[key])) for key in SDXL)
        raise RequestError(
            f"embedding '{file.name}' is for text encoders of widths {widths} and this model's has {width};"
            " choose one made for this kind of model"
        )
    if len(tensors) != 1:
        raise _no_inversion(file, tensors)
    return next(iter(tensors.values()))


def _width(vectors: np.ndarray) -> int:
    return (vectors.shape or (0,))[-1]


def _no_inversion(file: Path, tensors: Mapping[str, np.ndarray]) -> RequestError:
    if any(map(LORAS.match, tensors)):
        return RequestError(f"'{file.name}' is a LoRA, not a textual inversion; give it with --lora")
    some = one_line(list(tensors)[:4], 80)
    return RequestError(
        f"'{file.name}' is not a textual inversion: it has {len(tensors)} arrays {some}; choose another file"
    )
