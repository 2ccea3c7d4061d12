"""The tokenizer's graph of a poured bundle makes the tokens that its tokenizer.json makes."""

import lzma

import openvino
import openvino_tokenizers  # noqa: F401 (brings OpenVINO its operators)
from tokenizers import Tokenizer

from pleinair.pouring import vocabulary
from pleinair.pouring.vocabulary import EOS, write_tokenizer
from pleinair_export.tokenizer import PROMPTS

FILE = "openvino_tokenizer.xml"


def test_its_tokens_are_those_of_the_tokenizer_beside_it(tmp_path):
    folder = tmp_path / "tokenizer"
    write_tokenizer(None, folder, 77, "!", openvino=True)
    texts = [*PROMPTS, "Ünïcode,  \t2nd 🦊 it's"]
    found = openvino.Core().compile_model(folder / FILE, "CPU")(texts)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=0)
    assert found["input_ids"].tolist() == [each.ids for each in tokenizer.encode_batch(texts)]


def test_other_vocabularies_and_lengths_have_none(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "MERGES", tmp_path / "merges.xz")
    vocabulary.MERGES.write_bytes(lzma.compress(b"t h\n"))
    for length in (64, 77):
        write_tokenizer(None, tmp_path / str(length), length, EOS, openvino=True)
        assert not (tmp_path / str(length) / FILE).exists()
