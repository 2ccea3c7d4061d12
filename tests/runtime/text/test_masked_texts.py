"""Text encoders that are told which tokens are of the text, and networks that are told it too."""

import numpy as np

import pleinair
from bundles import edit_manifest, light_copy
from pleinair.bundle.opening import open_bundle
from pleinair.engines.fake import FakeEngine
from pleinair.text.reader import PromptReader
from pleinair.text.report import report


def test_what_fills_a_text_up_is_masked_and_case_is_not_read(tmp_path):
    folder, seen = light_copy(tmp_path / "masked"), {}
    edit_manifest(folder, tell)
    pipe = pleinair.load(folder, engine=FakeEngine(lambda graph, given: seen.setdefault(graph, []).append(given)))
    pipe.generate("A RED house", "a house", seed=1, steps=1)
    pipe.generate("a red House", "a house", seed=1, steps=1)
    encoder = pipe.bundle.manifest.text_encoders[0]
    asked, told = seen["text_encoder"], seen["unet"][0]["mask"]
    assert len(asked) == 2  # the second prompt is the first
    for each in asked:
        text = each["input_ids"][0] != encoder.pad_id
        assert each["attention_mask"].dtype == np.int64 and each["attention_mask"][0].tolist() == text.tolist()
        assert 0 < text.sum() < encoder.length
    lengths = {int(each["attention_mask"].sum()) for each in asked}
    assert told.dtype == np.float32 and {int(row.sum()) for row in told} == lengths == {3 + 1, 3 + 2}


def test_what_is_read_before_a_text_is_not_told_on(tmp_path):
    folder, seen = light_copy(tmp_path / "led"), {}
    edit_manifest(folder, lead)
    pipe = pleinair.load(folder, engine=FakeEngine(lambda graph, given: seen.setdefault(graph, []).append(given)))
    pipe.generate(" a RED house ", "a house", seed=1, steps=1)
    alone = tokens_of(open_bundle(light_copy(tmp_path / "plain")), "a red house")
    assert tokens_of(pipe.bundle, "a RED house ") == alone
    encoder, ids = pipe.bundle.manifest.text_encoders[0], seen["text_encoder"][0]["input_ids"][0].tolist()
    before = encoder.before
    assert before == 4 and ids[0] == encoder.bos_id
    assert ids[1 + before : 1 + before + len(alone)] == [token["id"] for token in alone]
    assert set(ids[1 + before + len(alone) :]) == {encoder.pad_id}
    assert seen["unet"][0]["encoder_hidden_states"].shape[1] == seen["unet"][0]["mask"].shape[1] == 74
    assert sorted(row.sum() for row in seen["unet"][0]["mask"]) == [1 + 1 + 2, 1 + 1 + 3]  # start, last of before, text


def tokens_of(bundle, prompt):
    """What is told of how a prompt is read."""
    (chunk,) = report(PromptReader(bundle), prompt, "", 1)["parts"][0]["versions"][0]["chunks"]
    return chunk


def lead(raw):
    tell(raw)
    raw["text_encoders"][0] |= {"prefix": "a red house a ", "kept": 74, "eos_id": None}


def tell(raw):
    encoder, graphs = raw["text_encoders"][0], raw["graphs"]
    encoder |= {"masked": True, "lowered": True, "cut": True, "pad_id": 0}
    graphs["text_encoder"]["inputs"]["attention_mask"] = graphs["text_encoder"]["inputs"]["input_ids"]
    graphs["unet"]["inputs"]["mask"] = {"dtype": "float32", "shape": ["batch", "tokens"]}
    raw["conditioning"]["text_mask"] = {"encoders": [encoder["graph"]], "mask": True}
    raw["denoisers"][0]["feeds"]["mask"] = "text_mask"
