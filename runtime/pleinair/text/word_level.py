"""A tokenizer.json that is a plain list: each word, or each character, is one token, as small models have it."""

from typing import Any

from pleinair.text.byte_pairs import is_vocabulary
from pleinair.text.unigram import is_token

CHARACTERS = {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False}
WORDS = ({"type": "WhitespaceSplit"}, {"type": "Whitespace"})
NORMALIZERS = (None, {"type": "Lowercase"}, {"type": "NFC"}, {"type": "NFKC"})


def is_word_level(raw: dict[str, Any]) -> bool:
    model = raw.get("model")
    return isinstance(model, dict) and model.get("type") == "WordLevel"


def parts(raw: dict[str, Any]) -> dict[str, bool]:
    """Every part of a tokenizer.json that is used, and whether it belongs to a plain list of tokens."""
    model = raw["model"]
    vocab, unknown = model.get("vocab"), model.get("unk_token")
    return {
        "normalizer": raw.get("normalizer") in NORMALIZERS,
        "pre_tokenizer": raw.get("pre_tokenizer") in (CHARACTERS, *WORDS),
        "model": not {*model} - {"type", "vocab", "unk_token"},
        "vocabulary": is_vocabulary(vocab) and is_token(unknown) and unknown in vocab,
    }
