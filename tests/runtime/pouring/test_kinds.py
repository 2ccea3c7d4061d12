"""Single files are told apart by the names and shapes of their tensors, and what is not known is no v1."""

import numpy as np
import pytest

from pleinair.errors import ExportError, RequestError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.kinds import CROSS, FIRST, MIDDLE, kind_of
from pleinair.pouring.opened import opened, predicted
from vectors import safetensors

XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
REFINER = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"


def network(channels=4, text=None, middle=True):
    shapes = {FIRST: (320, channels, 3, 3)}
    shapes |= {CROSS: (320, text)} if text else {}
    return shapes | ({MIDDLE: (1280, 1280)} if middle else {})


@pytest.mark.parametrize(
    "shapes, model, pipeline",
    [
        (network(text=768), "sd15", "StableDiffusionPipeline"),
        (network(9, 768), "sd15", "StableDiffusionInpaintPipeline"),
        (network(8, 768), "sd15", "StableDiffusionInstructPix2PixPipeline"),
        (network(text=1024), "sd21", "StableDiffusionPipeline"),
        (network(9, 1024), "sd21", "StableDiffusionInpaintPipeline"),
    ],
)
def test_models_that_can_be_poured(shapes, model, pipeline):
    kind = kind_of(shapes, "m")
    assert (kind.model, kind.pipeline) == (model, pipeline)


@pytest.mark.parametrize(
    "shapes, words",
    [
        (network() | {XL: (1280,)}, "is Stable Diffusion XL, which"),
        (network(9) | {XL: (1280,)}, "XL for inpainting"),
        (network(8) | {XL: (1280,)}, "XL for editing"),
        (network(middle=False) | {XL: (1280,)}, "SSD-1B or Vega"),
        (network() | {REFINER: (1280,)}, "the refiner"),
        (network(8, 1024), "Stable Diffusion 2 for editing"),
        (network(text=768, middle=False), "a small Stable Diffusion 1"),
        (network(text=1024, middle=False), "a small Stable Diffusion 2"),
        (network() | {XL: (1280,), "edm_mean": (4,)}, "Playground"),
        ({"joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,)}, "Stable Diffusion 3"),
        ({"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "FLUX"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320)}, "an adapter"),
        ({"unet.up.lora_A.weight": (4, 320)}, "an adapter"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a ControlNet"),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet"),
        ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "give it with --vae"),
        ({"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)}, "a UNet alone"),
        (network(text=768) | {"scaled_fp8": ()}, "scaled 8-bit weights"),
    ],
)
def test_models_that_cannot_be_poured_are_named_with_what_to_do(shapes, words):
    with pytest.raises(ExportError, match=words) as caught:
        kind_of(shapes, "m")
    assert "; " in str(caught.value)


@pytest.mark.parametrize("shapes", [{}, network(), network(text=640), network(5, 768), {"weight": (4,)}])
def test_what_is_not_known_is_not_taken_for_anything(shapes):
    with pytest.raises(ExportError, match="is no model that is known by its weights' names and sizes"):
        kind_of(shapes, "m")


@pytest.mark.parametrize(
    "metadata, prediction",
    [
        ({"modelspec.prediction_type": "v"}, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
    ],
)
def test_a_file_of_sd_2_says_what_it_predicts_or_has_to_be_told(tmp_path, metadata, prediction):
    file = tmp_path / "two.safetensors"
    kind = kind_of(network(text=1024), "two")
    tensors = {FIRST: np.zeros((320, 4, 3, 3), np.float32), CROSS: np.zeros((320, 1024), np.float32)}
    tensors[MIDDLE] = np.zeros((1280, 1280), np.float32)
    file.write_bytes(safetensors(tensors, metadata))
    assert predicted(kind, Checkpoint([file]), "two") == prediction
    file.write_bytes(safetensors(tensors, {"modelspec.resolution": "768x768"}))
    with pytest.raises(RequestError, match="does not say what it predicts; give --prediction v_prediction"):
        opened(file, None, None, None)
