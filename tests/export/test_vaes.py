"""Other VAEs against diffusers: TAESD of real size, poured, and one of AutoencoderKL, exported, in whole pictures."""

from functools import cache, partial

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair.pictures.vae import decode, encode
from pleinair.pouring.pour import pour
from tiny_pipeline import write_tiny_pipeline

TOLERANCE = 2e-3
HOW = {"seed": 5, "steps": 3, "width": 64, "height": 48, "guidance": 4.0, "sampler": "euler"}
engines = pytest.mark.parametrize("engine", ["openvino", "onnx"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(channels)`: diffusers' AutoencoderTiny, random and of real size, and a bundle of it."""
    return cache(partial(poured, tmp_path_factory.mktemp("vaes")))


def poured(folder, channels):
    root = folder / f"{channels}"
    torch.manual_seed(7)
    vae = diffusers.AutoencoderTiny(latent_channels=channels).eval().requires_grad_(False)
    for part in (vae.encoder, vae.decoder):
        for each in part.parameters():
            each.mul_(1.3)
    vae.decoder.layers[-1].bias.fill_(0.5)  # in the middle of what is a colour
    vae.save_pretrained(root / "taesd")
    for _ in pour(root / "taesd", root / "bundle", formats=("openvino", "onnx"), weights="fp32"):
        pass
    return vae, root / "bundle"


@engines
@pytest.mark.parametrize("channels", [4, 16])
def test_taesd_decodes_and_encodes_as_diffusers_does(made, engine, channels):
    theirs, folder = made(channels)
    bundle = open_bundle(folder)
    rng = np.random.default_rng(3)
    z = 2 * rng.standard_normal((2, channels, 9, 7), np.float32)
    pictures = rng.random((1, 48, 72, 3), np.float32)
    with torch.no_grad():
        decoded = theirs.decode(torch.from_numpy(z)).sample.numpy().transpose(0, 2, 3, 1)
        encoded = theirs.encode(torch.from_numpy(2 * pictures.transpose(0, 3, 1, 2) - 1)).latents.numpy()
    vae = bundle.manifest.vae
    ours = decode(open_graph(bundle, vae.decoder, engine), z, vae)
    assert ours.std() > 0.03 and np.abs(ours - (decoded / 2 + 0.5).clip(0, 1)).max() < TOLERANCE
    assert (
        encoded.std() > 0.01
        and np.abs(encode(open_graph(bundle, vae.encoder, engine), pictures, vae) - encoded).max() < TOLERANCE
    )


@pytest.mark.parametrize("engine, start", [("openvino", {}), ("onnx", {"strength": 0.67})], ids=["noise", "picture"])
def test_pictures_through_taesd_equal_diffusers(made, tiny_sources, exported, engine, start):
    """From noise, and from a picture, which it encodes without a draw of noise."""
    theirs, folder = made(4)
    kind, more = diffusers.StableDiffusionPipeline, {"width": 64, "height": 48}
    if start:
        start = {**start, "image": Image.radial_gradient("L").resize((64, 48)).convert("RGB")}
        kind, more = diffusers.StableDiffusionImg2ImgPipeline, start
    reference = kind.from_pretrained(tiny_sources["sd1"], vae=theirs, safety_checker=None)
    expected = painted(reference, **more)
    pipe = pleinair.load(exported("sd1", "fp32"), engine=engine, threads=1, precision="f32")
    assert np.abs(pipe.generate("the red one", **HOW, **start, vae=folder).pixels - expected).max() < TOLERANCE


def painted(reference, **more):
    """A picture of a pipeline of diffusers, as HOW says."""
    reference.scheduler = diffusers.EulerDiscreteScheduler.from_config(reference.scheduler.config)
    reference.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "np"}
    return reference("the red one", generator=torch.Generator().manual_seed(5), **how, **more).images


def test_sdxl_with_an_autoencoder_kl_of_other_weights(tiny_sources, exported, exporting, tmp_path):
    """Of another scale too, as the fp16-fix one is not; exported."""
    source = write_tiny_pipeline(tmp_path / "other", "sdxl", seed=9) / "vae"
    other = diffusers.AutoencoderKL.from_pretrained(source)
    other.register_to_config(scaling_factor=0.3)
    other.save_pretrained(tmp_path / "fixed")
    steps = exporting(tmp_path / "fixed", tmp_path / "bundle", formats=("onnx",), weights="fp32")
    assert [step.done for step in steps][-1] == steps[0].total == len(steps) - 1
    bundle = open_bundle(tmp_path / "bundle")
    assert (bundle.manifest.vae.scale, bundle.manifest.is_vae, bundle.damage()) == (0.3, True, [])
    tiny = tiny_sources["sdxl"]
    reference = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny, vae=other, add_watermarker=False)
    expected = painted(reference, width=64, height=48)
    pipe = pleinair.load(exported("sdxl", "fp32"), engine="onnx", threads=1, precision="f32")
    assert np.abs(pipe.generate("the red one", **HOW, vae=tmp_path / "bundle").pixels - expected).max() < TOLERANCE
