"""Tokenizers of T5 that are not SentencePiece's: exported as transformers reads them from their folder."""

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pleinair.errors import ExportError
from pleinair.sources.families import T5
from pleinair.text.tokenizer import read_tokenizer, token_ids
from pleinair_export.tokenizer import PROMPTS, write_tokenizer

LETTERS = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {chr(code): n for n, code in enumerate(range(32, 127), 3)}
END = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])


def letters():
    tokenizer = Tokenizer(models.WordLevel(LETTERS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def pieces():
    """As `tokenizers` trains one; OpenVINO has no Nmt."""
    tokenizer = Tokenizer(models.Unigram([(token, -float(n)) for n, token in enumerate([*LETTERS, "▁"])], 2, False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def folder(path, tokenizer, **special):
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"} | special
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
    return path


@pytest.mark.parametrize("made", [letters, pieces])
@pytest.mark.parametrize("ends", [True, False], ids=["ended", "open"])
def test_a_general_tokenizer_reads_as_transformers_does(tmp_path, made, ends):
    tokenizer = made()
    if ends:
        tokenizer.post_processor = END
    source, target = folder(tmp_path / "source", tokenizer), tmp_path / "target"
    tokens, ids = write_tokenizer(source, target, T5, 24, openvino=True)
    reader = AutoTokenizer.from_pretrained(source)
    assert ids.tolist() == reader(PROMPTS, padding="max_length", truncation=True, max_length=24)["input_ids"]
    assert (tokens.bos_id, tokens.eos_id, tokens.pad_id) == (None, 1 if ends else None, reader.pad_token_id)
    file = target / "tokenizer.json"
    own = read_tokenizer(file.read_bytes(), file)
    assert token_ids(own, PROMPTS[2]) == reader.encode(PROMPTS[2], add_special_tokens=False)
    assert (target / "openvino_tokenizer.xml").exists() == (made is letters)


def test_one_without_a_token_to_fill_with_is_refused(tmp_path):
    source = folder(tmp_path / "source", letters())
    config = source / "tokenizer_config.json"
    told = json.loads(config.read_text())
    del told["pad_token"]
    config.write_text(json.dumps(told))
    with pytest.raises(ExportError, match="names no pad_token; name one in tokenizer_config.json"):
        write_tokenizer(source, tmp_path / "target", T5, 24, openvino=False)
    assert not (tmp_path / "target").exists()
