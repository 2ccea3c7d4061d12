"""A bundle's text encoders: which of their outputs is used, their tokenizers, and what they said lately."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from pleinair.bundle.manifest import MASK, TextEncoder
from pleinair.bundle.opening import RESTORE, Bundle
from pleinair.checks import one_line, whole
from pleinair.engines.edits import Edit
from pleinair.engines.engine import Graph
from pleinair.errors import BundleError, EngineError
from pleinair.system.files import CONFIG, parse_json
from pleinair.system.giving_back import trim_heap
from pleinair.text.syntax import shown
from pleinair.text.tokenizer import LARGEST, read_tokenizer

LAST = "last_hidden_state"
HIDDEN = "hidden_states."
DEEPEST = 12  # layers of the largest text encoder
NORM = "final_layer_norm.npy"  # beside the text encoder's graph: (2, d) float32, weight and bias
LARGEST_NORM = 1 << 20  # bytes; the widest text encoder's has 32 thousand
MAX_HEARD = 32 << 20  # bytes of what encoders said, about 130 chunks at 768 numbers a token
Norm = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Heard:
    """What a text encoder says to one chunk of tokens."""

    hidden: np.ndarray  # (1, length, width)
    pooled: np.ndarray | None  # (1, width)


class Encoders:
    """Tokenizers, each opened once, and what the text encoders said lately; threads may share them."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._tokenizers: dict[str, Tokenizer] = {}
        self._heard: OrderedDict[tuple, Heard] = OrderedDict()
        self._turn = Lock()

    def tokenizer(self, encoder: TextEncoder) -> Tokenizer:
        """The encoder's tokenizer; raises BundleError where its file is missing or damaged."""
        with self._turn:
            if encoder.tokenizer not in self._tokenizers:
                self._tokenizers[encoder.tokenizer] = open_tokenizer(self.bundle, encoder)
            return self._tokenizers[encoder.tokenizer]

    def heard(
        self,
        graph: Callable[[], Graph],
        encoder: TextEncoder,
        output: str,
        ids: tuple[int, ...],
        table: np.ndarray | None,
        edits: Sequence[Edit] = (),
    ) -> Heard:
        """What an encoder says to one chunk of ids (length,), from memory where it was asked the same before.

        `graph` opens it, with these `edits`, where it must be asked. An id below 0 is row -1 - id of the `table` of
        embeddings (rows, d).
        """
        key = encoder.graph, output, ids, None if table is None else table.tobytes(), tuple(edits)
        with self._turn:
            if key in self._heard:
                self._heard.move_to_end(key)
                return self._heard[key]
        found = ask(graph(), encoder, output, ids, table)
        trim_heap()  # kept answers lie between freed blocks of the call, in pieces that the next call may not fit in
        with self._turn:
            self._heard[key] = found
            while sum(map(_size, self._heard.values())) > MAX_HEARD:
                self._heard.popitem(last=False)
        return found

    def close_tokenizers(self) -> None:
        """Give the memory of tokenizers back, 18 MB for CLIP's; they are opened again when they are needed."""
        with self._turn:
            self._tokenizers.clear()

    def forget(self) -> None:
        """Give the memory of what was said back."""
        with self._turn:
            self._heard.clear()


def ask(graph: Graph, encoder: TextEncoder, output: str, ids: tuple[int, ...], table: np.ndarray | None) -> Heard:
    """One chunk through the network; raises EngineError for NaN and infinity."""
    inputs = {"input_ids": np.array([ids], np.int64)}
    if MASK in encoder.ports:
        inputs[MASK] = np.ones_like(inputs["input_ids"]) if encoder.reads_all else text_mask(encoder, ids)
    if table is not None:
        inputs["extra_embeddings"] = table
    outputs = graph(**inputs)
    # copied: ONNX Runtime's answers lie in blocks that it cannot give back as long as one of them is kept
    pooled = None if encoder.pooled is None else outputs[encoder.pooled].copy()
    found = Heard(rows_told(encoder, outputs[output]).copy(), pooled)
    if not all(np.isfinite(array).all() for array in (found.hidden, found.pooled) if array is not None):
        raise EngineError(
            "the text encoder returned NaN or infinity; leave --embedding out, or try --precision text=f32, or another"
            " --engine"
        )
    return found


def unasked(bundle: Bundle, encoder: TextEncoder) -> Heard:
    """Ones in the shapes of what an encoder says to a chunk of tokens."""
    hidden = np.ones((1, encoder.length, width_of(bundle, encoder)), np.float32)
    pooled = bundle.manifest.graphs[encoder.graph].outputs[encoder.pooled].shape[-1] if encoder.pooled else None
    return Heard(rows_told(encoder, hidden), None if pooled is None else np.ones((1, int(pooled)), np.float32))


def rows_told(encoder: TextEncoder, rows: np.ndarray) -> np.ndarray:
    """Of rows for each token (1, length, ...), those that the network is told."""
    if encoder.kept is None:
        return rows
    return np.concatenate([rows[:, :1], rows[:, 1 - encoder.kept :]], axis=1)


def text_mask(encoder: TextEncoder, ids: tuple[int, ...]) -> np.ndarray:
    """1 for the tokens of a text, 0 for those behind them that fill it up: (1, length)."""
    there = np.array(ids) != encoder.pad_id
    return np.logical_or.accumulate(there[::-1])[::-1].astype(np.int64)[None]


def _size(heard: Heard) -> int:
    return heard.hidden.nbytes + (0 if heard.pooled is None else heard.pooled.nbytes)


def open_tokenizer(bundle: Bundle, encoder: TextEncoder) -> Tokenizer:
    """The encoder's tokenizer, bare of padding and truncation; BundleError where its file is missing or damaged."""
    name = f"{encoder.tokenizer}/tokenizer.json"
    tokenizer = read_tokenizer(bundle.files.read(name, LARGEST), bundle.path / name)
    size = tokenizer.get_vocab_size()
    if not all(token < size for token in (encoder.bos_id or 0, encoder.eos_id or 0, encoder.pad_id)):
        raise BundleError(f"'{bundle.path / name}' lacks the tokens that bundle.json names; export the model again")
    return tokenizer


def skipped(bundle: Bundle, encoder: TextEncoder, clip_skip: int) -> tuple[str, bool]:
    """The encoder's output for a clip skip, and whether the final layer norm is still to be applied to it.

    1 is what the model was made for, whichever layer that is; every further one is a layer earlier. The norm follows
    only where the usual output has had it. Encoders without hidden states are left as they are beside one that has
    them, as T5 is beside CLIP.
    """
    usual, states = encoder.output, hidden_states(bundle, encoder)
    if clip_skip == 1 or (not states and any(hidden_states(bundle, one) for one in bundle.manifest.text_encoders)):
        return usual, False
    if not states:
        raise BundleError(
            f"the text encoder of '{bundle.manifest.name}' gives no hidden states, which --clip-skip needs;"
            " export the model again"
        )
    skip = whole("clip skip", clip_skip, 1, _most_skipped(bundle, encoder))
    return f"{HIDDEN}{states - skip}", usual == LAST


def skips_layers(bundle: Bundle) -> bool:
    """Whether a clip skip is possible: graphs that other tools have exported give no hidden states, or have no norm."""
    return any(
        hidden_states(bundle, encoder)
        and (encoder.output != LAST or f"{encoder.graph}/{NORM}" in bundle.manifest.files)
        for encoder in bundle.manifest.text_encoders
    )


def most_skipped(bundle: Bundle) -> int:
    """The largest clip skip that all text encoders have; one that gives no hidden states counts as the deepest."""
    return min(_most_skipped(bundle, encoder) for encoder in bundle.manifest.text_encoders)


def _most_skipped(bundle: Bundle, encoder: TextEncoder) -> int:
    states = hidden_states(bundle, encoder)
    return max(states - 1, 1) if states else DEEPEST


def hidden_states(bundle: Bundle, encoder: TextEncoder) -> int:
    """How many hidden states an encoder gives up to its usual output; 0 where it gives none."""
    states = [name for name in bundle.manifest.graphs[encoder.graph].outputs if name.startswith(HIDDEN)]
    if not states or encoder.output == LAST:
        return len(states)
    return int(encoder.output.removeprefix(HIDDEN)) + 1


def width_of(bundle: Bundle, encoder: TextEncoder) -> int:
    """Numbers that an encoder says of each token."""
    return int(bundle.manifest.graphs[encoder.graph].outputs[encoder.output].shape[-1])


def open_norm(bundle: Bundle, encoder: TextEncoder) -> Norm:
    """The text encoder's final layer norm, (..., d) -> (..., d); BundleError where the bundle does not have it."""
    name = f"{encoder.graph}/{NORM}"
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
        if arrays.shape != (2, width_of(bundle, encoder)) or not 0 < float(eps) < 1:
            raise ValueError(f"shape {arrays.shape}, epsilon {shown(eps)}")
    except (ValueError, TypeError, EOFError, MemoryError, SyntaxError) as error:
        raise BundleError(f"cannot read '{name}' ({one_line(error, 100)}); {RESTORE}") from None

    def norm(hidden: np.ndarray) -> np.ndarray:
        wide = hidden.astype(np.float64)
        centred = wide - wide.mean(-1, keepdims=True)
        return (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias).astype(np.float32)

    return norm
