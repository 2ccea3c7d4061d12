"""Families as data: a tiny folder of each, exported by its row, paints what diffusers paints."""

import json
import shutil
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import pleinair
from pairwise import all_pairs
from pleinair.bundle.manifest import Denoiser, Joined
from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import engine_named
from pleinair.errors import BundleError
from pleinair.pipeline import Pipeline
from pleinair.sampling.scheduler_config import check_config
from pleinair.sources.architectures import ARCHITECTURES, family
from pleinair.sources.describing import Made, Tokens, painter_manifest
from pleinair.sources.folder import open_source
from tiny_pipeline import write_scheduler

TOLERANCE = 2e-3
STEPS = 4
torch.set_num_threads(1)
ENGINES = ("openvino", "onnx")
WIDE = {"width": 72, "height": 56}
SIZES = {"square": {"width": 64, "height": 64}, "wide": WIDE}
XL, XL_REPAINTS = "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"


@pytest.fixture(scope="module")
def painter(exported):
    """`painter(family, engine)`: our pipeline, kept loaded."""
    pipes = {}

    def opened(family, engine):
        if (family, engine) not in pipes:
            path = exported(family, "fp32")
            pipes[family, engine] = pleinair.load(path, engine=engine, threads=1, precision="f32")
        return pipes[family, engine]

    return opened


@pytest.fixture(scope="module")
def reference(tiny_sources):
    """`reference(family, kind)`: the diffusers pipeline of a class, on a tiny folder."""
    pipes = {}

    def opened(family, kind):
        if (family, kind) not in pipes:
            pipes[family, kind] = theirs_of(tiny_sources[family], kind)
        return pipes[family, kind]

    return opened


def theirs_of(folder, kind):
    pipe = getattr(diffusers, kind).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def sketch(width, height):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + i) + i) * np.cos(y / (7 - i)) for i in range(3)]
    return Image.fromarray(((np.stack(waves, -1) / 2 + 0.5) * 255).astype(np.uint8))


def hole(width, height):
    mask = Image.new("L", (width, height))
    mask.paste(255, (20, 16, 56, 40))
    return mask


def far(ours, theirs):
    assert ours.pixels.shape == theirs.images.shape and theirs.images.std() > 0.02
    return np.abs(ours.pixels - theirs.images).max()


def painted_by_diffusers(theirs, seeds=(5,), negative=None, **asked):
    """A picture for each seed."""
    repeated = {name: [asked[name]] * len(seeds) for name in ("image",) if name in asked and len(seeds) > 1}
    return theirs(
        ["the red one"] * len(seeds),
        negative_prompt=negative if negative is None else [negative] * len(seeds),
        generator=drawn(seeds),
        output_type="np",
        **asked | repeated,
    )


def painted(pipe, seeds=(5,), negative=None, *, ours=None, **asked):
    """The same pictures by us, who are asked for what diffusers is, and for `ours` too."""
    names = {"num_inference_steps": "steps", "guidance_scale": "guidance", "image_guidance_scale": "image_guidance"}
    names |= {"mask_image": "mask"} | {name: name for name in ("width", "height", "image", "strength", "timesteps")}
    told = {names[name]: value for name, value in asked.items()} | (ours or {})
    return pipe.generate("the red one", negative, seed=seeds, batch=len(seeds), **told)


def both(pipe, theirs, seeds=(5,), negative=None, *, ours=None, **asked):
    """How far such a job is from diffusers."""
    expected = painted_by_diffusers(theirs, seeds, negative, **asked)
    return far(painted(pipe, seeds, negative, ours=ours, **asked), expected)


SAID = {
    "nothing-said": {"negative": None, "guidance_scale": 5.0},
    "an-empty-text": {"negative": "", "guidance_scale": 5.0},
    "a-negative-prompt": {"negative": "and on", "guidance_scale": 5.0},
    "without-guidance": {"negative": None, "guidance_scale": 1.0},
}


@pytest.mark.parametrize("said, size, engine", all_pairs(tuple(SAID), tuple(SIZES), ENGINES))
def test_sdxl_equals_diffusers(painter, reference, said, size, engine):
    """Two pictures at once; zeros for a negative prompt that was not given, and only for that."""
    asked = {"num_inference_steps": STEPS, **SIZES[size], **SAID[said]}
    assert both(painter("sdxl", engine), reference("sdxl", XL), (3, 8), **asked) < TOLERANCE


@pytest.mark.parametrize("engine", ENGINES)
def test_sdxl_repaints_as_diffusers_does(painter, reference, engine):
    asked = {"image": sketch(72, 56), "strength": 0.6, "num_inference_steps": 6, "guidance_scale": 4.0}
    assert both(painter("sdxl", engine), reference("sdxl", XL_REPAINTS), ours=WIDE, **asked) < 5e-3


@pytest.mark.parametrize("guidance, size, engine", all_pairs((1.0, 8.5), tuple(SIZES), ENGINES))
def test_a_network_that_is_told_the_guidance_equals_diffusers(painter, reference, guidance, size, engine):
    theirs = reference("lcm", "LatentConsistencyModelPipeline")
    expected = theirs(["the red one"] * 2, num_inference_steps=STEPS, guidance_scale=guidance, generator=drawn((3, 8)),
                      output_type="np", **SIZES[size])  # fmt: skip
    how = {"steps": STEPS, "guidance": guidance, "seed": (3, 8), "batch": 2, **SIZES[size]}
    assert far(painter("lcm", engine).generate("the red one", **how), expected) < TOLERANCE


def test_manifests_say_what_the_families_are(exported):
    xl = open_bundle(exported("sdxl", "fp32")).manifest
    assert (xl.family, xl.guidance, xl.tasks) == ("sdxl", "cfg", ("text2image", "image2image", "inpaint"))
    assert [encoder.output for encoder in xl.text_encoders] == ["hidden_states.2", "hidden_states.3"]
    assert [encoder.pooled for encoder in xl.text_encoders] == [None, "text_embeds"]
    assert [encoder.empty for encoder in xl.text_encoders] == ["zeros", "zeros"]
    assert xl.text_encoders[0].pad_id == xl.text_encoders[0].eos_id and xl.text_encoders[1].pad_id == 0
    both = ("text_encoder", "text_encoder_2")
    assert xl.conditioning == {"text": Joined(both), "pooled": Joined(both[1:], pooled=True)}
    assert xl.defaults.guidance == 5.0
    feeds = {"sample": "latents", "timestep": "timestep", "encoder_hidden_states": "text"}
    assert xl.denoiser == Denoiser("unet", feeds | {"text_embeds": "pooled", "time_ids": "size_ids"}, "out_sample")
    second = list(xl.graphs["text_encoder_2"].outputs)  # other programs take them by their place
    assert second == ["text_embeds", "last_hidden_state", *(f"hidden_states.{n}" for n in range(5))]
    lcm = open_bundle(exported("lcm", "fp32")).manifest
    assert (lcm.guidance, lcm.defaults.steps, lcm.defaults.guidance) == ("embedded", 4, 8.5)
    assert lcm.denoiser.feeds == feeds | {"timestep_cond": "guidance_embedding"}
    refiner = open_bundle(exported("sdxl-refiner", "fp32")).manifest
    assert (refiner.family, refiner.tasks) == ("sdxl-refiner", ("image2image", "inpaint"))
    assert refiner.denoiser.feeds == feeds | {"text_embeds": "pooled", "time_ids": "scored_size_ids"}
    assert [(each.graph, each.empty) for each in refiner.text_encoders] == [("text_encoder_2", "encode")]


STEERED = ((7.5, 1.5), (3.0, 1.0), (1.0, 1.5))  # by the text, by the picture


@pytest.mark.parametrize("steered, size, engine", all_pairs(STEERED, tuple(SIZES), ENGINES))
def test_editing_a_picture_equals_diffusers(painter, reference, steered, size, engine):
    theirs = reference("pix2pix", "StableDiffusionInstructPix2PixPipeline")
    asked = {"image": sketch(**SIZES[size]), "num_inference_steps": STEPS}
    asked |= {"guidance_scale": steered[0], "image_guidance_scale": steered[1]}
    assert both(painter("pix2pix", engine), theirs, (3, 8), "and on", ours=SIZES[size], **asked) < TOLERANCE


# ---- shapes of networks ----


@pytest.mark.parametrize("size", SIZES)
def test_no_middle_and_a_tiny_autoencoder(painter, reference, size):
    """BK-SDM and SDXS, which a trailing scheduler paints in few steps and without guidance, unless told."""
    asked = {"num_inference_steps": 4, "guidance_scale": 0.0, **SIZES[size]}
    expected = painted_by_diffusers(reference("sdxs", "StableDiffusionPipeline"), (3, 8), **asked)
    for engine in ENGINES:
        ours = painter("sdxs", engine).generate("the red one", seed=(3, 8), batch=2, **SIZES[size])
        assert far(ours, expected) < TOLERANCE, engine


@pytest.mark.parametrize("kind, engine", zip(("Img2Img", "Inpaint"), ENGINES, strict=True))
def test_an_encoder_that_answers_with_latents_draws_no_noise(painter, reference, kind, engine):
    theirs, masked = reference("sdxs", f"StableDiffusion{kind}Pipeline"), kind == "Inpaint"
    asked = {"image": sketch(72, 56), "strength": 0.6, "num_inference_steps": 5, "guidance_scale": 1.0}
    asked |= {"mask_image": hole(72, 56), **WIDE} if masked else {}
    ours = {**WIDE, **({"mask_blur": 0, "restore": False} if masked else {})}
    assert both(painter("sdxs", engine), theirs, ours=ours, **asked) < TOLERANCE


PUBLISHED = {  # millions of parameters of the UNet
    "sdxl": 2567.5,
    "sdxl-refiner": 2259.5,
    "ssd-1b": 1331.3,
    "vega": 745.2,
    "bk-sdm-base": 579.4,
    "bk-sdm-small": 482.3,
    "bk-sdm-tiny": 323.4,
}


TIMES = {("sd15", 64): 1.0, ("vega", 128): 3.5}


def test_networks_multiply_as_often_as_docs_say():
    """Some of docs/models.md's, which a machine's seconds go with: numbers of latents' sides, as often as SD 1.5."""
    counted = {}
    for model, side in TIMES:
        config = ARCHITECTURES[model]["unet"]
        told = {"text_embeds": torch.zeros(1, 1280, device="meta"), "time_ids": torch.zeros(1, 6, device="meta")}
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            unet = diffusers.UNet2DConditionModel(**config)
            text = torch.zeros(1, 77, config["cross_attention_dim"])
            unet(torch.zeros(1, 4, side, side), torch.zeros(1), text, added_cond_kwargs=told)
        counted[model, side] = counter.get_total_flops()
    found = {key: round(count / counted["sd15", 64], 1) for key, count in counted.items()}
    assert found == TIMES and round(counted["sd15", 64] / 2e12, 2) == 0.4


@pytest.mark.parametrize("model", PUBLISHED)
def test_architectures_have_their_published_sizes(model):
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**ARCHITECTURES[model]["unet"])
    assert round(sum(each.numel() for each in unet.parameters()) / 1e6, 1) == PUBLISHED[model]
    assert [part.folder for part in family(model).parts] == [*ARCHITECTURES[model]]


# ---- what only the small files say ----


def described(folder, base, engine):
    """A pipeline of a folder, described from its small files alone; the graphs and the tokenizers are `base`'s."""
    model, old = open_source(folder), base.manifest
    tokens = {each.tokenizer: Tokens(each.length, each.bos_id, each.eos_id, each.pad_id) for each in old.text_encoders}
    made = Made(model.name, old.graphs, old.files, old.origin, model.defaults, tokens)
    bundle = replace(base, manifest=painter_manifest(model, made), scheduler_config=check_config(model.scheduler))
    return Pipeline(bundle, engine_named(engine), threads=1, precision="f32")


def copied(source, folder, **changed):
    """A copy of a folder with other values in the configs of its components, and in model_index.json ("index")."""
    shutil.copytree(source, folder)
    places = {"index": "model_index.json", "scheduler": "scheduler/scheduler_config.json", "vae": "vae/config.json"}
    for place, more in changed.items():
        file = folder / places[place]
        file.write_text(json.dumps(json.loads(file.read_text()) | more))
    return folder


MOMENTS = {"latents_mean": [-1.6, 1.1, 3.2, -2.6], "latents_std": [8.4, 5.2, 5.9, 5.2], "scaling_factor": 0.5}
TRAILING = {"timestep_spacing": "trailing"}
ZERO_SNR = TRAILING | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "clip_sample": False}
UNTOLD = {"num_inference_steps": 20, "guidance_scale": 5.0}  # what any SDXL is painted with
TURBO, EULER = "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler"
MADE_OF_SDXL = {  # scheduler, what diffusers is asked for, the VAE's config, what pleinair.json says
    "turbo": ((TURBO, TRAILING), {"num_inference_steps": 4}, {}, {}),
    "lightning, one step": ((EULER, TRAILING | {"prediction_type": "sample"}), {"num_inference_steps": 1}, {}, {}),
    "lightning, two steps": ((EULER, TRAILING), {"num_inference_steps": 2}, {}, {"steps": 2}),
    "lightning, eight steps": ((EULER, TRAILING), {"num_inference_steps": 8}, {}, {"steps": 8}),
    "hyper": (("LCMScheduler", {"original_inference_steps": 50}), {"timesteps": [800]}, {}, {}),
    "playground": (
        ("EDMDPMSolverMultistepScheduler", {"sigma_data": 0.5}),
        UNTOLD | {"guidance_scale": 3.0},
        MOMENTS,
        {},
    ),
    "zero-snr": (("DDIMScheduler", ZERO_SNR), UNTOLD, {}, {}),
}


@pytest.mark.parametrize("name", MADE_OF_SDXL)
def test_a_model_is_painted_as_its_configs_say(name, tiny_sources, exported, reference, tmp_path):
    """Without a flag: the graphs are SDXL's, the scheduler and the autoencoder's numbers are not."""
    (kind, config), asked, vae, wishes = MADE_OF_SDXL[name]
    index, listed = {"scheduler": ["diffusers", kind]}, {name: asked[name] for name in asked if name == "timesteps"}
    write_scheduler(tmp_path, kind, config)
    scheduler = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text()) | listed
    folder = copied(tiny_sources["sdxl"], tmp_path / "model", index=index, vae=vae)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "pleinair.json").write_text(json.dumps({"defaults": wishes}))
    theirs = reference("sdxl", XL)
    own = {"scheduler": getattr(diffusers, kind).from_pretrained(folder / "scheduler"), "vae": theirs.vae}
    if vae:
        own["vae"] = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    expected = type(theirs)(**theirs.components | own)(
        "the red one", generator=drawn([5]), output_type="np", **{"guidance_scale": 0.0} | asked | WIDE
    )
    ours = described(folder, open_bundle(exported("sdxl", "fp32")), "onnx").generate("the red one", seed=5, **WIDE)
    assert far(ours, expected) < TOLERANCE
    assert ours.settings["steps"] == asked.get("num_inference_steps", 1)


LISTED = {"num_inference_steps": STEPS, "guidance_scale": 5.0, **WIDE}
SHOWN = LISTED | {"image": sketch(72, 56)}
HOLE = {"mask_image": hole(72, 56)}
EDIT_XL = "StableDiffusionXLInstructPix2PixPipeline"
MODELS = {  # pipeline class, what diffusers is asked for
    "ssd-1b": (XL, LISTED),
    "vega": (XL, LISTED),
    "sdxl-lcm": (XL, LISTED | {"guidance_scale": 8.5}),
    "sdxl-inpaint": ("StableDiffusionXLInpaintPipeline", SHOWN | HOLE | {"strength": 1.0}),
    "cosxl-edit": (EDIT_XL, SHOWN | {"image_guidance_scale": 1.5}),
    "bk-sdm": ("StableDiffusionPipeline", LISTED),
    "sd1-inpaint": ("StableDiffusionInpaintPipeline", SHOWN | HOLE | {"strength": 1.0}),
    "sd2-inpaint": ("StableDiffusionInpaintPipeline", SHOWN | HOLE | {"strength": 0.6, "num_inference_steps": 7}),
}


@pytest.mark.parametrize("family", MODELS)
def test_a_model_equals_diffusers(painter, tiny_sources, family):
    """Two pictures at once that are no squares on both engines; a square, which proves less, on the quicker one."""
    kind, asked = MODELS[family]
    ours = {"mask_blur": 0, "restore": False} if "mask_image" in asked else {}
    theirs = theirs_of(tiny_sources[family], kind)
    expected = painted_by_diffusers(theirs, (3, 8), **asked)
    for engine in ENGINES:
        assert far(painted(painter(family, engine), (3, 8), ours=ours, **asked), expected) < TOLERANCE, engine
    shown = {name: value.resize((64, 64)) for name, value in asked.items() if isinstance(value, Image.Image)}
    assert both(painter(family, "onnx"), theirs, ours=ours, **asked | shown | SIZES["square"]) < TOLERANCE


def test_sdxl_that_edits_as_stable_diffusion_does(tiny_sources, exported, tmp_path):
    """Only CosXL is shown the picture's latents at the scale of the loop."""
    folder = copied(tiny_sources["cosxl-edit"], tmp_path / "edit", index={"is_cosxl_edit": False})
    base, theirs = open_bundle(exported("cosxl-edit", "fp32")), theirs_of(folder, EDIT_XL)
    assert base.manifest.denoiser.channels == ("scaled_image",)
    pipe = described(folder, base, "onnx")
    assert pipe.bundle.manifest.denoiser.channels == ("image",)
    assert both(pipe, theirs, image_guidance_scale=1.5, **SHOWN) < TOLERANCE


# ---- refiners ----


@pytest.mark.parametrize("size, guidance, negative", [("wide", 5.0, "and on"), ("square", 1.0, None)])
def test_a_refiner_repaints_as_diffusers_does(painter, reference, size, guidance, negative):
    asked = {"image": sketch(**SIZES[size]), "strength": 0.6, "num_inference_steps": 6, "guidance_scale": guidance}
    expected = painted_by_diffusers(reference("sdxl-refiner", XL_REPAINTS), (3, 8), negative, **asked)
    for engine in ENGINES:
        pipe = painter("sdxl-refiner", engine)
        assert far(painted(pipe, (3, 8), negative, ours=SIZES[size], **asked), expected) < TOLERANCE, engine
        with pytest.raises(BundleError, match="not text2image; give it a picture"):
            pipe.generate("the red one")


@pytest.mark.parametrize(
    "sampler, size, seeds, start", [("euler", "square", (3, 8), 0.6), ("euler_a", "wide", (5,), 0.8)]
)
def test_a_refiner_takes_over_where_diffusers_hands_over(painter, exported, tiny_sources, sampler, size, seeds, start):
    """By timestep; the refiner of diffusers is given the model's own VAE, as its documentation says."""
    kind = {"euler": diffusers.EulerDiscreteScheduler, "euler_a": diffusers.EulerAncestralDiscreteScheduler}[sampler]
    base, refine = theirs_of(tiny_sources["sdxl"], XL), theirs_of(tiny_sources["sdxl-refiner"], XL_REPAINTS)
    refine.vae = base.vae
    for each in (base, refine):
        each.scheduler = kind.from_config(each.scheduler.config)
    common = {"prompt": ["the red one"] * len(seeds), "negative_prompt": ["and on"] * len(seeds)}
    common |= {"num_inference_steps": 7, "guidance_scale": 5.0, "generator": drawn(seeds)}
    begun = base(**common, **SIZES[size], denoising_end=start, output_type="latent").images
    theirs = refine(**common, image=begun, denoising_start=start, output_type="np")
    how = {"sampler": sampler, "steps": 7, "guidance": 5.0, "seed": seeds, "batch": len(seeds), **SIZES[size]}
    how |= {"refiner": exported("sdxl-refiner", "fp32"), "refiner_start": start}
    assert far(painter("sdxl", "onnx").generate("the red one", "and on", **how), theirs) < TOLERANCE
