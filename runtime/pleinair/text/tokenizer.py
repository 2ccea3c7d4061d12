"""A tokenizer from a tokenizer.json, of which nothing is built but what is known here.

A tokenizer.json is a program: its normalizers can multiply a text a billionfold and its expressions take for ever, and
the library that runs it ends in a panic then. What CLIP's consists of is a short list, and so is what T5's and Gemma's
do, and plain lists of words (see `unigram`, `byte_pairs` and `word_level`); anything else is refused.
"""

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pleinair.checks import one_line, shown_path, shown_value
from pleinair.errors import BundleError
from pleinair.system.files import parse_json
from pleinair.text import byte_pairs, unigram, word_level
from pleinair.text.unigram import MOST_TOKENS, is_token

LARGEST = 40 << 20  # bytes; CLIP's has two million, and Gemma's 34 as transformers 5 writes it
MOST_ADDED = 2000
NORMALIZER = {
    "type": "Sequence",
    "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
        {"type": "Lowercase"},
    ],
}
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# transformers 5 puts the special tokens before the words; only literal ones pass
LITERALS = re.compile(r"(?:(?:\\[^A-Za-z0-9]|[^\\()\[\]{}*+?.^$|])+\|)*")
OTHER = "do not use this model, or export it again"
OFF = ("dropout", "continuing_subword_prefix", "fuse_unk", "byte_fallback", "ignore_merges")


def read_tokenizer(content: bytes, file: Path) -> Tokenizer:
    """The tokenizer in the content of `file`, bare of padding, truncation and special tokens around a text.

    Raises BundleError for a file that is malformed, or that asks for more than the tokenizers of CLIP, T5 and Gemma do,
    or a plain list of words.
    """
    raw = parse_json(content, file, BundleError, "restore the file or export the model again")
    owner, parts = _known(raw, file)
    parts |= {"list of added tokens": _are_added(raw.get("added_tokens"))}
    foreign = next((part for part, fine in parts.items() if not fine), None)
    if foreign:
        raise BundleError(f"'{shown_path(file)}' has a {foreign} that {owner} do not have; {OTHER}")
    known = {name: raw[name] for name in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    empty = dict.fromkeys(("truncation", "padding", "post_processor", "decoder"))
    try:
        return Tokenizer.from_str(json.dumps({"version": "1.0", **empty, **known}))
    except BaseException as error:
        raise _refused(error, f"cannot read '{shown_path(file)}'") from None


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text as tokens, without those around it; BundleError where a tokenizer is too damaged to read it."""
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except BaseException as error:
        raise _refused(error, "the model's tokenizer cannot read this text") from None


def _refused(error: BaseException, what: str) -> BaseException:
    """The library raises bare Exception for what is malformed, and panics past that; all else is returned as it is."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        return error
    return BundleError(f"{what} ({one_line(error, 100)}); restore the file or export the model again")


def _known(raw: dict[str, Any], file: Path) -> tuple[str, dict[str, bool]]:
    """Whose tokenizers are of its type, and its parts with whether each is known; BundleError for another type."""
    if unigram.is_unigram(raw):
        return "T5's tokenizers", unigram.parts(raw)
    if word_level.is_word_level(raw):
        return "tokenizers of type WordLevel", word_level.parts(raw)
    if byte_pairs.is_byte_pairs(raw):
        return "Gemma's tokenizers", byte_pairs.parts(raw)
    model = raw.get("model")
    if isinstance(model, dict) and model.get("type") != "BPE":
        raise BundleError(
            f"'{shown_path(file)}' is of type {shown_value(model.get('type'))}; tokenizers of type BPE (CLIP, Gemma),"
            f" Unigram (T5) and WordLevel are known; {OTHER}"
        )
    return "CLIP's tokenizers", _parts(raw)


def _parts(raw: dict[str, Any]) -> dict[str, bool]:
    """Every part of CLIP's tokenizer.json that is used, and whether it is one of those known."""
    model = raw.get("model")
    model = model if isinstance(model, dict) else {}
    return {
        "normalizer": raw.get("normalizer") == NORMALIZER,
        "pre_tokenizer": _splits_words(raw.get("pre_tokenizer")),
        "model": _is_bpe(model),
        "vocabulary": byte_pairs.is_vocabulary(model.get("vocab")),
        "list of merges": byte_pairs.are_merges(model.get("merges"), MOST_TOKENS),
    }


def _splits_words(pre_tokenizer: Any) -> bool:
    """The expression that cuts a text into words, and bytes written as letters."""
    try:
        split, letters = pre_tokenizer["pretokenizers"]
        pattern = split["pattern"]["Regex"]
        flags = [value for name, value in letters.items() if name != "type"]
        return (
            pre_tokenizer["type"] == "Sequence"
            and split == {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
            and len(pattern) < 1000
            and pattern.endswith(WORDS)
            and LITERALS.fullmatch(pattern.removesuffix(WORDS)) is not None
            and letters["type"] == "ByteLevel"
            and letters["add_prefix_space"] is False
            and all(isinstance(flag, bool) for flag in flags)
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return False


def _is_bpe(model: dict[str, Any]) -> bool:
    unknown = model.get("unk_token")
    return (
        model.get("type") == "BPE"
        and model.get("end_of_word_suffix") == "</w>"
        and (unknown is None or is_token(unknown))
        and not any(model.get(name) for name in OFF)
        and not {*model} - {"type", "vocab", "merges", "end_of_word_suffix", "unk_token", *OFF}
    )


def _are_added(added: Any) -> bool:
    return (
        isinstance(added, list)
        and len(added) <= MOST_ADDED
        and all(
            isinstance(token, dict)
            and is_token(token.get("content"))
            and type(token.get("id")) is int
            and 0 <= token["id"] < MOST_TOKENS
            and all(isinstance(value, bool) for name, value in token.items() if name not in ("id", "content"))
            for token in added
        )
    )
