"""Prompts -> what the network is told at every step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pleinair.bundle.manifest import Joined, TextEncoder
from pleinair.bundle.opening import Bundle
from pleinair.engines.edits import Edit
from pleinair.engines.engine import Graph
from pleinair.errors import RequestError
from pleinair.network.feeds import Told, fed
from pleinair.network.guidance import Guide
from pleinair.text.chunks import EMPTY, Chunk, Chunker, rows_used
from pleinair.text.emphasis import Piece, emphasized, heavier, pieces
from pleinair.text.encoders import Encoders, Heard, open_norm, rows_told, skipped, text_mask, unasked, width_of
from pleinair.text.inversion import EncoderRoom, open_embeddings
from pleinair.text.lora_tags import without_tags
from pleinair.text.schedule import Version, affordable, versions
from pleinair.text.syntax import WORD_AND, PromptPart, checked, split_parts
from pleinair.text.vocabulary import known_words, told_apart, word_warnings
from pleinair.text.warned import Warnings

MAX_CHUNKS = 1024  # that a job holds: chunks x (parts + 1) x changes; 240 MB at 768 numbers a token


@dataclass(frozen=True)
class Said:
    """A part of the prompt as tokens: its versions, which of them each step sees, and the chunks of each encoder."""

    part: PromptPart
    versions: tuple[Version, ...]
    chunks: tuple[tuple[tuple[Chunk, ...], ...], ...]  # of each encoder those of each version

    @property
    def longest(self) -> int:
        """The number of chunks of the longest version."""
        return max(len(chunks) for each in self.chunks for chunks in each)

    @property
    def first(self) -> list[Chunk]:
        """All chunks of the first encoder, which stands for the others where words are told of."""
        return [chunk for chunks in self.chunks[0] for chunk in chunks]

    def version_at(self, steps: int) -> list[int]:
        """Step (from 0) -> index of its version."""
        which = [0] * steps
        for n, version in enumerate(self.versions):
            for step in version.steps:
                which[step - 1] = n
        return which


@dataclass(frozen=True)
class Conditioning:
    """What the network is told at every step; embeddings of tokens are of one length, k chunks of L."""

    parts: tuple[tuple[Told, ...], ...] = field(repr=False)  # of each part its versions
    weights: tuple[float, ...]
    negative: tuple[Told, ...] = field(repr=False)
    order: tuple[tuple[int, ...], ...] = field(repr=False)  # of each part, the negative last: step -> version
    warnings: list[str]
    _guides: dict[tuple[int, ...], Guide] = field(default_factory=dict, repr=False)

    def at(self, step: int) -> Guide:
        """The Guide of a step, which counts from 0; past the end, that of the last."""
        now = tuple(which[min(step, len(which) - 1)] for which in self.order)
        if now not in self._guides:  # one object for steps that are told the same
            parts = tuple(said[n] for said, n in zip(self.parts, now, strict=False))
            self._guides[now] = Guide(parts, self.weights, self.negative[now[-1]])
        return self._guides[now]


class PromptReader:
    """Reads prompts for a bundle's text encoders, with the embeddings that prompts may name.

    `clip_skip` k takes the k-th hidden state from the end and the final layer norm, as A1111 does and diffusers with
    k - 1. Raises RequestError for a layer or an embedding the encoders do not have, BundleError where the bundle lacks
    what was asked for. `encoders`, where they are given, remember what earlier readers of the bundle were told; `edits`
    are those of text encoders, by their graphs, for which they are told of the opened ones.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        clip_skip: int = 1,
        embeddings: Sequence[str | Path] = (),
        encoders: Encoders | None = None,
        edits: Mapping[str, Sequence[Edit]] = MappingProxyType({}),
    ) -> None:
        self.bundle = bundle
        self._edits = edits
        self._encoders = encoders or Encoders(bundle)
        encoders_there = bundle.manifest.text_encoders
        rooms = [EncoderRoom(width_of(bundle, encoder), encoder.room) for encoder in encoders_there]
        self.chunkers = [
            Chunker(encoder, self._encoders.tokenizer(encoder), named)
            for encoder, named in zip(encoders_there, open_embeddings(embeddings, rooms), strict=True)
        ]
        self.outputs = [skipped(bundle, encoder, clip_skip) for encoder in bundle.manifest.text_encoders]

    @property
    def embeddings(self) -> Iterator:
        """The embeddings that are loaded, with their rows, as the first encoder has them."""
        return self.chunkers[0].embeddings.placed()

    def read(
        self,
        graph: Callable[[str], Graph] | None,
        prompt: str,
        negative: str | None,
        steps: int,
        *,
        contrast: bool = True,
    ) -> Conditioning:
        """Encode both for `steps` steps, each distinct chunk once; empty chunks fill all up to the longest.

        `graph` opens the bundle's graphs by name; where it is None, ones stand for what these would say, so that the
        shapes are known before a graph is loaded. `negative` None is nothing said, which some models were trained to
        take for zeros. Without `contrast` nothing asks for the negative prompt: the prompt stands in its place.
        """
        warnings = Warnings()
        parts = self.parts(prompt, steps, warnings)
        against = self.negative(negative or "", steps, warnings) if contrast else parts[0]
        said = [*parts, against]
        check_size(said, steps)
        self.tell_of_embeddings(said, warnings)
        self.tell_of_words(parts, [against] if contrast else [], warnings)
        encoding = _Encoding(self, graph, max(each.longest for each in said), said, warnings)
        told = [tuple(encoding.version(each, n) for n in range(len(each.versions))) for each in said]
        if contrast and negative is None:
            told[-1] = tuple(encoding.of_nothing(each) for each in told[-1])
        return Conditioning(
            tuple(told[:-1]),
            tuple(each.part.weight for each in parts),
            told[-1],
            tuple(tuple(each.version_at(steps)) for each in said),
            warnings.limited(),
        )

    def prepare(self, graph: Callable[[str], Graph]) -> None:
        """Load the text encoders now; with embeddings, whose number is part of a shape, at the first reading."""
        for chunker in self.chunkers:
            if not chunker.embeddings.found:
                encoder = chunker.encoder
                graph(encoder.graph).prepare({port: (1, encoder.length) for port in encoder.ports})

    def parts(self, prompt: str, steps: int, warnings: Warnings) -> list[Said]:
        """The parts of a prompt that AND joins."""
        parts: list[Said] = []
        said = 0
        for part in split_parts(without_tags(checked("prompt", prompt)), warnings):
            parts.append(self._say(part, steps, warnings))
            said = affordable(said + sum(len(version.text) for version in parts[-1].versions))
        return parts

    def negative(self, negative: str, steps: int, warnings: Warnings) -> Said:
        """As A1111, without AND: there it is a word."""
        if WORD_AND.search(checked("negative prompt", negative)):
            warnings.say("AND in a negative prompt is read as a word; write a comma instead")
        return self._say(PromptPart(negative, 1.0), steps, warnings)

    def tell_of_embeddings(self, said: list[Said], warnings: Warnings) -> None:
        """Warn of embeddings that no prompt makes use of."""
        used = rows_used(chunk for each in said for chunk in each.first)
        for each, rows in self.embeddings:
            if rows.start not in used:
                warnings.say(f"embedding '{each.name}' is not named in a prompt; write {each.words[-1]}")

    def tell_of_words(self, prompt: list[Said], negative: list[Said], warnings: Warnings) -> None:
        """Warn of words that the model was not trained on, where its bundle has a vocabulary."""
        warnings.say(*word_warnings(self.bundle.manifest, self._plain(prompt), self._plain(negative)))

    def strange_words(self, said: list[Said]) -> list[str]:
        """The words that the model was not trained on, each once and in order; none where its bundle does not tell."""
        vocabulary = self.bundle.manifest.vocabulary
        return told_apart(self._plain(said), known_words(vocabulary))[1] if vocabulary else []

    def heard(self, graph: Callable[[str], Graph] | None, place: int, chunk: Chunk, table: np.ndarray | None) -> Heard:
        """What one of the encoders says to a chunk."""
        if graph is None:
            return unasked(self.bundle, self.chunkers[place].encoder)
        chunker, (output, _) = self.chunkers[place], self.outputs[place]
        name = chunker.encoder.graph
        edits = self._edits.get(name, ())
        return self._encoders.heard(lambda: graph(name), chunker.encoder, output, chunker.ids(chunk), table, edits)

    def _say(self, part: PromptPart, steps: int, warnings: Warnings) -> Said:
        found = versions(part.text, steps, warnings)
        texts: list[list[Piece]] = [pieces(version.text, warnings) for version in found]
        chunks = (tuple(chunker.chunks(text, warnings) for text in texts) for chunker in self.chunkers)
        return Said(part, tuple(found), tuple(chunks))

    def _plain(self, said: list[Said]) -> Iterator[str]:
        for version in (version for each in said for version in each.versions):
            yield from self.chunkers[0].plain(pieces(version.text, Warnings()))


class _Encoding:
    """The chunks of one reading as feeds; each chunk is asked for once, with every weight it has."""

    def __init__(
        self,
        reader: PromptReader,
        graph: Callable[[str], Graph] | None,
        count: int,
        said: list[Said],
        warnings: Warnings,
    ) -> None:
        self._reader = reader
        self._graph = graph
        self._count = count
        self._warnings = warnings
        self._tables = [
            chunker.embeddings.table
            if rows_used(chunk for each in said for chunks in each.chunks[n] for chunk in chunks)
            else None
            for n, chunker in enumerate(reader.chunkers)
        ]
        self._norms = [
            open_norm(reader.bundle, chunker.encoder) if normed else None
            for chunker, (_, normed) in zip(reader.chunkers, reader.outputs, strict=True)
        ]
        self._weighted: dict[tuple[int, Chunk], np.ndarray] = {}

    def version(self, said: Said, number: int) -> Told:
        """The feeds of one version of a part."""
        manifest = self._reader.bundle.manifest
        places = {chunker.encoder.graph: n for n, chunker in enumerate(self._reader.chunkers)}

        def output(made: Joined, name: str) -> np.ndarray:
            return self._rows(places[name], said.chunks[places[name]][number], made)

        return {feed: fed(made, partial(output, made)) for feed, made in manifest.conditioning.items()}

    def of_nothing(self, told: Told) -> Told:
        """The feeds where no negative prompt was given: zeros from the encoders that are to say so."""
        manifest = self._reader.bundle.manifest
        silent = {encoder.graph for encoder in manifest.text_encoders if encoder.empty == "zeros"}
        emptied = {}
        for feed, made in manifest.conditioning.items():
            if silent.issuperset(made.all):
                emptied[feed] = np.zeros_like(told[feed])
        return told | emptied

    def _rows(self, place: int, chunks: tuple[Chunk, ...], made: Joined) -> np.ndarray:
        """What an encoder says to k chunks of its length L: (1, k L, d), or pooled (1, d), of the first as A1111's.

        Or, of a mask, which of their tokens are of the text (1, k L).
        One that reads a single chunk is not filled up to those of the others.
        """
        count = 1 if self._reader.chunkers[place].encoder.cut else self._count
        filled = chunks + (EMPTY,) * (count - len(chunks))
        if made.pooled:
            return self._heard(place, filled[0]).pooled
        if made.mask:
            chunker = self._reader.chunkers[place]
            encoder = chunker.encoder
            masks = [rows_told(encoder, text_mask(encoder, chunker.ids(chunk))) for chunk in filled]
            return np.concatenate(masks, axis=1).astype(np.float32)
        return np.concatenate([self._emphasized(place, chunk) for chunk in filled], axis=1)

    def _emphasized(self, place: int, chunk: Chunk) -> np.ndarray:
        if (place, chunk) not in self._weighted:
            hidden, norm = self._heard(place, chunk).hidden, self._norms[place]
            encoder = self._reader.chunkers[place].encoder
            hidden = hidden if norm is None else norm(hidden)
            weights = padded(chunk.weights, encoder)
            plain = encoder.emphasis == "plain"
            self._weighted[place, chunk] = (
                heavier(hidden, weights) if plain else emphasized(hidden, weights, self._warnings)
            )
        return self._weighted[place, chunk]

    def _heard(self, place: int, chunk: Chunk) -> Heard:
        return self._reader.heard(self._graph, place, chunk, self._tables[place])


def padded(weights: tuple[float, ...], encoder: TextEncoder) -> np.ndarray:
    """The weight of each token that the network is told of (length,)."""
    full = np.ones(encoder.length, np.float32)
    full[encoder.start : encoder.start + len(weights)] = weights
    return rows_told(encoder, full[None])[0]


def check_size(said: list[Said], steps: int) -> None:
    """RequestError where the embeddings of all parts at all their changes are more than a job may hold."""
    longest = max(each.longest for each in said)
    changes = len(set(zip(*(each.version_at(steps) for each in said), strict=True)))
    if longest * len(said) * changes > MAX_CHUNKS:
        raise RequestError(
            f"the prompt needs {longest:,} chunks of tokens x {len(said)} parts with the negative one x {changes:,}"
            f" changes, and at most {MAX_CHUNKS:,} are held; shorten it, or write fewer AND, BREAK, [from:to:when] and"
            " [a|b]"
        )
