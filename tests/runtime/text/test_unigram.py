"""T5's tokenizer: read from a tokenizer.json, of which nothing runs but what is known."""

import base64
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pleinair.errors import BundleError
from pleinair.text.tokenizer import read_tokenizer, token_ids

MARK = "\N{LOWER ONE EIGHTH BLOCK}"
PIECES = ["<pad>", "</s>", "<unk>", MARK, f"{MARK}a", f"{MARK}red", "house", "s", ","]


@pytest.fixture
def raw():
    vocabulary = [(piece, -float(n)) for n, piece in enumerate(PIECES)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, 2, False))
    marks = pre_tokenizers.Metaspace(MARK, prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks])
    return json.loads(tokenizer.to_str())


def opened(raw):
    return read_tokenizer(json.dumps(raw).encode(), Path("tokenizer.json"))


def test_words_become_pieces_with_a_mark_for_the_space(raw):
    tokenizer = opened(raw)
    read = [tokenizer.id_to_token(token) for token in token_ids(tokenizer, "a red  houses,")]
    assert read == [f"{MARK}a", f"{MARK}red", MARK, "house", "s", ","]
    assert token_ids(tokenizer, "") == []


def test_older_files_are_read_too(raw):
    raw["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always"}
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": MARK}
    raw["normalizer"] = {"type": "Sequence", "normalizers": [spaces]}
    assert token_ids(opened(raw), "a red") == [4, 5]


def test_those_that_tokenizers_trains_are_read(raw):
    """Their normalizers are spelled out, where SentencePiece has one map of characters."""
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    raw["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"}, spaces]}
    assert token_ids(opened(raw), "\N{FULLWIDTH LATIN SMALL LETTER A}   red") == [4, 5]


def charsmap(longest):
    """No tree, and one text that a character may become."""
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(4) + b"x" * longest).decode()}


HOSTILE = {
    "a character that becomes a book": {"normalizer": charsmap(65)},
    "a map that is no map": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "*"}},
    "a map without end": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}},
    "a word that multiplies": {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 999}},
    "an expression": {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
    "no words at all": {"pre_tokenizer": None},
    "no vocabulary": {"model": {"type": "Unigram", "unk_id": 0, "vocab": [], "byte_fallback": False}},
    "an unknown that is none": {"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}},
    "scores that are none": {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", "b"]]}},
    "a part that is not known": {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]], "more": 1}},
    "tokens without a name": {"added_tokens": [{"id": 1}]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_t5_does_not_have_is_refused(raw, name):
    with pytest.raises(BundleError, match="T5's tokenizers do not have"):
        opened(raw | HOSTILE[name])
