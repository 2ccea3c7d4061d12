"""The graph of CLIP's tokenizer that openvino.genai asks for: files of kept bytes, with the vocabulary in the holes.

They ship for each token that fills short texts, and are made by benchmarks/make_tokenizer_graph.py.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from pleinair.pouring.topologies import Hole, Topology, unpack

GRAPHS = Path(__file__).parent / "clip" / "tokenizer.xz"
LENGTH = 77  # tokens that they cut a text to
WORDS, LEFT, RIGHT = "words", "left", "right"  # keys of holes: the vocabulary, and both sides of what is merged


def write_graph(target: Path, words: Sequence[bytes], merges: Sequence[tuple[bytes, bytes]], pad: str) -> None:
    """Write the graph of a tokenizer of these tokens, in order, and merges; nothing where none ships for its `pad`."""
    topology = shipped_tokenizers().get(pad)
    texts = texts_of(words, merges)
    if topology is None or any((len(texts[key]),) != shape for key, shape in topology.shapes.items()):
        return
    for name, parts in topology.files.items():
        pieces = (FORMS[part.form](texts[part.key]) if isinstance(part, Hole) else part for part in parts)
        (target / name).write_bytes(b"".join(pieces))


def texts_of(words: Sequence[bytes], merges: Sequence[tuple[bytes, bytes]]) -> dict[str, Sequence[bytes]]:
    """What belongs in the holes, by their keys."""
    left, right = zip(*merges, strict=True) if merges else ((), ())
    return {WORDS: words, LEFT: left, RIGHT: right}


@cache
def shipped_tokenizers() -> Mapping[str, Topology]:
    """Padding token -> the tokenizer's graph that ships for it, without its words."""
    return unpack(GRAPHS.read_bytes())


def ends(texts: Sequence[bytes]) -> bytes:
    return np.cumsum([len(text) for text in texts]).astype("<i4").tobytes()


def begins(texts: Sequence[bytes]) -> bytes:
    return bytes(4) + ends(texts)[:-4]


FORMS: Mapping[str, Callable[[Sequence[bytes]], bytes]] = {"begins": begins, "ends": ends, "bytes": b"".join}
