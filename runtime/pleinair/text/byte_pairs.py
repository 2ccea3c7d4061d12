"""Gemma's tokenizer.json: byte pairs over a whole text, spaces and all, as transformers writes it."""

from typing import Any

from pleinair.text.unigram import LONGEST_TOKEN, MOST_TOKENS, SPACE, is_token

MOST_MERGES = 1_000_000
MARKED = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
WORDS = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
MODEL = {"type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback", *OFF}


def is_byte_pairs(raw: dict[str, Any]) -> bool:
    model = raw.get("model")
    return isinstance(model, dict) and model.get("type") == "BPE" and model.get("byte_fallback") is True


def parts(raw: dict[str, Any]) -> dict[str, bool]:
    """Every part of a tokenizer.json that is used, and whether it is one that Gemma's has."""
    model = raw["model"]
    plain = not {*model} - MODEL and not any(model.get(name) for name in OFF)
    return {
        "normalizer": raw.get("normalizer") == MARKED,
        "pre_tokenizer": raw.get("pre_tokenizer") in (WORDS, None),
        "model": plain and is_token(model.get("unk_token")) and isinstance(model.get("fuse_unk"), bool),
        "vocabulary": is_vocabulary(model.get("vocab")),
        "list of merges": are_merges(model.get("merges"), MOST_MERGES),
    }


def is_vocabulary(vocab: Any) -> bool:
    """Whether these are numbers by token."""
    return (
        isinstance(vocab, dict)
        and 0 < len(vocab) <= MOST_TOKENS
        and all(map(is_token, vocab))
        and all(type(number) is int and 0 <= number < MOST_TOKENS for number in vocab.values())
    )


def are_merges(merges: Any, most: int) -> bool:
    """Whether these are at most so many pairs of tokens, or both in one text with a space between."""
    return (
        isinstance(merges, list)
        and len(merges) <= most
        and all(
            len(merge) <= 2 * LONGEST_TOKEN
            if isinstance(merge, str)
            else isinstance(merge, list) and len(merge) == 2 and all(map(is_token, merge))
            for merge in merges
        )
    )
