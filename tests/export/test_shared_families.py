"""What is computed once for all texts in the graphs that the export writes, on ONNX Runtime: the same bits."""

import numpy as np
import pytest
from PIL import Image

import pleinair
from loras import kohya, write_lora
from pleinair.engines.engine import engine_named
from pleinair.quantizing.quantize import quantize

JOB = {"prompt": "the red thread", "negative": "and on", "size": "64x64", "steps": 2, "seed": 5}


def both(model, **how):
    """A picture with as few rows as there are latents, how many operators have them, and one with all."""
    found = []
    for share in (True, False):
        with pleinair.load(model, engine="onnx", share=share, verify=False) as pipe:
            found.append(pipe.generate(**{**JOB, **how}))
    assert "shared" not in found[1].settings
    return found[0].pixels, found[0].settings.get("shared", {}).get("unet", 0), found[1].pixels


@pytest.fixture(scope="module")
def in_int8(exported, once):
    def make(folder):
        for _ in quantize(exported("sd1", "fp16"), folder, pictures=2, size="64x64"):
            pass

    return once("bundles/sd1-w8a8", make)


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_up_to_the_first_text_all_is_shared(family, exported):
    """The attention of the first block to itself is; what reads its answer beside the text is not."""
    made, count, plain = both(exported(family, "fp16"), prompt="the red thread AND a knot", count=2, batch=2)
    assert count > 40 and np.array_equal(made, plain)


def test_a_model_in_int8_shares_as_much(exported, in_int8):
    made, count, plain = both(in_int8)
    assert count > both(exported("sd1", "fp16"))[1] - 10 and np.array_equal(made, plain)


def test_a_lora_and_a_mask_share_too(exported, tmp_path):
    bundle = pleinair.open_bundle(exported("sd1", "fp16"))
    layers = engine_named("onnx").layers(bundle, "unet")
    shapes = {path: layer.shape for path, layer in layers.items() if len(layer.shape) > 1}
    lora = write_lora(tmp_path / "lora.safetensors", kohya(shapes))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 16, 56, 40))
    over = {"image": Image.new("RGB", (64, 64), "red"), "mask": mask, "strength": 1}
    made, count, plain = both(bundle.path, loras=[lora], **over)
    assert count > 40 and np.array_equal(made, plain)


@pytest.mark.parametrize("family", ["sdxl", "sd1-inpaint"])
def test_models_that_are_told_more_share_nothing(family, exported):
    over = {"image": Image.new("RGB", (64, 64), "red"), "mask": Image.new("L", (64, 64), 255)} if "in" in family else {}
    made, count, plain = both(exported(family, "fp16"), **over)
    assert not count and np.array_equal(made, plain)
