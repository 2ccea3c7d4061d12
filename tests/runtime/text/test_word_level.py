"""Tokenizers that are plain lists: read from a tokenizer.json, of which nothing runs but what is known."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pleinair.errors import BundleError
from pleinair.text.tokenizer import read_tokenizer, token_ids

TOKENS = ["<pad>", "</s>", "<unk>", "a", "red", "house", "r", "e", "d", " "]
SPLITS = {
    "words": (pre_tokenizers.WhitespaceSplit(), ["a", "red", "<unk>"]),
    "characters": (pre_tokenizers.Split("", "isolated"), ["a", " ", "r", "e", "d", " ", "<unk>"]),
}


def written(split):
    tokenizer = Tokenizer(models.WordLevel({token: n for n, token in enumerate(TOKENS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return json.loads(tokenizer.to_str())


def opened(raw):
    return read_tokenizer(json.dumps(raw).encode(), Path("tokenizer.json"))


@pytest.mark.parametrize(("split", "tokens"), SPLITS.values(), ids=SPLITS)
def test_each_word_or_character_is_a_token(split, tokens):
    assert token_ids(opened(written(split)), "a red y") == [TOKENS.index(token) for token in tokens]


HOSTILE = {
    "an expression": {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
    "a text put before": {"normalizer": {"type": "Prepend", "prepend": "x" * 999}},
    "an unknown that is none": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "b"}},
    "a part that is not known": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a", "more": 1}},
    "no vocabulary": {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "a"}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_plain_list_does_not_have_is_refused(name):
    with pytest.raises(BundleError, match="tokenizers of type WordLevel do not have"):
        opened(written(pre_tokenizers.WhitespaceSplit()) | HOSTILE[name])


def test_another_type_is_named_with_those_that_are_known():
    raw = written(pre_tokenizers.WhitespaceSplit()) | {"model": {"type": "WordPiece", "vocab": {"a": 0}}}
    with pytest.raises(BundleError, match=r"'WordPiece'; .*Unigram \(T5\) and WordLevel are known"):
        opened(raw)
