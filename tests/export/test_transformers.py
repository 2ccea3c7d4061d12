"""Transformers on the loop of UNets: tiny folders, exported, paint what diffusers paints, on both engines."""

import diffusers
import numpy as np
import pytest
import torch

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair_export import export
from tiny_transformers import write_tiny_transformer

TOLERANCE = 2e-3
SEEDS = (3, 8)
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def source(once):
    """`source(family)`: a diffusers folder with random weights."""
    return lambda family: once(f"sources/tiny-{family}", lambda folder: write_tiny_transformer(folder, family))


@pytest.fixture(scope="module")
def bundle(source, once):
    """`bundle(family)`: its export, in both formats."""

    def make(family):
        def run(folder):
            for _ in export(source(family), folder, formats=("openvino", "onnx"), weights="fp32"):
                pass

        return once(f"bundles/{family}-fp32", run)

    return make


@pytest.fixture(scope="module")
def reference(source):
    """`reference(family)`: the diffusers pipeline on a tiny folder."""
    pipes = {}

    def opened(family):
        if family not in pipes:
            pipes[family] = diffusers.DiffusionPipeline.from_pretrained(source(family))
            pipes[family].set_progress_bar_config(disable=True)
        return pipes[family]

    return opened


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def painter(request, bundle):
    """`painter(family)`: our pipeline, kept loaded."""
    pipes = {}

    def opened(family):
        if family not in pipes:
            pipes[family] = pleinair.load(bundle(family), engine=request.param, threads=1, precision="f32")
        return pipes[family]

    return opened


def drawn(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


LONG = "the red house on the sand, " * 30
CASES = {
    "sd3-square-guided": ("sd3", (64, 64), 4, 7.0, "and on", "the red one"),
    "sd3-wide-nothing-said": ("sd3", (96, 64), 3, 4.0, None, "the red one"),
    "sd3-tall-without-guidance": ("sd3", (64, 80), 3, 1.0, None, "the red one"),
    "flux-square": ("flux", (64, 64), 4, 1.0, None, "the red one"),
    "flux-wide-and-long": ("flux", (96, 64), 3, 1.0, None, LONG),
    "flux-guided-against-a-text": ("flux", (64, 80), 3, 2.5, "and on", "the red one"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_picture_equals_diffusers(painter, reference, case):
    family, (width, height), steps, guidance, negative, prompt = CASES[case]
    how = {"num_inference_steps": steps, "width": width, "height": height, "output_type": "np"}
    how |= {"generator": drawn(SEEDS), "negative_prompt": None if negative is None else [negative] * 2}
    if family == "flux":
        how |= {"true_cfg_scale": guidance, "max_sequence_length": 256}
    else:
        how |= {"guidance_scale": guidance}
    theirs = reference(family)([prompt] * 2, **how)
    given = {"steps": steps, "guidance": guidance, "seed": SEEDS, "batch": 2, "width": width, "height": height}
    ours = painter(family).generate(prompt, negative, **given)
    assert ours.pixels.shape == theirs.images.shape
    assert np.abs(ours.pixels - theirs.images).max() < TOLERANCE
    assert theirs.images.std() > 0.01
    assert ("left out" in str(ours.warnings)) == (prompt == LONG)


def test_manifests_say_what_transformers_are(bundle):
    sd3, flux = (open_bundle(bundle(family)).manifest for family in ("sd3", "flux"))
    text = sd3.conditioning["text"]
    assert (text.encoders, text.then) == (("text_encoder", "text_encoder_2"), ("text_encoder_3",))
    assert (text.width, text.zeros) == (64, 0)
    assert (sd3.defaults.steps, sd3.defaults.guidance, sd3.latents.multiple) == (28, 7.0, 16)
    assert (sd3.vae.scale, sd3.vae.shift, sd3.latents.channels) == (1.5305, 0.0609, 16)
    assert flux.conditioning["text"].encoders == ("text_encoder_2",)
    assert flux.conditioning["pooled"].encoders == ("text_encoder",)
    assert (flux.defaults.steps, flux.defaults.guidance, flux.latents.multiple) == (4, 1.0, 16)
    assert (flux.denoiser.patch, flux.denoiser.time_scale) == (2, 0.001)
    t5 = flux.text_encoders[1]
    assert (t5.bos_id, t5.eos_id, t5.pad_id, t5.length) == (None, 1, 0, 256)
