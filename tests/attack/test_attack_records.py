"""Records of other tools: no key of theirs is lost in silence.

The shapes are those that the tools' sources and public bug reports show, in words of our own. The rule, for every
reader: what a key asks for ends up in the options, or the key is named in a warning, or on the reader's list of
harmless names.
"""

import json
import re

import pytest

from pleinair.files.foreign import fooocus, infotext, invokeai, novelai, read_foreign, sdcpp


def read(size=(64, 64), **texts):
    record, _ = read_foreign({name.replace("__", "-"): text for name, text in texts.items()}, size)
    return record


def asked(record):
    return record.prompt, record.negative, record.options, record.inputs


SAID_TWICE = {"generation_mode", "init_image", "init_image_path", "request_type"}  # by the sample's other keys too
NEEDED = {"Steps", "Version", "positive", "version", "prompt"}  # without which it is no record, or another tool's


def follows(build, raw, path, harmless):
    """Whether the key at this path is harmless, named, or changes what is asked for."""
    record = build(raw)
    dotted = ".".join(path)
    if dotted in harmless or harmless & set(path):
        return True
    said = " ".join(record.warnings).lower()
    if any(re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", said) for name in path):
        return True
    return asked(build(without(raw, path))) != asked(record)


def without(raw, path):
    name, *rest = path
    left = dict(raw)
    if rest:
        left[name] = without(left[name], rest)
    else:
        del left[name]
    return left


def paths(raw, start=()):
    for name, value in raw.items():
        if isinstance(value, dict) and value:
            yield from paths(value, (*start, name))
        else:
            yield *start, name


INVOKE = {
    **{"app_version": "5.6.0", "generation_mode": "img2img", "created_by": "x", "positive_prompt": "a red house"},
    **{"negative_prompt": "fog", "width": 96, "height": 64, "seed": 7, "rand_device": "cuda", "cfg_scale": 6.5},
    **{"cfg_rescale_multiplier": 0.3, "steps": 12, "scheduler": "euler_a", "seamless_x": True, "seamless_y": True},
    **{"clip_skip": 1, "model": {"name": "m"}, "controlnets": [{"weight": 1}], "ipAdapters": [{"weight": 1}]},
    **{"t2iAdapters": [{"weight": 1}], "loras": [{"weight": 1}], "strength": 0.4, "init_image": "x.png"},
    **{"vae": {"name": "v"}, "hrf_enabled": True, "hrf_method": "ESRGAN", "hrf_strength": 0.45, "regions": [{"a": 1}]},
    **{
        "positive_style_prompt": "s",
        "negative_style_prompt": "t",
        "refiner_model": {"name": "r"},
        "refiner_start": 0.8,
    },
    **{"refiner_steps": 20, "refiner_cfg_scale": 7, "refiner_scheduler": "euler"},
    **{"refiner_positive_aesthetic_score": 6, "refiner_negative_aesthetic_score": 2.5, "canvas_v2_metadata": {"b": 1}},
    **{"ref_images": [{"c": 1}], "upscale_model": {"name": "u"}, "upscale_scale": 4, "creativity": 0, "invented": 1},
}
OLD_IMAGE = {
    **{"prompt": [{"prompt": "a red house [fog]", "weight": 1.5}], "steps": 12, "cfg_scale": 6.5, "threshold": 2},
    **{"perlin": 0.1, "width": 96, "height": 64, "seed": 7, "seamless": True, "hires_fix": True, "type": "img2img"},
    **{"strength": 0.4, "postprocessing": [{"type": "esrgan", "scale": 4}], "sampler": "k_euler_a", "fit": True},
    **{"variations": [{"seed": 3, "weight": 0.1}], "orig_hash": "00", "init_image_path": "a.png", "extra": {"e": 1}},
    **{"inpaint_replace": 0.2, "facetool": "gfpgan", "facetool_strength": 0.8, "upscale": [4, 0.75], "invented": "x"},
    **{"h_symmetry_time_pct": 0.5, "embiggen": [2]},
}
OLD = {
    **{"model": "stable diffusion", "model_id": "sd-1.4", "model_hash": "00", "model_weights": "m", "app_id": "lstein"},
    **{"app_version": "1.14", "image": OLD_IMAGE, "invented": 3},
}
FOOOCUS = {
    **{"prompt": "a red house", "negative_prompt": "fog", "prompt_expansion": "golden", "styles": "['S']"},
    **{"performance": "Lightning", "steps": 12, "resolution": "(96, 64)", "guidance_scale": 4.5, "sharpness": 2.0},
    **{"adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "m", "base_model_hash": "00", "refiner_model": "r"},
    **{"refiner_model_hash": "00", "refiner_switch": 0.5, "overwrite_switch": 3, "refiner_swap_method": "joint"},
    **{"adaptive_cfg": 7.0, "clip_skip": 2, "sampler": "euler", "scheduler": "karras", "vae": "other", "seed": "77"},
    **{"freeu": "(1, 1, 1, 1)", "lora_combined_1": "s : 0.5", "loras": [["s", 0.5, "ab"]], "created_by": "x"},
    **{"full_prompt": ["a red house, golden"], "full_negative_prompt": ["blurry"], "metadata_scheme": "fooocus"},
    **{"inpaint_engine_version": "v2.6", "version": "Fooocus v2.5.5", "invented": 0},
}
NOVEL = {
    **{"prompt": "a red house", "uc": "fog", "steps": 12, "height": 64, "width": 96, "scale": 6.5, "uncond_scale": 0.5},
    **{"cfg_rescale": 0.3, "seed": 7, "n_samples": 2, "hide_debug_overlay": True, "noise_schedule": "karras"},
    **{"sampler": "k_euler", "controlnet_strength": 0.5, "controlnet_model": "c", "dynamic_thresholding": True},
    **{"dynamic_thresholding_percentile": 0.9, "dynamic_thresholding_mimic_scale": 9, "sm": True, "sm_dyn": True},
    **{"skip_cfg_above_sigma": 19, "skip_cfg_below_sigma": 1, "lora_unet_weights": [1], "strength": 0.4, "noise": 0.2},
    **{"extra_noise_seed": 5, "request_type": "Img2ImgRequest", "signed_hash": "x", "reference_strength": 0.6},
    **{"v4_prompt": {"caption": {"base_caption": "a red house", "char_captions": [{"char_caption": "b"}]}}},
    **{"legacy_v3_extend": True, "deliberate_euler_ancestral_bug": True, "prefer_brownian": False, "invented": "y"},
    **{"cfg_sched_eligibility": "other", "uncond_per_vibe": 2},
}
SDCPP = {
    **{"schema": "sdcpp.image.params/v1", "mode": "vid_gen", "seed": 7, "width": 96, "height": 64, "clip_skip": 2},
    **{"generator": {"name": "stable-diffusion.cpp", "version": "v", "commit": "c"}, "strength": 0.4, "rng": "cuda"},
    **{"prompt": {"positive": "a red house", "negative": "fog"}, "control_strength": 0.5, "ip_adapter_strength": 0.5},
    "sampling": {
        **{
            "steps": 12,
            "eta": 0.5,
            "method": "euler",
            "scheduler": "karras",
            "flow_shift": 1.15,
            "shifted_timestep": 9,
        },
        **{"extra_sample_args": "alpha=1", "custom_sigmas": [9, 1], "invented": 1},
        "guidance": {
            **{"txt_cfg": 6.5, "img_cfg": 5, "distilled_guidance": 3.5},
            "slg": {"scale": 2.5, "layers": [7], "start": 0.01, "end": 0.2},
        },
    },
    **{"models": {"model": "m", "vae": "v", "clip_l": "c", "control_net": "n"}, "loras": [{"name": "l"}]},
    **{"hires": {"enabled": True, "scale": 2}, "cache": {"requested_mode": "x"}, "vae_tiling": {"enabled": True}},
    **{"invented": "z"},
}
A1111 = {
    **{"Steps": "12", "Sampler": "DDIM", "Schedule type": "Karras", "CFG scale": "6.5", "Image CFG scale": "1.5"},
    **{"Seed": "7", "Face restoration": "CodeFormer", "Size": "96x64", "Model hash": "00", "Model": "m"},
    **{"FP8 weight": "Enable", "Cache FP16 weight for LoRA": "True", "VAE hash": "00", "VAE": "v.pt"},
    **{
        "Variation seed": "3",
        "Variation seed strength": "0.2",
        "Seed resize from": "64x64",
        "Denoising strength": "0.4",
    },
    **{"Conditional mask weight": "0.5", "Clip skip": "2", "ENSD": "31337", "Token merging ratio": "0.5"},
    **{"Token merging ratio hr": "0.4", "Init image hash": "00", "RNG": "CPU", "Tiling": "True", "NGMS": "2"},
    **{"Hires upscale": "2", "Hires steps": "5", "Hires upscaler": "Lanczos4", "Hires sampler": "Euler"},
    **{
        "Hires schedule type": "Exponential",
        "Hires checkpoint": "h",
        "Hires prompt": "x",
        "Hires negative prompt": "y",
    },
    **{
        "Hires CFG Scale": "3",
        "Refiner": "r [00]",
        "Refiner switch at": "0.8",
        "Lora hashes": "l: 00",
        "TI hashes": "e: 0",
    },
    **{"Hypernet": "h", "Hypernet strength": "0.5", "Eta DDIM": "0.5", "Sigma churn": "1", "Sigma tmin": "0.1"},
    **{"Sigma tmax": "9", "Sigma noise": "1.1", "Schedule max sigma": "14", "Schedule min sigma": "0.1"},
    **{"Schedule rho": "5", "Discard penultimate sigma": "True", "UniPC variant": "bh2", "UniPC order": "2"},
    **{"Downcast alphas_cumprod": "True", "Pad conds": "True", "Emphasis": "No norm", "Noise multiplier": "0.9"},
    **{"Extra noise": "0.1", "Mask blur": "4", "Masked content": "latent noise", "Inpaint area": "Only masked"},
    **{"Masked area padding": "16", "Mask mode": "Inpaint not masked", "Soft inpainting enabled": "True"},
    **{"ControlNet 0": '"Module: canny, Weight: 1"', "ADetailer model": "f.pt", "Postprocess upscaler": "R-ESRGAN"},
    **{"CFG Rescale": "0.3", "Style Selector Enabled": "True", "User": "x", "Version": "v1.10.1", "Invented": "0"},
}


IN_A1111S_WAY = {
    **{name: value for name, value in A1111.items() if name not in ("Schedule type", "RNG")},
    **{"Scheduler": "karras", "Performance": "Lightning", "Sharpness": "2.0", "ADM Guidance": '"(1.5, 0.8, 0.3)"'},
    **{"Fooocus V2 Expansion": "golden", "Styles": "\"['S']\"", "Raw prompt": "a", "Version": "Fooocus v2.5.5"},
}


def infotext_of(fields):
    return read(parameters="a red house\nNegative prompt: fog\n" + ", ".join(f"{k}: {v}" for k, v in fields.items()))


def sdcpp_of(raw):
    line = "Steps: 12, CFG scale: 6.5, Seed: 7, Size: 96x64, RNG: cuda, Sampler: euler, Version: stable-diffusion.cpp"
    return read(parameters=f"other\nNegative prompt: none\n{line}, SDCPP: {json.dumps(raw)}")


READERS = {
    "InvokeAI": (lambda raw: read(invokeai_metadata=json.dumps(raw)), INVOKE, invokeai.HARMLESS),
    "old InvokeAI": (lambda raw: read(sd__metadata=json.dumps(raw)), OLD, invokeai.HARMLESS),
    "Fooocus": (lambda raw: read(parameters=json.dumps(raw)), FOOOCUS, fooocus.HARMLESS),
    "NovelAI": (lambda raw: read(Software="NovelAI", Comment=json.dumps(raw)), NOVEL, novelai.HARMLESS),
    "stable-diffusion.cpp": (
        sdcpp_of,
        SDCPP,
        sdcpp.HARMLESS | {"steps", "custom_sigmas", "txt_cfg", "version"},
    ),
    "A1111": (infotext_of, A1111, infotext.HARMLESS),
    "Forge": (infotext_of, {**A1111, "Version": "f2.0.1v1.10.1"}, infotext.HARMLESS),
    "Fooocus in A1111's way": (
        infotext_of,
        IN_A1111S_WAY,
        infotext.HARMLESS,
    ),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_key_is_lost_in_silence(reader):
    build, raw, harmless = READERS[reader]
    followed = [path for path in paths(raw) if path[-1] not in NEEDED | SAID_TWICE]
    assert [path for path in followed if not follows(build, raw, path, set(harmless))] == []


@pytest.mark.parametrize("reader", READERS)
def test_a_key_that_nobody_knows_is_named(reader):
    build, raw, _ = READERS[reader]
    in_json = reader in ("InvokeAI", "old InvokeAI", "Fooocus", "NovelAI", "stable-diffusion.cpp")
    for value in (5, 0, 2.5, True, "text", [1], {"a": 1}, -1) if in_json else ("5",):
        assert "Unheard of" in " ".join(build({**raw, "Unheard of": value}).warnings), value


@pytest.mark.parametrize("reader", ["InvokeAI", "old InvokeAI", "Fooocus", "NovelAI"])
@pytest.mark.parametrize("wrong", [{"a": 1}, [1], True, "many"])
def test_a_value_of_the_wrong_kind_is_named(reader, wrong):
    build, raw, harmless = READERS[reader]
    where = "image" if reader == "old InvokeAI" else None
    for name in ("width", "height", "seed", "steps", "cfg_scale", "scale", "guidance_scale", "sampler", "scheduler"):
        keys = raw[where] if where else raw
        if name in keys and not (isinstance(wrong, str) and name in ("sampler", "scheduler")):
            changed = {**keys, name: wrong}
            said = " ".join(build({**raw, where: changed} if where else changed).warnings)
            assert name in said, name


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def chain(**changes):
    """A graph of one pass, with other nodes in place of some of its own, or beside them."""
    usual = {
        "model": node("CheckpointLoaderSimple", ckpt_name="m.safetensors"),
        "text": node("CLIPTextEncode", text="a red house", clip=["model", 1]),
        "against": node("CLIPTextEncode", text="fog", clip=["model", 1]),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampler": sampling(),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "save": node("SaveImage", filename_prefix="x", images=["decode", 0]),
    }
    return read(prompt=json.dumps({**usual, **changes}))


def sampling(kind="KSampler", **inputs):
    usual = {"seed": 11, "steps": 12, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["model", 0], "positive": ["text", 0], "negative": ["against", 0], "latent_image": ["empty", 0]}
    return node(kind, **{**usual, **links, **inputs})


def advanced(**inputs):
    return node(
        "KSamplerAdvanced",
        **{
            **{"add_noise": "enable", "noise_seed": 101, "steps": 16, "cfg": 7.0, "sampler_name": "euler"},
            **{
                "scheduler": "normal",
                "start_at_step": 0,
                "end_at_step": 10000,
                "return_with_leftover_noise": "disable",
            },
            **{
                "model": ["model", 0],
                "positive": ["text", 0],
                "negative": ["against", 0],
                "latent_image": ["empty", 0],
            },
            **inputs,
        },
    )


COMFY = {
    "a plain graph": ({}, {"seed": 11, "steps": 12, "width": 64}, ()),
    "a network behind the decoder": (
        {
            "larger": node("ImageUpscaleWithModel", upscale_model=["esrgan", 0], image=["decode", 0]),
            "esrgan": node("UpscaleModelLoader", model_name="4x.pth"),
            "save": node("SaveImage", images=["larger", 0]),
        },
        {"seed": 11, "width": 64},
        ("ImageUpscaleWithModel", "UpscaleModelLoader"),
    ),
    "two networks behind the decoder": (
        {
            "face": node("FaceRestoreWithModel", image=["scaled", 0], fidelity=0.5),
            "scaled": node("ImageScaleBy", image=["decode", 0], scale_by=2, upscale_method="area"),
            "save": node("SaveImage", images=["face", 0]),
        },
        {"seed": 11},
        ("FaceRestoreWithModel", "ImageScaleBy"),
    ),
    "another decoder": (
        {"vae": node("VAELoader", vae_name="v"), "decode": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0])},
        {"seed": 11},
        ("VAELoader",),
    ),
    "a decoder in tiles": (
        {"decode": node("VAEDecodeTiled", samples=["sampler", 0], vae=["model", 2], tile_size=512)},
        {"seed": 11},
        ("VAEDecodeTiled", "tile_size"),
    ),
    "texts that are joined": (
        {
            "joined": node("ConditioningCombine", conditioning_1=["text", 0], conditioning_2=["more", 0]),
            "more": node("CLIPTextEncode", text="a blue boat", clip=["model", 1]),
            "sampler": sampling(positive=["joined", 0]),
        },
        {"prompt": "a red house"},
        ("ConditioningCombine", "a blue boat"),
    ),
    "texts in regions": (
        {
            "area": node("ConditioningSetArea", conditioning=["text", 0], width=32, height=32, x=0, y=0, strength=1.0),
            "sampler": sampling(positive=["area", 0]),
        },
        {"prompt": "a red house"},
        ("ConditioningSetArea",),
    ),
    "a mean of texts": (
        {
            "mean": node(
                "ConditioningAverage",
                conditioning_to=["text", 0],
                conditioning_from=["against", 0],
                conditioning_to_strength=0.7,
            ),
            "sampler": sampling(positive=["mean", 0]),
        },
        {"prompt": "a red house", "negative": "fog"},
        ("ConditioningAverage",),
    ),
    "boxes": (
        {
            "box": node(
                "GLIGENTextBoxApply",
                text="moon",
                width=16,
                height=16,
                x=8,
                y=8,
                conditioning_to=["text", 0],
                clip=["model", 1],
                gligen_textbox_model=["gligen", 0],
            ),
            "gligen": node("GLIGENLoader", gligen_name="g"),
            "sampler": sampling(positive=["box", 0]),
        },
        {"prompt": "a red house"},
        ("GLIGENTextBoxApply", "GLIGENLoader"),
    ),
    "a negative of zeros": (
        {"zero": node("ConditioningZeroOut", conditioning=["text", 0]), "sampler": sampling(negative=["zero", 0])},
        {"negative": ""},
        ("ConditioningZeroOut",),
    ),
    "a text made of two": (
        {
            "both": node("StringConcatenate", string_a="a red", string_b="house", delimiter=" "),
            "text": node("CLIPTextEncode", text=["both", 0], clip=["model", 1]),
        },
        {"negative": "fog"},
        ("StringConcatenate",),
    ),
    "networks beside the model": (
        {
            "lora": node(
                "LoraLoader", lora_name="l", strength_model=1, strength_clip=1, model=["model", 0], clip=["model", 1]
            ),
            "free": node("FreeU_V2", model=["lora", 0], b1=1.3),
            "sampler": sampling(model=["free", 0]),
        },
        {"seed": 11},
        ("LoraLoader", "FreeU_V2"),
    ),
    "control": (
        {
            "control": node(
                "ControlNetApplyAdvanced",
                positive=["text", 0],
                negative=["against", 0],
                control_net=["net", 0],
                image=["hint", 0],
                strength=1.0,
            ),
            "net": node("ControlNetLoader", control_net_name="c"),
            "hint": node("LoadImage", image="h.png"),
            "sampler": sampling(positive=["control", 0], negative=["control", 1]),
        },
        {"prompt": "a red house", "negative": "fog", "inputs": ()},
        ("ControlNetApplyAdvanced", "ControlNetLoader", "LoadImage"),
    ),
    "latents that are laid side by side": (
        {
            "first": advanced(end_at_step=4, return_with_leftover_noise="enable"),
            "second": advanced(noise_seed=202, end_at_step=4, latent_image=["small", 0]),
            "small": node("EmptyLatentImage", width=32, height=32, batch_size=1),
            "joined": node("LatentComposite", samples_to=["first", 0], samples_from=["second", 0], x=8, y=8, feather=0),
            "sampler": advanced(add_noise="disable", noise_seed=0, start_at_step=4, latent_image=["joined", 0]),
        },
        {"seed": 101, "steps": 16, "width": 64},
        ("3 passes", "LatentComposite", "end_at_step", "add_noise", "return_with_leftover_noise"),
    ),
    "latents that are mixed": (
        {
            "other": sampling(seed=12),
            "mixed": node("LatentBlend", samples1=["sampler", 0], samples2=["other", 0], blend_factor=0.5),
            "decode": node("VAEDecode", samples=["mixed", 0], vae=["model", 2]),
        },
        {"seed": 11},
        ("2 passes", "LatentBlend"),
    ),
    "a refiner": (
        {
            "sampler": advanced(end_at_step=12, return_with_leftover_noise="enable"),
            "refiner": node("CheckpointLoaderSimple", ckpt_name="r"),
            "finer": advanced(
                add_noise="disable", noise_seed=0, start_at_step=12, model=["refiner", 0], latent_image=["sampler", 0]
            ),
            "decode": node("VAEDecode", samples=["finer", 0], vae=["model", 2]),
        },
        {"seed": 101, "steps": 16},
        ("2 passes", "CheckpointLoaderSimple", "end_at_step", "start_at_step", "add_noise"),
    ),
    "a pass without noise": ({"sampler": advanced(add_noise="disable")}, {"seed": None}, ("add_noise", "noise_seed")),
    "a larger second pass": (
        {
            "larger": node("LatentUpscale", samples=["sampler", 0], width=96, height=96, upscale_method="area"),
            "second": sampling(seed=5, denoise=0.5, latent_image=["larger", 0]),
            "decode": node("VAEDecode", samples=["second", 0], vae=["model", 2]),
        },
        {"seed": 11, "width": 64, "steps": 12},
        ("2 passes", "LatentUpscale", "denoise"),
    ),
    "another's sampler": (
        {
            "sampler": sampling(
                "KSampler (Efficient)",
                preview_method="auto",
                latent_image=["load", 3],
                positive=["load", 1],
                negative=["load", 2],
                model=["load", 0],
            ),
            "load": node(
                "Efficient Loader",
                ckpt_name="e.safetensors",
                positive="a red house",
                negative="fog",
                clip_skip=-2,
                empty_latent_width=64,
                empty_latent_height=96,
                lora_name="l",
                batch_size=1,
            ),
        },
        {"prompt": "a red house", "negative": "fog", "clip_skip": 2, "height": 96, "seed": 11},
        ("lora_name",),
    ),
    "custom sampling": (
        {
            "sampler": node(
                "SamplerCustomAdvanced",
                noise=["noise", 0],
                guider=["guide", 0],
                sampler=["way", 0],
                sigmas=["split", 1],
                latent_image=["empty", 0],
            ),
            "noise": node("RandomNoise", noise_seed=77),
            "guide": node("CFGGuider", cfg=3.5, model=["model", 0], positive=["text", 0], negative=["against", 0]),
            "way": node("SamplerEulerAncestral", eta=0.5, s_noise=1.1),
            "split": node("SplitSigmas", sigmas=["levels", 0], step=3),
            "levels": node("KarrasScheduler", steps=9, sigma_max=14.6, sigma_min=0.03, rho=7),
        },
        {
            "seed": 77,
            "steps": 9,
            "guidance": 3.5,
            "sampler": "euler_a",
            "spacing": "karras",
            "eta": 0.5,
            "s_noise": 1.1,
        },
        ("SplitSigmas", "sigma_max", "sigma_min", "rho"),
    ),
    "a picture to start from": (
        {
            "load": node("LoadImage", image="p.png", upload="image"),
            "scale": node("ImageScale", image=["load", 0], width=64, height=64, crop="center"),
            "code": node("VAEEncode", pixels=["scale", 0], vae=["model", 2]),
            "sampler": sampling(denoise=0.5, latent_image=["code", 0]),
        },
        {"inputs": ("image",), "strength": 0.5, "steps": 24},
        ("ImageScale",),
    ),
    "a picture and a mask": (
        {
            "load": node("LoadImage", image="p.png"),
            "code": node("VAEEncodeForInpaint", pixels=["load", 0], mask=["load", 1], vae=["model", 2], grow_mask_by=6),
            "sampler": sampling(latent_image=["code", 0]),
        },
        {"inputs": ("image", "mask"), "strength": 1.0},
        ("grow_mask_by",),
    ),
    "words for an XL model": (
        {
            "text": node(
                "CLIPTextEncodeSDXL",
                text_g="a red house",
                text_l="a boat",
                width=1024,
                height=1024,
                crop_w=3,
                clip=["model", 1],
            )
        },
        {"prompt": "a red house"},
        ("text_l", "crop_w"),
    ),
    "another's output": ({"save": node("Image Saver Simple", images=["decode", 0], quality=90)}, {"seed": 11}, ()),
    "a preview beside it": ({"look": node("PreviewImage", images=["decode", 0])}, {"seed": 11}, ()),
    "a way through": (
        {"way": node("Reroute", **{"": ["empty", 0]}), "sampler": sampling(latent_image=["way", 0])},
        {"width": 64},
        (),
    ),
}


@pytest.mark.parametrize("name", COMFY)
def test_a_graph_is_followed_or_named(name):
    changes, expected, named = COMFY[name]
    record = chain(**changes)
    found = {**record.options, "prompt": record.prompt, "negative": record.negative, "inputs": record.inputs}
    assert {key: found.get(key) for key in expected} == expected
    said = " ".join(record.warnings)
    assert all(each in said for each in named), said
    assert named or not record.warnings, said


@pytest.mark.parametrize(
    "size, prompt, said",
    [((64, 64), "a red house", ""), ((96, 96), "a blue boat", "2 passes"), ((7, 7), "a red house", "cannot be told")],
)
def test_of_two_outputs_the_one_of_the_files_size_is_read(size, prompt, said):
    second = {
        "other": node("CheckpointLoaderSimple", ckpt_name="other.safetensors"),
        "boat": node("CLIPTextEncode", text="a blue boat", clip=["other", 1]),
        "rain": node("CLIPTextEncode", text="rain", clip=["other", 1]),
        "larger": node("LatentUpscaleBy", samples=["sampler", 0], scale_by=1.5, upscale_method="bislerp"),
    }
    second["again"] = sampling(
        seed=22,
        steps=8,
        denoise=0.5,
        model=["other", 0],
        positive=["boat", 0],
        negative=["rain", 0],
        latent_image=["larger", 0],
    )
    second["decode2"] = node("VAEDecode", samples=["again", 0], vae=["other", 2])
    second["save2"] = node("SaveImage", images=["decode2", 0], filename_prefix="b")
    first = {
        "model": node("CheckpointLoaderSimple", ckpt_name="m.safetensors"),
        "text": node("CLIPTextEncode", text="a red house", clip=["model", 1]),
        "against": node("CLIPTextEncode", text="fog", clip=["model", 1]),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampler": sampling(),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="a"),
    }
    for order in ({**first, **second}, {**second, **first}):
        record = read(size, prompt=json.dumps(order))
        told = " ".join(record.warnings)
        if said == "cannot be told":
            assert said in told
        else:
            assert record.prompt == prompt and said in told and "cannot be told" not in told
        if prompt == "a blue boat":
            assert (record.negative, record.options["seed"], record.options["steps"]) == ("rain", 22, 8)
            assert record.settings["model"] == "other.safetensors" and record.options["width"] == 96


@pytest.mark.parametrize(
    "fields, expected",
    [
        ("Size: 128x96, First pass size: 64x48", (64, 48, 2.0)),
        ("Size: 1024x1024, First pass size: 0x0", (512, 512, 2.0)),
        ("Size: 960x640, First pass size: 0x0", (640, 448, 1.5)),  # of another shape, as A1111 rounds, and said
        ("Size: 96x96, First pass size: 0x0", (96, 96, None)),  # its own area is larger than the picture
        ("Size: 96x64, Hires upscale: 2", (96, 64, 2.0)),
        ("Size: 96x64, Hires resize: 192x128", (96, 64, 2.0)),
    ],
)
def test_first_passes_of_every_age(fields, expected):
    record = read(parameters=f"a\nSteps: 12, Sampler: Euler a, Seed: 7, Denoising strength: 0.7, {fields}")
    options = record.options
    assert (options["width"], options["height"], options.get("hires")) == expected
    assert record.inputs == () and "strength" not in options
    assert (options.get("hires_strength") == 0.7) == (expected[2] is not None)
    if expected in ((640, 448, 1.5), (96, 96, None)):
        assert "First pass size" in " ".join(record.warnings)


@pytest.mark.parametrize(
    "command",
    [
        '"a red house [fog]" -s12 -W96 -H64 -C6.5 -Ak_euler_a -S7',
        '"a red house [fog]" -s 12 -S 7 -W 96 -H 64 -C 6.5 -A k_euler_a',
        "a red house [fog] -s 12 -S 7 -W 96 -H 64 -C 6.5 -A k_euler_a",
        "a red house [fog] --steps 12 --seed=7 --width 96 --height 64 --cfg_scale 6.5 --sampler k_euler_a",
    ],
)
def test_the_oldest_commands_of_invokeai(command):
    record = read(Dream=f"{command} -G 0.8 -U 2 0.75 --hires_fix -V 5:0.1")
    assert (record.prompt, record.negative) == ("a red house", "fog")
    expected = {"steps": 12, "seed": 7, "width": 96, "height": 64, "guidance": 6.5, "sampler": "euler_a"}
    assert {name: record.options[name] for name in expected} == expected
    assert record.warnings == ["not followed: -G, -U, --hires_fix, -V"]


def test_old_layouts_of_invokeai():
    image = {**OLD_IMAGE, "strength_steps": 0.4, "postprocessing": ["ESRGAN (not RFC compliant)"]}
    del image["strength"]
    record = read(sd__metadata=json.dumps({"app_version": "1.14", "images": [image, image]}))
    assert record.options["strength"] == 0.4 and record.inputs == ("image",)
    assert "images" in record.warnings[0] and "postprocessing" in " ".join(record.warnings)
    record = read(sd__metadata=json.dumps({"image": {"type": "esrgan", "scale": 4, "orig_path": "a.png"}}))
    assert all(name in " ".join(record.warnings) for name in ("esrgan", "scale", "orig_path"))


def test_what_lies_beside_a_record_is_named():
    record = read(
        parameters="a\nSteps: 2, Seed: 3, Size: 8x8", postprocessing="Postprocess upscale by: 4", Software="x"
    )
    assert "not read: postprocessing" in record.warnings


def test_tcd_is_repeated_as_invokeai_calls_it():
    assert read(invokeai_metadata=json.dumps({**INVOKE, "scheduler": "tcd"})).options["eta"] == 1.0


def test_fooocus_in_a_jpeg_is_read_without_its_name():
    record = read(UserComment=json.dumps(FOOOCUS))
    assert record.tool == "Fooocus" and record.options["clip_skip"] == 2
