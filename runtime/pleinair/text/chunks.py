"""Text -> tokens in chunks of what an encoder reads at once, each token with its weight."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from pleinair.bundle.manifest import TextEncoder
from pleinair.text.emphasis import Piece
from pleinair.text.inversion import Embeddings
from pleinair.text.syntax import shown
from pleinair.text.tokenizer import token_ids
from pleinair.text.warned import Warnings

COMMA = ",</w>"
BACKTRACK = 20  # tokens after a comma that move to the next chunk with their word, as A1111 does it
ANGLED = re.compile(r"<[^<>]{1,80}>")


@dataclass(frozen=True)
class Chunk:
    """At most as many tokens as an encoder reads, without its first and last, and the weight of each.

    An id below 0 is row -1 - id of the table of embeddings.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]


EMPTY = Chunk((), ())


@dataclass(frozen=True)
class Chunker:
    """Cuts text for one encoder: its tokenizer, and the embeddings whose names stand for vectors."""

    encoder: TextEncoder
    tokenizer: Tokenizer
    embeddings: Embeddings

    def chunks(self, text: list[Piece], warnings: Warnings) -> tuple[Chunk, ...]:
        """Tokens in chunks: BREAK begins a new one, and so does the word after the last comma where a chunk would end
        within BACKTRACK tokens of it. Vectors of one embedding stay together. An encoder that cuts has one chunk."""
        if self.encoder.lowered:
            text = lowered(text)
        if self.encoder.cut:
            return (self._first(text, warnings),)
        room, comma_id = self.encoder.room, self.tokenizer.token_to_id(COMMA)
        done: list[list[tuple[int, float]]] = []
        chunk: list[tuple[int, float]] = []
        comma = -1
        for piece in text:
            if piece.text is None:
                done.append(chunk)
                chunk, comma = [], -1
                continue
            for unit in self._units(piece.text, warnings):
                if unit == (comma_id,):
                    comma = len(chunk)
                elif len(chunk) == room and comma >= 0 and room - comma <= BACKTRACK:
                    done.append(chunk[: comma + 1])
                    chunk, comma = chunk[comma + 1 :], -1
                if len(chunk) + len(unit) > room:
                    done.append(chunk)
                    chunk, comma = [], -1
                chunk += [(token, piece.weight) for token in unit]
        if chunk or not done:
            done.append(chunk)
        return tuple(Chunk(tuple(i for i, _ in each), tuple(w for _, w in each)) for each in done)

    def _first(self, text: list[Piece], warnings: Warnings) -> Chunk:
        """What is read of a text at once; a warning where that is not all, unless it is for a pooled text alone."""
        room, before = self.encoder.room, self.encoder.before
        if self.encoder.prefix:
            first, *rest = text or [Piece("", 1.0)]
            text = [replace(first, text=self.encoder.prefix + (first.text or "")), *rest]
        tokens = [
            (token, piece.weight)
            for piece in text
            if piece.text is not None
            for unit in self._units(piece.text, warnings)
            for token in unit
        ]
        count = len(tokens) - before
        if count > room and self.encoder.pooled is None:
            warnings.say(f"the model reads {room} tokens of a text and this one has {count}; the rest is left out")
        ids, weights = zip(*tokens[: before + room], strict=True) if tokens else ((), ())
        return Chunk(ids, (1.0,) * min(before, len(ids)) + weights[before:])

    def ids(self, chunk: Chunk) -> tuple[int, ...]:
        """A chunk as the encoder is given it: (length,)."""
        encoder = self.encoder
        first = () if encoder.bos_id is None else (encoder.bos_id,)
        last = () if encoder.eos_id is None else (encoder.eos_id,)
        ids = (*first, *chunk.ids, *last)
        return ids + (encoder.pad_id,) * (encoder.length - len(ids))

    def token(self, id: int) -> str:
        """A token as people read it; of an embedding, its name and which of its vectors."""
        if id >= 0:
            return self.tokenizer.id_to_token(id)
        each, rows = next((each, rows) for each, rows in self.embeddings.placed() if -1 - id in rows)
        return f"<{each.name}>[{-1 - id - rows.start}]"

    def plain(self, text: list[Piece]) -> Iterator[str]:
        """What a text says, without weights, embeddings and names that look like one."""
        for piece in text:
            sections = self.embeddings.split(piece.text or "")
            yield from (ANGLED.sub(" ", section) for section in sections if isinstance(section, str))

    def _units(self, text: str, warnings: Warnings) -> Iterator[tuple[int, ...]]:
        """What must not be torn apart: a token, or all vectors of an embedding."""
        for section in self.embeddings.split(text):
            if isinstance(section, tuple):
                yield tuple(-1 - row for row in section[1])
                continue
            for name in ANGLED.findall(section):
                if not name.startswith("<|") and self.tokenizer.token_to_id(name) is None:  # <|endoftext|>, </s>
                    warnings.say(f"'{shown(name)}' is not a loaded embedding, and is read as text")
            for token in token_ids(self.tokenizer, section):
                yield (token,)


def lowered(text: list[Piece]) -> list[Piece]:
    """A text in lower case, without spaces around it."""
    pieces = [replace(piece, text=piece.text and piece.text.lower()) for piece in text]
    if pieces and pieces[0].text:
        pieces[0] = replace(pieces[0], text=pieces[0].text.lstrip())
    if pieces and pieces[-1].text:
        pieces[-1] = replace(pieces[-1], text=pieces[-1].text.rstrip())
    return pieces


def rows_used(chunks: Iterable[Chunk]) -> set[int]:
    """Rows of the table of embeddings that chunks name."""
    return {-1 - token for chunk in chunks for token in chunk.ids if token < 0}
