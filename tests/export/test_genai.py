"""openvino-genai opens our bundles and paints what diffusers paints.

It has no pipeline for PixArt-Sigma, Sana-Sprint, editing or SDXL's refiner, and no TAESD.
"""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline

genai = pytest.importorskip("openvino_genai")
SIZE, STEPS, GUIDANCE = 64, 4, 5.0
SMALL = 16  # where one latent stands for 2 x 2 pixels


class Normals(genai.Generator):
    """The noise of a NumPy generator, where openvino-genai asks for numbers one by one or as a tensor."""

    def __init__(self):
        super().__init__()
        self.numbers = np.random.default_rng(0)

    def next(self):
        return float(self.numbers.standard_normal(dtype=np.float32))

    def randn_tensor(self, shape):
        import openvino

        return openvino.Tensor(self.numbers.standard_normal(tuple(shape), dtype=np.float32))


def picture(bundle, **how):
    pipe = genai.Text2ImagePipeline(str(bundle), "CPU", INFERENCE_PRECISION_HINT="f32")
    request = {"width": SIZE, "height": SIZE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **how}
    return np.array(pipe.generate("the red and", generator=Normals(), **request).data)[0] / 255


def decibel(ours, theirs):
    return -10 * np.log10(np.mean((ours - theirs) ** 2))


def test_same_picture_as_diffusers(tiny_sources, exported):
    """In 8 bits."""
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sources["sd2"], safety_checker=None)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    latents = np.random.default_rng(0).standard_normal((1, 4, SIZE // 8, SIZE // 8), dtype=np.float32)
    theirs = pipe(
        "the red and",
        latents=torch.from_numpy(latents),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        width=SIZE,
        height=SIZE,
        output_type="np",
    ).images[0]
    assert decibel(picture(exported("sd2", "int8")), theirs) > 28


FAMILIES = {  # a square, as genai swaps the sides of SDXL's; one step of LCM, which draws new noise between two
    "sdxl": {},
    "vega": {},
    "bk-sdm": {},
    "lcm": {"num_inference_steps": 1},
    "sd3": {"width": SMALL, "height": SMALL},
    "flux": {"width": SMALL, "height": SMALL, "guidance_scale": 0.0, "max_sequence_length": 256},
    "flux-dev": {"width": SMALL, "height": SMALL, "num_inference_steps": 1},  # of two it lays the second otherwise
}


@pytest.mark.parametrize("family", FAMILIES)
def test_same_picture_as_diffusers_by_the_models_own_scheduler(tiny_sources, exported, family):
    """Up to the 8 bits of its pictures."""
    size = {"width": SIZE, "height": SIZE}
    how = {**size, "num_inference_steps": 2, "guidance_scale": GUIDANCE, **FAMILIES[family]}
    pipe = DiffusionPipeline.from_pretrained(tiny_sources[family])
    pipe.set_progress_bar_config(disable=True)
    channels, side = pipe.vae.config.latent_channels, how["width"] // pipe.vae_scale_factor
    latents = torch.from_numpy(np.random.default_rng(0).standard_normal((1, channels, side, side), dtype=np.float32))
    if hasattr(pipe, "_pack_latents"):
        latents = pipe._pack_latents(latents, 1, channels, side, side)
    theirs = pipe("the red and", latents=latents, output_type="np", **how).images[0]
    assert theirs.std() > 0.01 and decibel(picture(exported(family, "fp32"), **how), theirs) > 50


def test_inpainting_models_open(exported):
    """Nine channels, and the pipeline class that says so in model_index.json."""
    import openvino

    pipe = genai.InpaintingPipeline(str(exported("sd1-inpaint", "fp32")), "CPU", INFERENCE_PRECISION_HINT="f32")
    photo = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    hole = np.zeros_like(photo)
    hole[:, 16:48, 16:48] = 255
    request = {"width": SIZE, "height": SIZE, "num_inference_steps": STEPS, "strength": 1.0}
    made = pipe.generate("the red", openvino.Tensor(photo), openvino.Tensor(hole), generator=Normals(), **request)
    assert np.array(made.data).shape == (1, SIZE, SIZE, 3)
