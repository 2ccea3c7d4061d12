"""Bodies of JSON, and pictures in them."""

import base64

import pytest

from pleinair.serve import pictures_in, reading
from pleinair.serve.large_texts import LARGE_TEXT, LargeTexts
from pleinair.serve.pictures_in import decoded
from pleinair.serve.reading import parsed
from pleinair.serve.refusals import Refused


@pytest.mark.parametrize("text", ["", "QQ==", "QUI=", "QUJD", "QUJDRA==", "QUJDREVGRw=="])
def test_base64_in_pieces_is_what_it_is_in_one(monkeypatch, text):
    monkeypatch.setattr(pictures_in, "PIECE", 4)
    assert decoded(text) == base64.b64decode(text, validate=True)


@pytest.mark.parametrize("text", ["QQ==QUJD", "QUJDQ", "QUJD*UJD", "QUJD=", "===="])
def test_what_is_no_base64_is_none_in_pieces(monkeypatch, text):
    monkeypatch.setattr(pictures_in, "PIECE", 4)
    with pytest.raises(ValueError):
        decoded(text)


def test_values_are_counted_over_all_pieces(monkeypatch):
    monkeypatch.setattr(reading, "PIECE", 3)
    assert parsed(b"[1, 2, 3]", 4, 3) == [1, 2, 3]
    with pytest.raises(Refused, match="more than 2 values"):
        parsed(b"[1, 2, 3]", 4, 2)


@pytest.mark.parametrize("raw", ['{"a": 1}'.encode("utf-16"), b'{"a": "\xff"}', b"\xef\xbb\xbf"])
def test_only_utf_8_is_read(raw):
    with pytest.raises(Refused, match="UTF-8"):
        parsed(raw, 4, 100)
    assert parsed(b'\xef\xbb\xbf{"a": 1}', 4, 100) == {"a": 1}


def test_large_texts_have_names_for_as_long_as_their_request_lasts():
    texts, names = LargeTexts(), []
    whole = {"a": ["x" * LARGE_TEXT, "small", 1, None], "b": {"c": "y" * LARGE_TEXT}}
    light = texts.take_out(whole, names)
    assert len(names) == 2 and len(str(light)) < 200 and light["a"][1:] == ["small", 1, None]
    assert texts.restored(light) == whole and texts.restored("x") == "x"
    texts.forget(names)
    assert texts.restored(light) == light
