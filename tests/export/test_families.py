"""Families as data: a tiny folder of each, exported by its row, paints what diffusers paints, on both engines."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import pleinair
from pleinair.bundle.manifest import Denoiser, Joined
from pleinair.bundle.opening import open_bundle

TOLERANCE = 2e-3
STEPS = 4
torch.set_num_threads(1)
SIZES = {"square": (64, 64), "wide": (72, 56)}


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def painter(engine, exported):
    """`painter(family)`: our pipeline, kept loaded."""
    pipes = {}

    def opened(family):
        if family not in pipes:
            pipes[family] = pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")
        return pipes[family]

    return opened


@pytest.fixture(scope="module")
def reference(tiny_sources):
    """`reference(family, kind)`: the diffusers pipeline of a class, on a tiny folder."""
    pipes = {}

    def opened(family, kind):
        if (family, kind) not in pipes:
            pipes[family, kind] = getattr(diffusers, kind).from_pretrained(tiny_sources[family])
            pipes[family, kind].set_progress_bar_config(disable=True)
        return pipes[family, kind]

    return opened


def drawn(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def sketch(width, height):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + i) + i) * np.cos(y / (7 - i)) for i in range(3)]
    return Image.fromarray(((np.stack(waves, -1) / 2 + 0.5) * 255).astype(np.uint8))


def far(ours, theirs):
    assert ours.pixels.shape == theirs.images.shape
    return np.abs(ours.pixels - theirs.images).max()


XL = {
    "nothing-said": {"negative": None},
    "an-empty-text": {"negative": ""},
    "a-negative-prompt": {"negative": "and on"},
    "without-guidance": {"negative": None, "guidance": 1.0},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", XL)
def test_sdxl_equals_diffusers(painter, reference, case, size):
    """Two pictures at once; zeros for a negative prompt that was not given, and only for that."""
    (width, height), guidance, seeds = SIZES[size], XL[case].get("guidance", 5.0), (3, 8)
    negative = XL[case]["negative"]
    theirs = reference("sdxl", "StableDiffusionXLPipeline")(
        ["the red one"] * 2,
        negative_prompt=negative if negative is None else [negative] * 2,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        width=width,
        height=height,
        generator=drawn(seeds),
        output_type="np",
    )
    how = {"steps": STEPS, "guidance": guidance, "seed": seeds, "batch": 2, "width": width, "height": height}
    assert far(painter("sdxl").generate("the red one", negative, **how), theirs) < TOLERANCE


def test_sdxl_repaints_as_diffusers_does(painter, reference):
    image = sketch(72, 56)
    theirs = reference("sdxl", "StableDiffusionXLImg2ImgPipeline")(
        "the red one",
        image=image,
        strength=0.6,
        num_inference_steps=6,
        guidance_scale=4.0,
        generator=drawn([5]),
        output_type="np",
    )
    how = {"image": image, "strength": 0.6, "steps": 6, "guidance": 4.0, "seed": 5, "width": 72, "height": 56}
    assert far(painter("sdxl").generate("the red one", **how), theirs) < 5e-3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("guidance", [1.0, 8.5])
def test_a_network_that_is_told_the_guidance_equals_diffusers(painter, reference, guidance, size):
    (width, height), seeds = SIZES[size], (3, 8)
    theirs = reference("lcm", "LatentConsistencyModelPipeline")(
        ["the red one"] * 2,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        width=width,
        height=height,
        generator=drawn(seeds),
        output_type="np",
    )
    how = {"steps": STEPS, "guidance": guidance, "seed": seeds, "batch": 2, "width": width, "height": height}
    assert far(painter("lcm").generate("the red one", **how), theirs) < TOLERANCE


def test_manifests_say_what_the_families_are(exported):
    xl = open_bundle(exported("sdxl", "fp32")).manifest
    assert (xl.family, xl.guidance, xl.tasks) == ("sdxl", "cfg", ("text2image", "image2image", "inpaint"))
    assert [encoder.output for encoder in xl.text_encoders] == ["hidden_states.2", "hidden_states.3"]
    assert [encoder.pooled for encoder in xl.text_encoders] == [None, "text_embeds"]
    assert [encoder.empty for encoder in xl.text_encoders] == ["zeros", "zeros"]
    assert xl.text_encoders[0].pad_id == xl.text_encoders[0].eos_id and xl.text_encoders[1].pad_id == 0
    both = ("text_encoder", "text_encoder_2")
    assert xl.conditioning == {"text": Joined(both), "pooled": Joined(both[1:], pooled=True)}
    assert (xl.vae.scale, xl.defaults.guidance) == (0.13025, 5.0)
    feeds = {"sample": "latents", "timestep": "timestep", "encoder_hidden_states": "text"}
    assert xl.denoiser == Denoiser("unet", feeds | {"text_embeds": "pooled", "time_ids": "size_ids"}, "out_sample")
    second = list(xl.graphs["text_encoder_2"].outputs)  # other programs take them by their place
    assert second == ["text_embeds", "last_hidden_state", *(f"hidden_states.{n}" for n in range(5))]
    lcm = open_bundle(exported("lcm", "fp32")).manifest
    assert (lcm.guidance, lcm.defaults.steps, lcm.defaults.guidance) == ("embedded", 4, 8.5)
    assert lcm.denoiser.feeds == feeds | {"timestep_cond": "guidance_embedding"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("guidance, image_guidance", [(7.5, 1.5), (3.0, 1.0), (1.0, 1.5)])
def test_editing_a_picture_equals_diffusers(painter, reference, guidance, image_guidance, size):
    (width, height), seeds = SIZES[size], (3, 8)
    theirs = reference("pix2pix", "StableDiffusionInstructPix2PixPipeline")(
        ["the red one"] * 2,
        image=[sketch(width, height)] * 2,
        negative_prompt=["and on"] * 2,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        image_guidance_scale=image_guidance,
        generator=drawn(seeds),
        output_type="np",
    )
    how = {"steps": STEPS, "guidance": guidance, "image_guidance": image_guidance, "seed": seeds, "batch": 2}
    how |= {"image": sketch(width, height), "width": width, "height": height}
    assert far(painter("pix2pix").generate("the red one", "and on", **how), theirs) < TOLERANCE
