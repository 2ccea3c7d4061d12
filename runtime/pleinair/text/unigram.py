"""T5's tokenizer.json: pieces of words with scores (Kudo 2018, SentencePiece), as transformers writes it."""

import base64
import binascii
from typing import Any

from pleinair.checks import is_number

MOST_TOKENS = 500_000
LONGEST_TOKEN = 300  # characters
LARGEST_MAP = 4 << 20  # bytes; that of T5 has 240 thousand
LONGEST_STAND_IN = 64  # bytes that one character may become; the longest of NFKC has 33
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
WORDS = {"type": "WhitespaceSplit"}
MARKS = {"prepend_scheme": "always", "add_prefix_space": True, "split": True, "str_rep": SPACE}  # any of them
STRIPPED = {"type": "Strip", "strip_left": False, "strip_right": True}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}}  # with one of either space
FORMS = ({"type": "Nmt"}, {"type": "NFKC"}, {"type": "NFC"}, {"type": "Lowercase"})  # as `tokenizers` trains one
MODEL = {"type", "vocab", "unk_id", "byte_fallback"}


def is_unigram(raw: dict[str, Any]) -> bool:
    model = raw.get("model")
    return isinstance(model, dict) and model.get("type") == "Unigram"


def parts(raw: dict[str, Any]) -> dict[str, bool]:
    """Every part of a tokenizer.json that is used, and whether it is one that T5's has."""
    model = raw["model"]
    return {
        "normalizer": all(map(_is_normalizer, _listed(raw.get("normalizer"), "normalizers"))),
        "pre_tokenizer": _marks_words(_listed(raw.get("pre_tokenizer"), "pretokenizers")),
        "model": not {*model} - MODEL and not model.get("byte_fallback") and _is_row(model),
        "vocabulary": _is_vocabulary(model.get("vocab")),
    }


def is_token(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN


def _listed(part: Any, name: str) -> list[Any]:
    """What a part consists of."""
    if isinstance(part, dict) and part.get("type") == "Sequence" and isinstance(part.get(name), list):
        return part[name]
    return [] if part is None else [part]


def _marks_words(steps: list[Any]) -> bool:
    """Words, each with a mark for the space before it."""
    if not steps or len(steps) > 2 or steps[:-1] not in ([], [WORDS]) or not isinstance(steps[-1], dict):
        return False
    named = {"type": "Metaspace", "replacement": SPACE}
    return named.items() <= steps[-1].items() <= (named | MARKS).items()


def _is_row(model: dict[str, Any]) -> bool:
    """Whether the token for what is unknown is one of the vocabulary's."""
    vocab, unknown = model.get("vocab"), model.get("unk_id")
    return type(unknown) is int and isinstance(vocab, list) and 0 <= unknown < len(vocab)


def _is_vocabulary(vocab: Any) -> bool:
    return (
        isinstance(vocab, list)
        and 0 < len(vocab) <= MOST_TOKENS
        and all(isinstance(row, list) and len(row) == 2 and is_token(row[0]) and is_number(row[1]) for row in vocab)
    )


def _is_normalizer(normalizer: Any) -> bool:
    """Spaces made one, a form of Unicode, or SentencePiece's map of characters, none of which becomes a long text."""
    if normalizer in (STRIPPED, SPACES | {"content": SPACE}, SPACES | {"content": " "}, *FORMS):
        return True
    if not isinstance(normalizer, dict) or set(normalizer) != {"type", "precompiled_charsmap"}:
        return False
    encoded = normalizer["precompiled_charsmap"]
    if normalizer["type"] != "Precompiled" or not isinstance(encoded, str) or len(encoded) > 4 * LARGEST_MAP // 3:
        return False
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    tree = int.from_bytes(content[:4], "little")
    stand_ins = content[4 + tree :]
    return tree < len(content) and max(map(len, stand_ins.split(b"\0"))) <= LONGEST_STAND_IN
