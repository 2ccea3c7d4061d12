"""The original names become those that diffusers' converters make of them."""

import json
import lzma
from pathlib import Path

import pytest

from pleinair.pouring import names

GOLDEN = json.loads(lzma.decompress((Path(__file__).parents[2] / "golden" / "converted_names.json.xz").read_bytes()))
RULES = {"unet": names.unet, "vae": names.vae, "open_clip": names.open_clip}


@pytest.mark.parametrize("model", GOLDEN)
def test_names_are_those_of_diffusers(model):
    expected = {key: tuple(taken) for key, taken in GOLDEN[model].items()}
    found = RULES[model.split()[0]](sorted({name for name, *_ in expected.values()}))
    assert {key: (taken.name, taken.third, taken.transposed) for key, taken in found.items()} == expected
    assert len(expected) > 200


def test_a_number_that_no_block_has_is_none():
    for rules, name in (
        (names.unet, "input_blocks.{}.0.in_layers.0.bias"),
        (names.unet, "output_blocks.{}.1.conv.bias"),
        (names.vae, "decoder.up.{}.block.0.conv1.bias"),
        (names.vae, "encoder.down.{}.block.0.conv1.bias"),
        (names.tiny_vae, "decoder.{}.conv.0.bias"),
        (names.open_clip, "transformer.resblocks.{}.ln_1.bias"),
    ):
        for number in ("9" * 5000, "5x", ""):
            assert len(rules([name.format(number)])) == 1


def test_names_of_diffusers_and_transformers_stay_but_for_old_ones():
    found = names.same(["text_model.encoder.layers.0.mlp.fc1.bias", "decoder.mid_block.attentions.0.query.weight"])
    assert list(found) == ["encoder.layers.0.mlp.fc1.bias", "decoder.mid_block.attentions.0.to_q.weight"]
