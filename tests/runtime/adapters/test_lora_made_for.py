"""Which models a LoRA may be for, told from its header and a model's bundle.json."""

from dataclasses import replace

import numpy as np
import pytest

from loras import kohya, write_lora
from pleinair.adapters.lora_file import read_lora_head
from pleinair.adapters.made_for import may_fit
from pleinair.bundle.opening import open_bundle

BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"
READER = f"{BLOCK}.attn2.to_k"
OURS = 128  # the width of the text that storybook reads


@pytest.fixture(scope="module")
def manifest():
    return open_bundle(verify=False).manifest


def transformer(manifest):
    """A model that is one, by its layers."""
    layers = ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.add_k_proj")
    return replace(manifest, weights={"unet": dict.fromkeys(layers)})


@pytest.mark.parametrize(
    "tensors, fits, fits_transformer",
    [
        (kohya({READER: (16, OURS)}), True, False),
        (kohya({READER: (16, 768)}), False, False),
        (kohya({f"{BLOCK}.attn1.to_q": (16, 16)}), True, False),
        (kohya({"encoder.layers.0.mlp.fc1": (8, 8)}, "lora_te_text_model_"), True, False),
        (kohya({"encoder.layers.7.mlp.fc1": (8, 8)}, "lora_te_text_model_"), False, False),
        (kohya({"transformer_blocks.0.attn.to_q": (16, 16)}, "transformer."), False, False),
        (kohya({"transformer_blocks.0.attn.to_q": (16, 16)}), False, True),
    ],
)
def test_names_and_the_width_of_the_text_tell(tmp_path, manifest, tensors, fits, fits_transformer):
    head = read_lora_head(write_lora(tmp_path / "a.safetensors", tensors))
    assert may_fit(head, manifest) is fits
    assert may_fit(head, transformer(manifest)) is fits_transformer


def test_a_bundle_that_names_no_layers_may_be_meant(tmp_path, manifest):
    head = read_lora_head(write_lora(tmp_path / "a.safetensors", {"a.diff": np.ones((4, 4), np.float32)}))
    assert may_fit(head, replace(manifest, weights={})) and not may_fit(head, manifest)
