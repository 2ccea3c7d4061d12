"""The tokenizer folder that is written: CLIP's own vocabulary, or the given folder, completed."""

import json

import pytest
from tokenizers import Tokenizer

from pleinair.errors import ExportError
from pleinair.pouring.vocabulary import EOS, write_tokenizer
from pleinair.sources.describing import Tokens


def test_clips_own_vocabulary_reads_as_clip_does_and_is_made_whole_from_two_files(tmp_path):
    assert write_tokenizer(None, tmp_path / "whole", 77, "!") == Tokens(77, 49406, 49407, 0)
    whole = (tmp_path / "whole" / "tokenizer.json").read_text()
    assert Tokenizer.from_str(whole).encode("A photo  of a cat").ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    vocabulary = json.loads((tmp_path / "whole" / "vocab.json").read_text(encoding="utf-8"))
    assert len(vocabulary) == 49408 and sorted(vocabulary.values()) == list(range(49408))
    (tmp_path / "old").mkdir()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "whole" / name).rename(tmp_path / "old" / name)
    (tmp_path / "old" / "special_tokens_map.json").write_text('{"pad_token": {"content": "!"}}')
    assert write_tokenizer(tmp_path / "old", tmp_path / "new", 77, EOS) == Tokens(77, 49406, 49407, 0)
    assert (tmp_path / "new" / "tokenizer.json").read_text() == whole
    (tmp_path / "old" / "merges.txt").unlink()
    with pytest.raises(ExportError, match="no tokenizer.json, and not both vocab.json and merges.txt; download its"):
        write_tokenizer(tmp_path / "old", tmp_path / "none", 77, EOS)
