"""Prompt -> chunks of token ids -> embeddings, at every step."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pleinair.bundle.opening import RESTORE, Bundle, TextEncoder
from pleinair.checks import one_line, whole
from pleinair.engines.graphs import Graph
from pleinair.errors import BundleError, EngineError, RequestError
from pleinair.network.guidance import Guide
from pleinair.system.files import CONFIG, parse_json
from pleinair.text.inversion import open_embeddings
from pleinair.text.syntax import (
    WORD_AND,
    Part,
    Piece,
    Version,
    Warnings,
    affordable,
    checked,
    pieces,
    shown,
    split_parts,
    versions,
)
from pleinair.text.tokenizer import LARGEST as LARGEST_TOKENIZER
from pleinair.text.tokenizer import read_tokenizer
from pleinair.text.vocabulary import word_warnings

LAST = "last_hidden_state"
HIDDEN = "hidden_states."
DEEPEST = 12  # layers of the largest text encoder
NORM = "final_layer_norm.npy"  # beside the text encoder's graph: (2, d) float32, weight and bias
COMMA = ",</w>"
LARGEST_NORM = 1 << 20  # bytes; the widest text encoder's has 32 thousand
BACKTRACK = 20  # tokens after a comma that move to the next chunk with their word, as A1111 does it
LARGEST_RATIO = 1e3  # of the means before and after weighting
SMALLEST_MEAN = 1e-5  # of the mean size of the numbers: below it a mean is rounding, and there is none to restore
MOST_WARNINGS = 20
MAX_CHUNKS = 1024  # that a job holds: chunks x (parts + 1) x changes; 240 MB at 768 numbers a token
Norm = Callable[[np.ndarray], np.ndarray]
ANGLED = re.compile(r"<[^<>]{1,80}>")


@dataclass(frozen=True)
class Chunk:
    """At most 75 tokens and the weight of each; an id below 0 is row -1 - id of the table of embeddings."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Said:
    """A part of the prompt as tokens: every version of it, and which of them each step sees."""

    part: Part
    versions: tuple[Version, ...]
    chunks: tuple[tuple[Chunk, ...], ...]  # of each version

    def version_at(self, steps: int) -> list[int]:
        """Step (from 0) -> index of its version."""
        which = [0] * steps
        for n, version in enumerate(self.versions):
            for step in version.steps:
                which[step - 1] = n
        return which


@dataclass(frozen=True)
class Conditioning:
    """What the network is told at every step; all of one length S = 77 k."""

    parts: tuple[tuple[np.ndarray, ...], ...] = field(repr=False)  # of each part its versions (1, S, d)
    weights: tuple[float, ...]
    negative: tuple[np.ndarray, ...] = field(repr=False)
    order: tuple[tuple[int, ...], ...] = field(repr=False)  # of each part, the negative last: step -> version
    warnings: list[str]
    _guides: dict[tuple[int, ...], Guide] = field(default_factory=dict, repr=False)

    def at(self, step: int) -> Guide:
        """The Guide of a step, which counts from 0; past the end, that of the last."""
        now = tuple(which[min(step, len(which) - 1)] for which in self.order)
        if now not in self._guides:  # one object for steps that are told the same
            text = [said[n] for said, n in zip(self.parts, now, strict=False)]
            joined = text[0] if len(text) == 1 else np.concatenate(text)  # (P, S, d)
            self._guides[now] = Guide(joined, self.weights, self.negative[now[-1]])
        return self._guides[now]


class Reader:
    """A bundle's first text encoder, its tokenizer, and the embeddings that prompts may name.

    Without `graph`, which opens the bundle's graphs by name, it reports and cannot read.

    `clip_skip` k takes the k-th hidden state from the end and the final layer norm, as A1111 does and diffusers with
    k - 1. Raises RequestError for a layer or an embedding the encoder does not have, BundleError where the bundle
    lacks what was asked for.
    """

    def __init__(
        self,
        bundle: Bundle,
        graph: Callable[[str], Graph] | None = None,
        *,
        clip_skip: int = 1,
        embeddings: Sequence[str | Path] = (),
    ) -> None:
        self._encoder = bundle.manifest.text_encoders[0]
        self._graph = graph
        self._tokenizer = open_tokenizer(bundle, self._encoder)
        self._comma = self._tokenizer.token_to_id(COMMA)
        self._room = self._encoder.length - 2  # beside the first and the last token
        self._output, self._normed = skipped(bundle, self._encoder, clip_skip)
        self._bundle = bundle
        width = bundle.manifest.graphs[self._encoder.graph].outputs[self._encoder.output].shape[-1]
        self._embeddings = open_embeddings(embeddings, int(width), self._room)

    def prepare(self) -> None:
        """Load the text encoder now; with embeddings, whose number is part of its shape, at the first reading."""
        graph = self._graph(self._encoder.graph)
        if not self._embeddings.found:
            graph.prepare({"input_ids": (1, self._encoder.length)})

    def read(self, prompt: str, negative: str | None, steps: int) -> Conditioning:
        """Encode both for `steps` steps, each distinct chunk once; empty chunks fill all up to the longest.

        Without guidance nothing asks for the negative prompt: where it is None, the prompt stands in its place.
        """
        warnings: Warnings = {}
        norm = open_norm(self._bundle, self._encoder) if self._normed else None
        said = self._parts(prompt, steps, warnings)
        said.append(said[0] if negative is None else self._negative(negative, steps, warnings))
        _check_size(said, steps)
        count = max(len(chunks) for each in said for chunks in each.chunks)
        self._tell_of_embeddings(said, warnings)
        self._tell_of_words(said[:-1], [] if negative is None else said[-1:], warnings)
        table = self._embeddings.table if _rows_used(said) else None
        encoded: dict[tuple[int, ...], np.ndarray] = {}
        weighted: dict[Chunk, np.ndarray] = {}

        def encode(chunks: tuple[Chunk, ...]) -> np.ndarray:
            filled = chunks + (EMPTY,) * (count - len(chunks))
            for chunk in filled:
                if chunk.ids not in encoded:
                    encoded[chunk.ids] = self._encode(chunk.ids, table, norm)
                if chunk not in weighted:
                    weighted[chunk] = emphasized(encoded[chunk.ids], self._padded(chunk.weights), warnings)
            return np.concatenate([weighted[chunk] for chunk in filled], axis=1)  # (1, 77 k, d)

        encodings = [tuple(encode(chunks) for chunks in each.chunks) for each in said]
        return Conditioning(
            tuple(encodings[:-1]),
            tuple(each.part.weight for each in said[:-1]),
            encodings[-1],
            tuple(tuple(each.version_at(steps)) for each in said),
            told(warnings),
        )

    def report(self, prompt: str, negative: str, steps: int) -> dict[str, Any]:
        """What `read` would encode, without encoding it: chunks, ids, tokens, weights, steps, embeddings, warnings."""
        warnings: Warnings = {}
        positive, against = self._parts(prompt, steps, warnings), self._negative(negative, steps, warnings)
        said = [*positive, against]
        _check_size(said, steps)
        self._tell_of_embeddings(said, warnings)
        self._tell_of_words(positive, [against], warnings)
        used = _rows_used(said)
        return {
            "steps": steps,
            "output": self._output,
            "length": self._encoder.length,
            "chunks": max(len(chunks) for each in said for chunks in each.chunks),
            "parts": [self._described(each) for each in positive],
            "negative": self._described(against),
            "embeddings": [
                {"name": each.name, "words": list(each.words), "vectors": len(each.vectors), "used": rows.start in used}
                for each, rows in self._embeddings.placed()
            ],
            "warnings": told(warnings),
        }

    def _parts(self, prompt: str, steps: int, warnings: Warnings) -> list[Said]:
        parts: list[Said] = []
        said = 0
        for part in split_parts(checked("prompt", prompt), warnings):
            parts.append(self._say(part, steps, warnings))
            said = affordable(said + sum(len(version.text) for version in parts[-1].versions))
        return parts

    def _negative(self, negative: str, steps: int, warnings: Warnings) -> Said:
        """As A1111, without AND: there it is a word."""
        if WORD_AND.search(checked("negative prompt", negative)):
            warnings.setdefault("AND in a negative prompt is read as a word; write a comma instead")
        return self._say(Part(negative, 1.0), steps, warnings)

    def _say(self, part: Part, steps: int, warnings: Warnings) -> Said:
        found = versions(part.text, steps, warnings)
        chunks = (self._chunks(pieces(version.text, warnings), warnings) for version in found)
        return Said(part, tuple(found), tuple(chunks))

    def _chunks(self, text: list[Piece], warnings: Warnings) -> tuple[Chunk, ...]:
        """Tokens in chunks of 75: BREAK begins a new one, and so does the word after the last comma where a chunk
        would end within BACKTRACK tokens of it. Vectors of one embedding stay together."""
        done: list[list[tuple[int, float]]] = []
        chunk: list[tuple[int, float]] = []
        comma = -1
        for piece in text:
            if piece.text is None:
                done.append(chunk)
                chunk, comma = [], -1
                continue
            for unit in self._units(piece.text, warnings):
                if unit == (self._comma,):
                    comma = len(chunk)
                elif len(chunk) == self._room and comma >= 0 and self._room - comma <= BACKTRACK:
                    done.append(chunk[: comma + 1])
                    chunk, comma = chunk[comma + 1 :], -1
                if len(chunk) + len(unit) > self._room:
                    done.append(chunk)
                    chunk, comma = [], -1
                chunk += [(token, piece.weight) for token in unit]
        if chunk or not done:
            done.append(chunk)
        return tuple(Chunk(tuple(i for i, _ in each), tuple(w for _, w in each)) for each in done)

    def _units(self, text: str, warnings: Warnings) -> Iterator[tuple[int, ...]]:
        """What must not be torn apart: a token, or all vectors of an embedding."""
        for section in self._embeddings.split(text):
            if isinstance(section, tuple):
                yield tuple(-1 - row for row in section[1])
                continue
            for name in ANGLED.findall(section):
                if not name.startswith("<|"):  # CLIP's own <|endoftext|>
                    warnings.setdefault(f"'{shown(name)}' is no embedding that is loaded, and is read as text")
            for token in self._tokenizer.encode(section, add_special_tokens=False).ids:
                yield (token,)

    def _padded(self, weights: tuple[float, ...]) -> np.ndarray:
        full = np.ones(self._encoder.length, np.float32)
        full[1 : 1 + len(weights)] = weights
        return full

    def _encode(self, tokens: tuple[int, ...], table: np.ndarray | None, norm: Norm | None) -> np.ndarray:
        """One chunk through the network: (1, 77, d)."""
        encoder = self._encoder
        ids = [encoder.bos_id, *tokens, encoder.eos_id]
        ids += [encoder.pad_id] * (encoder.length - len(ids))
        inputs = {"input_ids": np.array([ids], np.int64)}
        if table is not None:
            inputs["extra_embeddings"] = table
        hidden = self._graph(encoder.graph)(**inputs)[self._output]
        if norm is not None:
            hidden = norm(hidden)
        if not np.isfinite(hidden).all():
            raise EngineError(
                "the text encoder returned NaN or infinity; leave --embedding out, or try another --engine or --device"
            )
        return hidden

    def _tell_of_embeddings(self, said: list[Said], warnings: Warnings) -> None:
        used = _rows_used(said)
        for each, rows in self._embeddings.placed():
            if rows.start not in used:
                warnings.setdefault(f"embedding '{each.name}' is not named in a prompt; write {each.words[-1]}")

    def _tell_of_words(self, prompt: list[Said], negative: list[Said], warnings: Warnings) -> None:
        manifest = self._bundle.manifest
        for warning in word_warnings(manifest, self._plain(prompt), self._plain(negative)):
            warnings.setdefault(warning)

    def _plain(self, said: list[Said]) -> Iterator[str]:
        """What every version says, without weights, embeddings and names that look like one."""
        for version in (version for each in said for version in each.versions):
            for piece in pieces(version.text, {}):
                sections = self._embeddings.split(piece.text or "")
                yield from (ANGLED.sub(" ", section) for section in sections if isinstance(section, str))

    def _described(self, said: Said) -> dict[str, Any]:
        return {
            "text": said.part.text,
            "weight": said.part.weight,
            "versions": [
                {
                    "steps": list(version.steps),
                    "text": version.text,
                    "chunks": [[self._token(*pair) for pair in zip(c.ids, c.weights, strict=True)] for c in chunks],
                }
                for version, chunks in zip(said.versions, said.chunks, strict=True)
            ],
        }

    def _token(self, token: int, weight: float) -> dict[str, Any]:
        if token >= 0:
            return {"id": token, "token": self._tokenizer.id_to_token(token), "weight": round(weight, 6)}
        each, rows = next((each, rows) for each, rows in self._embeddings.placed() if -1 - token in rows)
        return {"id": None, "token": f"<{each.name}>[{-1 - token - rows.start}]", "weight": round(weight, 6)}


EMPTY = Chunk((), ())


def open_tokenizer(bundle: Bundle, encoder: TextEncoder) -> Tokenizer:
    """The encoder's tokenizer, bare of padding and truncation; BundleError where its file is missing or damaged."""
    name = f"{encoder.tokenizer}/tokenizer.json"
    tokenizer = read_tokenizer(bundle.files.read(name, LARGEST_TOKENIZER), bundle.path / name)
    size = tokenizer.get_vocab_size()
    if not all(token < size for token in (encoder.bos_id, encoder.eos_id, encoder.pad_id)):
        raise BundleError(f"'{bundle.path / name}' lacks the tokens that bundle.json names; export the model again")
    return tokenizer


def skipped(bundle: Bundle, encoder: TextEncoder, clip_skip: int) -> tuple[str, bool]:
    """The encoder's output for a clip skip, and whether the final layer norm is still to be applied to it.

    1 is what the model was made for, whichever layer that is; every further one is a layer earlier. The norm follows
    only where the usual output has had it.
    """
    usual, states = encoder.output, hidden_states(bundle, encoder)
    if clip_skip == 1:
        return usual, False
    if not states:
        raise BundleError(
            f"the text encoder of '{bundle.manifest.name}' gives no hidden states, which --clip-skip needs;"
            " export the model again"
        )
    skip = whole("clip skip", clip_skip, 1, most_skipped(bundle, encoder))
    return f"{HIDDEN}{states - skip}", usual == LAST


def most_skipped(bundle: Bundle, encoder: TextEncoder) -> int:
    """The largest clip skip; where the encoder gives no hidden states, that of the deepest known."""
    states = hidden_states(bundle, encoder)
    return max(states - 1, 1) if states else DEEPEST


def hidden_states(bundle: Bundle, encoder: TextEncoder) -> int:
    """How many hidden states an encoder gives up to its usual output; 0 where it gives none."""
    states = [name for name in bundle.manifest.graphs[encoder.graph].outputs if name.startswith(HIDDEN)]
    if not states or encoder.output == LAST:
        return len(states)
    return int(encoder.output.removeprefix(HIDDEN)) + 1


def open_norm(bundle: Bundle, encoder: TextEncoder) -> Norm:
    """The text encoder's final layer norm, (..., d) -> (..., d); BundleError where the bundle does not have it."""
    name, width = f"{encoder.graph}/{NORM}", bundle.manifest.graphs[encoder.graph].outputs[encoder.output].shape[-1]
    if name not in bundle.manifest.files:
        raise BundleError(
            f"bundle '{bundle.manifest.name}' has no {name}, which --clip-skip needs; export the model again"
        )
    config = f"{encoder.graph}/config.json"
    content = bundle.files.read(name, LARGEST_NORM)
    eps = parse_json(bundle.files.read(config, CONFIG), bundle.path / config, BundleError, RESTORE).get(
        "layer_norm_eps", 1e-5
    )
    try:
        arrays = np.load(BytesIO(content), allow_pickle=False)
        weight, bias = arrays.astype(np.float64)  # (d,), (d,)
        if arrays.shape != (2, width) or not 0 < float(eps) < 1:
            raise ValueError(f"shape {arrays.shape}, epsilon {shown(eps)}")
    except (ValueError, TypeError, EOFError, MemoryError, SyntaxError) as error:
        raise BundleError(f"cannot read '{name}' ({one_line(error, 100)}); {RESTORE}") from None

    def norm(hidden: np.ndarray) -> np.ndarray:
        wide = hidden.astype(np.float64)
        centred = wide - wide.mean(-1, keepdims=True)
        return (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias).astype(np.float32)

    return norm


def emphasized(hidden: np.ndarray, weights: np.ndarray, warnings: Warnings) -> np.ndarray:
    """A chunk's embeddings (1, 77, d) times the weights of its tokens (77,), and scaled back to the mean they had.

    A1111's "Original" emphasis, but for means that are zero; with all weights 1 the very same array.
    """
    if (weights == 1).all():
        return hidden
    heavy = hidden * weights[None, :, None]
    before, after = hidden.mean(dtype=np.float64), heavy.mean(dtype=np.float64)
    if abs(before) < SMALLEST_MEAN * np.abs(hidden).mean():
        return heavy
    if abs(before) > LARGEST_RATIO * abs(after):
        warnings.setdefault("the weights of a chunk cancel each other out; their mean was not restored: choose others")
        return heavy
    return heavy * np.float32(before / after)


def told(warnings: Iterable[str]) -> list[str]:
    """Warnings as a list, of which a hostile prompt cannot make thousands."""
    every = list(warnings)
    more = len(every) - MOST_WARNINGS
    return every if more <= 0 else [*every[:MOST_WARNINGS], f"{more} more warnings of this kind about the prompt"]


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """What Reader.report found, for people."""
    parts = report["parts"]
    for n, part in enumerate((*parts, report["negative"]), 1):
        name = "negative" if n > len(parts) else "prompt" if len(parts) == 1 else f"part {n} of {len(parts)}"
        weight = "" if part["weight"] == 1 else f", weight {part['weight']:g}"
        for version in part["versions"]:
            yield f"{name}{weight}, steps {_ranges(version['steps'])}: {version['text'] or '(nothing)'}"
            for m, chunk in enumerate(version["chunks"], 1):
                yield f"  chunk {m}: {len(chunk)} tokens"
                for token in chunk:
                    number = "-" if token["id"] is None else token["id"]
                    times = "" if token["weight"] == 1 else f" * {token['weight']:g}"
                    yield f"    {number:>6}  {token['token']}{times}"
    for each in report["embeddings"]:
        use = "used" if each["used"] else "not used"
        yield f"embedding {each['name']}: {each['vectors']} vectors, {use}, as {' or '.join(each['words'])}"
    yield f"{report['chunks']} x {report['length']} embeddings from {report['output']}, {report['steps']} steps"


def _ranges(steps: list[int]) -> str:
    """[1, 2, 3, 5] -> '1-3, 5'."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1][1:] = [step]
        else:
            runs.append([step])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _check_size(said: list[Said], steps: int) -> None:
    """RequestError where the embeddings of all parts at all their changes are more than a job may hold."""
    longest = max(len(chunks) for each in said for chunks in each.chunks)
    changes = len(set(zip(*(each.version_at(steps) for each in said), strict=True)))
    if longest * len(said) * changes > MAX_CHUNKS:
        raise RequestError(
            f"the prompt needs {longest:,} chunks of tokens x {len(said)} parts with the negative one x {changes:,}"
            f" changes, and at most {MAX_CHUNKS:,} are held; shorten it, or write fewer AND, BREAK, [from:to:when] and"
            " [a|b]"
        )


def _rows_used(said: list[Said]) -> set[int]:
    return {
        -1 - token for each in said for chunks in each.chunks for chunk in chunks for token in chunk.ids if token < 0
    }
