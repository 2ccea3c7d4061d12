"""Text -> tokens in chunks of what an encoder reads at once, each token with its weight."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from pleinair.bundle.manifest import TextEncoder
from pleinair.text.inversion import Embeddings
from pleinair.text.syntax import Piece, Warnings, shown

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
        within BACKTRACK tokens of it. Vectors of one embedding stay together."""
        room, comma_id = self.encoder.length - 2, self.tokenizer.token_to_id(COMMA)
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

    def ids(self, chunk: Chunk) -> tuple[int, ...]:
        """A chunk as the encoder is given it: (length,)."""
        encoder = self.encoder
        ids = (encoder.bos_id, *chunk.ids, encoder.eos_id)
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
                if not name.startswith("<|"):  # CLIP's own <|endoftext|>
                    warnings.setdefault(f"'{shown(name)}' is no embedding that is loaded, and is read as text")
            for token in self.tokenizer.encode(section, add_special_tokens=False).ids:
                yield (token,)


def rows_used(chunks: Iterable[Chunk]) -> set[int]:
    """Rows of the table of embeddings that chunks name."""
    return {-1 - token for chunk in chunks for token in chunk.ids if token < 0}
