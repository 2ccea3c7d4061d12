"""ControlNets: exported from folders and files, and painted with as diffusers' pipelines do."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import pleinair
from pleinair_export import convert
from tiny_control import write_tiny_control

TOLERANCE = 2e-3
STEPS, SIDE = 4, 64
ENGINES = ("openvino", "onnx")
PLAIN, REPAINTS, INPAINTS = (f"StableDiffusionControlNet{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint"))
XL = "StableDiffusionXLControlNetPipeline"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def control_sources(tiny_sources, once):
    """`control_sources(family, seed)`: the folder of a ControlNet for a tiny model."""

    def folder(family, seed=0):
        return once(
            f"sources/control-{family}-{seed}", lambda made: write_tiny_control(tiny_sources[family], made, seed)
        )

    return folder


@pytest.fixture(scope="session")
def control_bundles(control_sources, once):
    """`control_bundles(family, seed)`: its bundle, for both engines."""

    def bundle(family, seed=0):
        def make(out):
            list(convert.export(control_sources(family, seed), out, formats=ENGINES, weights="fp32"))

        return once(f"bundles/control-{family}-{seed}", make)

    return bundle


@pytest.fixture(scope="module")
def theirs(tiny_sources, control_sources):
    """`theirs(kind, family, seeds)`: a diffusers pipeline with the ControlNets of these seeds.

    Its sampler asks the network once in a step: diffusers counts questions, and a ControlNet's share here is of steps.
    """
    opened = {}

    def pipeline(kind, family, seeds=(0,)):
        key = kind, family, seeds
        if key not in opened:
            nets = [diffusers.ControlNetModel.from_pretrained(control_sources(family, seed)) for seed in seeds]
            nets = nets if len(nets) > 1 else nets[0]
            opened[key] = getattr(diffusers, kind).from_pretrained(tiny_sources[family], controlnet=nets)
            opened[key].set_progress_bar_config(disable=True)
            config = {**opened[key].scheduler.config, "clip_sample": False, "set_alpha_to_one": False}
            opened[key].scheduler = diffusers.DDIMScheduler.from_config(config)
        return opened[key]

    return pipeline


@pytest.fixture(scope="module")
def ours(exported):
    opened = {}

    def pipeline(family, engine):
        if (family, engine) not in opened:
            how = {"engine": engine, "threads": 1, "precision": "f32"}
            opened[family, engine] = pleinair.load(exported(family, "fp32"), **how)
        return opened[family, engine]

    return pipeline


def picture(width=SIDE, height=SIDE, phase=0.0):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + i) + i + phase) * np.cos(y / (7 - i)) for i in range(3)]
    return Image.fromarray(((np.stack(waves, -1) / 2 + 0.5) * 255).astype(np.uint8))


def hole():
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (20, 16, 56, 40))
    return mask


def drawn(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def far(made, expected):
    assert made.pixels.shape == expected.images.shape and expected.images.std() > 0.02
    return np.abs(made.pixels - expected.images).max()


def painted(pipe, seeds=(5,), negative="and on", **asked):
    size = {"width": SIDE, "height": SIDE}
    job = {"steps": STEPS, "guidance": 5.0, "sampler": "ddim", "seed": seeds, "batch": len(seeds), **size, **asked}
    return pipe.generate("the red one", negative, **job)


def expected(pipe, seeds=(5,), negative="and on", **asked):
    texts = {"prompt": ["the red one"] * len(seeds), "negative_prompt": [negative] * len(seeds)}
    how = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "generator": drawn(*seeds), "output_type": "np"}
    return pipe(**texts, **how, **asked)


SIZE = {"width": SIDE, "height": SIDE}
SHARES = {
    "strength": ({"strength": 0.7}, {"controlnet_conditioning_scale": 0.7}),
    "some steps": (
        {"start": 0.2, "end": 0.8},
        {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
    ),
    "guess": ({"guess": True}, {"guess_mode": True}),
}


CASES = {"strength": ("openvino", False), "some steps": ("onnx", True), "guess": ("onnx", False)}


@pytest.mark.parametrize("how", SHARES)
def test_a_controlnet_equals_diffusers(ours, theirs, control_bundles, how):
    """Two pictures at once, one picture for both, which is of another size; a sampler that asks once in a step."""
    (own, their), (engine, two_calls) = SHARES[how], CASES[how]
    seen, pipe = picture(80, 48), theirs(PLAIN, "sd1")
    made = painted(
        ours("sd1", engine),
        (3, 8),
        two_calls=two_calls,
        controls=[{"model": control_bundles("sd1"), "image": seen, **own}],
    )
    assert far(made, expected(pipe, (3, 8), image=seen, **SIZE, **their)) < TOLERANCE
    assert "is 80x48 and is stretched to 64x64" in " ".join(made.warnings)


def test_several_controlnets_are_summed(ours, theirs, control_bundles):
    first, second = picture(), picture(phase=2.0)
    made = painted(
        ours("sd1", "onnx"),
        controls=[
            {"model": control_bundles("sd1"), "image": first, "strength": 0.8},
            {"model": control_bundles("sd1", 1), "image": second, "strength": 0.5, "end": 0.5},
        ],
    )
    how = {"controlnet_conditioning_scale": [0.8, 0.5], "control_guidance_start": [0.0, 0.0]}
    how["control_guidance_end"] = [1.0, 0.5]
    assert far(made, expected(theirs(PLAIN, "sd1", (0, 1)), image=[first, second], **SIZE, **how)) < TOLERANCE


def test_a_controlnet_over_a_picture_and_through_a_mask(ours, theirs, control_bundles):
    """Of one that is repainted, of a hole in it, and of a hole by a model that was made for that."""
    below, seen = picture(phase=1.0), picture()
    controls = [{"model": control_bundles("sd1"), "image": seen}]
    over = {"image": below, "strength": 0.6}
    pipe = ours("sd1", "openvino")
    made = painted(pipe, **over, controls=controls)
    assert far(made, expected(theirs(REPAINTS, "sd1"), control_image=seen, **over)) < TOLERANCE
    over = {"image": below, "strength": 1.0}
    made = painted(pipe, **over, mask=hole(), mask_blur=0, restore=False, controls=controls)
    inpainted = expected(theirs(INPAINTS, "sd1"), control_image=seen, mask_image=hole(), **SIZE, **over)
    assert far(made, inpainted) < TOLERANCE


def test_a_model_of_nine_channels_shows_its_controlnet_four(ours, theirs, control_bundles):
    over = {"image": picture(phase=1.0), "strength": 1.0}
    controls = [{"model": control_bundles("sd1-inpaint"), "image": picture()}]
    made = painted(ours("sd1-inpaint", "onnx"), **over, mask=hole(), mask_blur=0, restore=False, controls=controls)
    how = {"control_image": picture(), "mask_image": hole(), **SIZE, **over}
    assert far(made, expected(theirs(INPAINTS, "sd1-inpaint"), **how)) < TOLERANCE


def test_a_controlnet_of_sdxl_equals_diffusers(ours, theirs, control_bundles):
    controls = [{"model": control_bundles("sdxl"), "image": picture(), "strength": 0.9}]
    made = painted(ours("sdxl", "openvino"), controls=controls)
    how = {"image": picture(), "controlnet_conditioning_scale": 0.9, **SIZE}
    assert far(made, expected(theirs(XL, "sdxl"), **how)) < TOLERANCE
