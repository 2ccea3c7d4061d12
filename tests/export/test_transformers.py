"""Transformers on the loop of UNets: tiny folders, exported, paint what diffusers paints, on both engines."""

import inspect

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import pleinair
from pleinair.bundle.opening import open_bundle

TOLERANCE = 2e-3
SEEDS = (3, 8)
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reference(tiny_sources):
    """`reference(family)`: the diffusers pipeline on a tiny folder."""
    pipes = {}

    def opened(family):
        if family not in pipes:
            without = {} if family != "sd3-without-t5" else {"text_encoder_3": None, "tokenizer_3": None}
            pipes[family] = diffusers.DiffusionPipeline.from_pretrained(tiny_sources[family], **without)
            pipes[family].set_progress_bar_config(disable=True)
        return pipes[family]

    return opened


@pytest.fixture(scope="module")
def painter(exported):
    """`painter(family, engine)`: our pipeline, kept loaded."""
    pipes = {}

    def opened(family, engine):
        if (family, engine) not in pipes:
            pipes[family, engine] = pleinair.load(exported(family, "fp32"), engine=engine, threads=1, precision="f32")
        return pipes[family, engine]

    return opened


def drawn(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


LONG = "the red house on the sand, " * 30
CASES = {  # family, size, steps, guidance, negative, prompt
    "sd3-guided": ("sd3", (16, 16), 4, 7.0, "and on", "the red one"),
    "sd3-wide-nothing-said": ("sd3", (24, 16), 3, 4.0, None, "the red one"),
    "sd3-tall-without-guidance": ("sd3", (16, 20), 3, 1.0, None, "the red one"),
    "flux": ("flux", (16, 16), 4, 1.0, None, "the red one"),
    "flux-wide-and-long": ("flux", (24, 16), 3, 1.0, None, LONG),
    "flux-guided-against-a-text": ("flux", (16, 20), 3, 2.5, "and on", "the red one"),
    "without-t5": ("sd3-without-t5", (24, 16), 3, 4.0, "and on", "the red one"),
    "pixart-guided": ("pixart", (16, 16), 4, 4.5, "and on", "the red one"),
    "pixart-wide-and-loud": ("pixart", (24, 16), 3, 1.0, None, "The RED one"),
    "pixart-tall-nothing-said": ("pixart", (16, 24), 3, 3.0, None, "the red one"),
    "sana": ("sana", (32, 32), 2, 4.5, None, "The red one"),
    "sana-wide-and-long": ("sana", (64, 32), 3, 2.0, None, LONG),
    "told-the-guidance-and-shifted": ("flux-dev", (24, 16), 3, 3.5, None, "the red one"),
    "without-t5-square": ("sd3-without-t5", (16, 16), 2, 1.0, None, "the red one"),
    "told-the-guidance-square": ("flux-dev", (16, 16), 2, 1.5, None, "the red one"),
}
ENGINES = ("openvino", "onnx")
ON_BOTH = (
    "sd3-guided",
    "flux",
    "without-t5",
    "pixart-guided",
    "sana",
    "sana-wide-and-long",
    "told-the-guidance-and-shifted",
)
PAINTED = [
    (case, engine)
    for place, case in enumerate(CASES)
    for engine in (ENGINES if case in ON_BOTH else ENGINES[place % 2 :][:1])  # the others by turns
]
READ = {"flux": 256, "flux-dev": 512}  # tokens


def theirs_of(pipe, family, prompt, negative, steps, guidance, **more):
    """What diffusers paints, from two seeds."""
    how = {"num_inference_steps": steps, "output_type": "np", "generator": drawn(SEEDS)} | more
    nothing = "" if family == "pixart" else None
    how |= {"negative_prompt": nothing if negative is None else [negative] * 2} if family != "sana" else {}
    how |= {"use_resolution_binning": False} if family in ("pixart", "sana") else {}
    how |= {"intermediate_timesteps": 1.3 if steps == 2 else None} if family == "sana" else {}
    how |= {"true_cfg_scale" if family == "flux" else "guidance_scale": guidance}
    how |= {"max_sequence_length": READ[family]} if family in READ else {}
    return pipe([prompt] * 2, **how).images


@pytest.mark.parametrize("case, engine", PAINTED)
def test_a_picture_equals_diffusers(painter, reference, case, engine):
    family, (width, height), steps, guidance, negative, prompt = CASES[case]
    theirs = theirs_of(reference(family), family, prompt, negative, steps, guidance, width=width, height=height)
    given = {"steps": steps, "guidance": guidance, "seed": SEEDS, "batch": 2, "width": width, "height": height}
    ours = painter(family, engine).generate(prompt, negative, **given)
    assert ours.pixels.shape == theirs.shape
    assert np.abs(ours.pixels - theirs).max() < TOLERANCE
    assert theirs.std() > 0.01
    assert ("left out" in str(ours.warnings)) == (prompt == LONG)


PAINTED_OVER = {  # pipeline class, where white is repainted, the engine
    "sd3": ("StableDiffusion3Img2ImgPipeline", None, "onnx"),
    "flux": ("FluxImg2ImgPipeline", None, "openvino"),
    "sd3, in part": ("StableDiffusion3InpaintPipeline", (8, 0, 24, 16), "openvino"),
    "flux, in part": ("FluxInpaintPipeline", (8, 0, 24, 16), "onnx"),
}


@pytest.mark.parametrize("name", PAINTED_OVER)
def test_painting_over_a_picture_equals_diffusers(painter, reference, name):
    """diffusers' SD 3 decodes what was repainted in part without the VAE's shift; its latents are the same."""
    family, (kind, box, engine) = name.partition(",")[0], PAINTED_OVER[name]
    pipe = getattr(diffusers, kind)(**reference(family).components)
    pipe.set_progress_bar_config(disable=True)
    image = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
    more = {"strength": 0.7, "width": 24, "height": 16}  # 3.5 steps of 5, of which diffusers walks 4
    masks = {}
    if box:
        masks = {"mask_image": Image.new("L", (24, 16))}
        masks["mask_image"].paste(255, box)
    theirs = theirs_of(
        pipe, family, "the red one", None, 5, 4.0, image=[image] * 2, output_type="latent", **more, **masks
    )
    given = {"steps": 5, "guidance": 4.0 if family == "sd3" else 1.0, "seed": SEEDS, "batch": 2, **more}
    given |= {"mask": masks["mask_image"], "mask_blur": 0, "restore": False} if box else {}
    ours = painter(family, engine).generate("the red one", image=image, **given)
    theirs = theirs if family == "sd3" else pipe._unpack_latents(theirs, 16, 24, pipe.vae_scale_factor)
    assert np.abs(ours.latents - theirs.numpy()).max() < TOLERANCE and len(ours.timings.steps) == 4
    with torch.no_grad():
        decoded = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor).sample
    pixels = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours.pixels - pixels).max() < TOLERANCE


def test_manifests_say_what_transformers_are(exported):
    sd3, flux = (open_bundle(exported(family, "fp32")).manifest for family in ("sd3", "flux"))
    text = sd3.conditioning["text"]
    assert (text.encoders, text.then) == (("text_encoder", "text_encoder_2"), ("text_encoder_3",))
    assert (text.width, text.zeros) == (64, 0)
    assert sd3.tasks == flux.tasks == ("text2image", "image2image", "inpaint")
    assert (sd3.latents.longest, flux.latents.longest) == (24 * 2 * 2, None)  # places x latents x pixels
    assert (sd3.defaults.steps, sd3.defaults.guidance, sd3.latents.multiple) == (40, 4.5, 4)  # as 3.5 medium
    assert (sd3.vae.scale, sd3.vae.shift, sd3.latents.channels) == (1.5305, 0.0609, 16)
    assert flux.conditioning["text"].encoders == ("text_encoder_2",)
    assert flux.conditioning["pooled"].encoders == ("text_encoder",)
    assert (flux.defaults.steps, flux.defaults.guidance, flux.latents.multiple) == (4, 1.0, 4)
    assert (flux.denoiser.patch, flux.denoiser.time_scale) == (2, 0.001)
    t5 = flux.text_encoders[1]
    assert (t5.bos_id, t5.eos_id, t5.pad_id, t5.length) == (None, 1, 0, 256)
    alone, dev = (open_bundle(exported(family, "fp32")).manifest for family in ("sd3-without-t5", "flux-dev"))
    assert (alone.conditioning["text"].then, alone.conditioning["text"].zeros) == ((), 256)
    assert (dev.guidance, dev.defaults.steps, dev.defaults.guidance) == ("embedded", 28, 3.5)
    assert (dev.denoiser.feeds["guidance"], dev.text_encoders[1].length) == ("guidance", 512)
    pixart, sana = (open_bundle(exported(family, "fp32")).manifest for family in ("pixart", "sana"))
    (t5,), (gemma,) = pixart.text_encoders, sana.text_encoders
    assert (t5.masked, t5.lowered, t5.length, t5.prefix, t5.kept) == (True, True, 300, "", None)
    assert pixart.conditioning["text_mask"].mask and pixart.conditioning["text_mask"].encoders == ("text_encoder",)
    assert (pixart.defaults.sampler, pixart.defaults.steps, pixart.defaults.guidance) == ("dpmpp_2m", 20, 4.5)
    asked = inspect.signature(diffusers.SanaSprintPipeline.__call__).parameters
    assert gemma.prefix == "\n".join(asked["complex_human_instruction"].default)
    assert (gemma.bos_id, gemma.eos_id, gemma.kept, gemma.room) == (2, None, 300, 298)
    assert (sana.guidance, sana.denoiser.guidance_scale, sana.denoiser.time_scale) == ("embedded", 0.1, 0.001)
    assert (sana.defaults.sampler, sana.defaults.steps, sana.vae.kind) == ("lcm", 2, "plain")
