"""Gemma's tokenizer: read from a tokenizer.json, of which nothing runs but what is known."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pleinair.errors import BundleError
from pleinair.text.tokenizer import read_tokenizer, token_ids

MARK = "\N{LOWER ONE EIGHTH BLOCK}"
TOKENS = ["<unk>", "a", "r", "e", "d", MARK, "re", "red", f"{MARK}red", *(f"<0x{byte:02X}>" for byte in range(256))]


@pytest.fixture
def raw():
    vocabulary = {token: n for n, token in enumerate(TOKENS)}
    merges = [("r", "e"), ("re", "d"), (MARK, "red")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return json.loads(tokenizer.to_str())


def opened(raw):
    return read_tokenizer(json.dumps(raw).encode(), Path("tokenizer.json"))


def test_spaces_belong_to_the_words_behind_them(raw):
    tokenizer = opened(raw)
    assert [tokenizer.id_to_token(token) for token in token_ids(tokenizer, "a red é")] == [
        "a",
        f"{MARK}red",
        MARK,
        "<0xC3>",
        "<0xA9>",
    ]


HOSTILE = {
    "a word that multiplies": {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "a" * 999}},
    "an expression": {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
    "chance": {"model": {"dropout": 0.5}},
    "a vocabulary of lists": {"model": {"vocab": [["a", 0]]}},
    "numbers beyond the vocabulary": {"model": {"vocab": {"a": 1 << 40}}},
    "merges of three": {"model": {"merges": [["a", "r", "e"]]}},
    "a part that is not known": {"model": {"more": 1}},
}


@pytest.mark.parametrize("changed", HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_known_is_refused(raw, changed):
    raw |= {name: raw["model"] | part if name == "model" else part for name, part in changed.items()}
    with pytest.raises(BundleError, match="Gemma's tokenizers do not have"):
        opened(raw)
