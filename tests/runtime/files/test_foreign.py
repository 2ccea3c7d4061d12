"""Pictures of other tools.

The samples are written by hand after what the tools' sources write: AUTOMATIC1111 1.10 and before 1.9
(modules/processing.py, create_infotext), Forge, stable-diffusion.cpp of 2024 and of 2026 (examples/common/common.cpp,
get_image_params), InvokeAI (app/invocations/metadata.py, CoreMetadata; backend/image_util/pngwriter.py), ComfyUI (the
graph its API takes), NovelAI and Fooocus. No file of any of them is here.
"""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files import exif
from pleinair.files.foreign import read_foreign
from pleinair.files.foreign.infotext import infotext_fields
from pleinair.files.foreign.record import ForeignRecord, real, take_sampler, whole_or_none
from pleinair.files.metadata import read_record

A1111 = (
    "a castle, (old:1.2),\nin the [rain]\n"
    "Negative prompt: people,\ntext\n"
    "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x640, "
    "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: vae-ft.safetensors, "
    "Variation seed: 12, Variation seed strength: 0.3, Denoising strength: 0.55, Clip skip: 2, Hires upscale: 2, "
    'Hires steps: 10, Hires upscaler: R-ESRGAN 4x+, TI hashes: "bad-hands: 1a2b3c", ADetailer model: face.pt, '
    "Version: v1.10.1"
)


def chunk(**texts):
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name.replace("__", "-"), text)
    return chunks


@pytest.fixture
def look(tmp_path):
    """Read a picture with these texts in it."""

    def call(**texts):
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunk(**texts))
        return read_record(tmp_path / "a.png")

    return call


def test_a1111(look):
    found = look(parameters=A1111)
    assert (found.tool, found.version) == ("A1111", "v1.10.1")
    assert found.prompt == "a castle, (old:1.2),\nin the [rain]" and found.negative == "people,\ntext"
    assert found.settings["Model"] == "v1-5-pruned-emaonly" and found.settings["TI hashes"] == "bad-hands: 1a2b3c"
    assert found.raw == A1111 and found.ours is None and found.inputs == ()
    assert found.options() == {
        "prompt": found.prompt,
        "negative": found.negative,
        "steps": 25,
        "sampler": "dpmpp_2m",
        "spacing": "karras",
        "guidance": 6.5,
        "seed": 965400086,
        "width": 512,
        "height": 640,
        "subseed": 12,
        "subseed_strength": 0.3,
        "clip_skip": 2,
        "noise": "philox",  # its GPU noise
        "hires": 2.0,
        "hires_strength": 0.55,
        "hires_steps": 10,
    }
    lost = " ".join(found.warnings)
    for name in ("bad-hands", "R-ESRGAN", "ADetailer model", "vae-ft"):
        assert name in lost


@pytest.mark.parametrize("kind, suffix", [("JPEG", "jpg"), ("WEBP", "webp")])
def test_a1111_in_jpeg_and_webp(tmp_path, kind, suffix):
    Image.new("RGB", (8, 8)).save(tmp_path / f"a.{suffix}", kind, exif=exif.write(A1111))
    found = read_record(tmp_path / f"a.{suffix}")
    assert (found.kind, found.tool, found.options()["seed"]) == (kind, "A1111", 965400086)


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + A1111.encode("utf-16-le"),  # as some editors write it back
        b"ASCII\0\0\0" + A1111.encode(),
        bytes(8) + A1111.encode(),
        A1111.encode(),
    ],
)
def test_user_comments_in_every_encoding(tmp_path, comment):
    picture = Image.new("RGB", (8, 8))
    tags = picture.getexif()
    tags.get_ifd(0x8769)[0x9286] = comment
    picture.save(tmp_path / "a.jpg", exif=tags)
    assert read_record(tmp_path / "a.jpg").prompt == "a castle, (old:1.2),\nin the [rain]"


@pytest.mark.parametrize(
    "line, sampler, spacing",
    [
        ("Sampler: DPM++ 2M Karras", "dpmpp_2m", "karras"),  # before 1.9 the name had it
        ("Sampler: Euler a", "euler_a", "linspace"),
        ("Sampler: Euler a, Schedule type: Automatic", "euler_a", "linspace"),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", "dpmpp_2m", "karras"),
        ("Sampler: DPM++ 2M SDE, Schedule type: Automatic", "dpmpp_2m_sde", "exponential"),
        ("Sampler: DPM++ 2M, Schedule type: Uniform", "dpmpp_2m", "linspace"),
        ("Sampler: Euler, Schedule type: Beta", "euler", "beta"),
        ("Sampler: DDIM, Schedule type: Automatic", "ddim", None),
        ("Sampler: UniPC", "unipc", None),
    ],
)
def test_a1111_schedules(look, line, sampler, spacing):
    options = look(parameters=f"a\nSteps: 20, {line}, CFG scale: 7, Seed: 1, Size: 64x64").options()
    assert (options["sampler"], options.get("spacing")) == (sampler, spacing)


def test_a1111_sgm_uniform_is_a_spacing_of_ours(look):
    options = look(parameters="a\nSteps: 20, Sampler: Euler, Schedule type: SGM Uniform, Seed: 1").options()
    assert options["spacing"] in ("trailing", "sgm_uniform")


def test_a1111_image_to_image_and_inpainting(look):
    base = "a\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Denoising strength: 0.75, RNG: CPU"
    found = look(parameters=base)
    assert found.inputs == ("image",) and found.options()["strength"] == 0.75 and found.options()["noise"] == "torch"
    found = look(parameters=f"{base}, Mask blur: 4, Masked content: latent noise, Inpaint area: Only masked, Eta: 0.5")
    options = found.options()
    assert found.inputs == ("image", "mask") and options["mask_blur"] == 4 and options["fill"] == "noise"
    assert options["only_masked"] is True and options["eta"] == 0.5 and found.warnings == ()


def test_what_is_not_known_is_named_and_left_out(look):
    found = look(
        parameters="a <hypernet:style:0.8> b\nSteps: 20, Sampler: DPM adaptive, Schedule type: Turbo, CFG scale: inf, "
        'Seed: -1, Size: axb, ENSD: 31337, RNG: MPS, ControlNet 0: "model: canny, weight: 1", Version: v1.8.0'
    )
    assert set(found.options()) == {"prompt", "steps"}
    lost = " ".join(found.warnings)
    for name in ("DPM adaptive", "guidance 'inf'", "seed '-1'", "ENSD, ControlNet 0", "MPS", "<hypernet:style:0.8>"):
        assert name in lost, name


def test_forge(look):
    found = look(parameters=A1111.replace("v1.10.1", "f2.0.1v1.10.1-previous"))
    assert found.tool == "Forge" and found.options()["steps"] == 25


@pytest.mark.parametrize("text", ["", "a photo", "Steps: 20", "a\nb\nc", "Steps, Sampler, CFG scale"])
def test_a_comment_is_no_record(look, text):
    with pytest.raises(RequestError, match="no record"):
        look(parameters=text)


def test_a_prompt_alone_may_be_empty(look):
    found = look(parameters="Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    assert (found.prompt, found.negative, found.options()["seed"]) == ("", "", 1)


OLD_SDCPP = (
    "a castle é\nNegative prompt: people\n"
    "Steps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 512x512, "
    "Model: sd-v1-4.ckpt, RNG: cuda, Sampler: euler_a, Version: stable-diffusion.cpp"
)


def sdcpp_2026():
    extra = {
        "schema": "sdcpp.image.params/v1",
        "mode": "img_gen",
        "generator": {"name": "stable-diffusion.cpp", "version": "master-400-abc", "commit": "abc"},
        "seed": 42,
        "prompt": {"positive": "a castle", "negative": 'people, "text"'},
        "sampling": {"steps": 20, "method": "dpm++2m", "scheduler": "karras", "guidance": {"txt_cfg": 7.0}},
        "loras": [],
    }
    line = (
        "Steps: 20, CFG scale: 7.000000, Skip layers: [7, 8, 9, ], Guidance: 3.500000, Eta: inf, Seed: 42, "
        "Size: 512x768, Model: sd.safetensors, RNG: cpu, Sampler: dpm++2m karras, Clip skip: 2, "
        "Version: stable-diffusion.cpp"
    )
    return f'a castle\nNegative prompt: people, "text"\n{line}, SDCPP: {json.dumps(extra)}'


def test_stable_diffusion_cpp_of_before(tmp_path):
    """It puts UTF-8 into a Latin-1 chunk."""
    chunks = PngInfo()
    chunks.add(b"tEXt", b"parameters\0" + OLD_SDCPP.encode())
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunks)
    found = read_record(tmp_path / "a.png")
    assert (found.tool, found.prompt, found.negative) == ("stable-diffusion.cpp", "a castle é", "people")
    options = found.options()
    assert options["sampler"] == "euler_a" and "spacing" not in options and options["noise"] == "philox"
    assert options["guidance"] == 7 and options["width"] == 512 and options["eta"] == 0 and found.warnings == ()


def test_stable_diffusion_cpp_of_now(look):
    found = look(parameters=sdcpp_2026())
    assert (found.tool, found.version) == ("stable-diffusion.cpp", "master-400-abc")
    assert (found.prompt, found.negative) == ("a castle", 'people, "text"')
    options = found.options()
    assert (options["sampler"], options["spacing"], options["noise"]) == ("dpmpp_2m", "karras", "torch")
    assert (options["seed"], options["height"], options["clip_skip"]) == (42, 768, 2) and "eta" not in options
    assert found.warnings == ("not followed: Skip layers",)


def test_stable_diffusion_cpp_custom_sigmas_and_jpeg(tmp_path):
    text = OLD_SDCPP.replace("euler_a", "euler, Custom Sigmas: [14.6100, 2.0000, 0.0000]")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=b"parameters\0" + text.encode())
    found = read_record(tmp_path / "a.jpg")
    assert found.options()["sigmas"] == [14.61, 2.0, 0.0] and found.options()["sampler"] == "euler"


def test_stable_diffusion_cpp_webp(tmp_path):
    packet = f"<x><sdcpp:parameters>{OLD_SDCPP.replace('&', '&amp;')}</sdcpp:parameters></x>"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=packet.encode())
    assert read_record(tmp_path / "a.webp").options()["seed"] == 42


INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": "a castle",
    "negative_prompt": "people",
    "width": 512,
    "height": 768,
    "seed": 2143289344,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "cfg_rescale_multiplier": 0.2,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 1,
    "seamless_x": False,
    "model": {"key": "x", "hash": "blake3:0", "name": "dreamshaper", "base": "sd-1", "type": "main"},
    "controlnets": [],
    "loras": [{"model": {"name": "style"}, "weight": 0.7}],
    "app_version": "5.6.0",
}


def test_invokeai(look):
    found = look(invokeai_metadata=json.dumps(INVOKE))
    assert (found.tool, found.version, found.inputs) == ("InvokeAI", "5.6.0", ())
    assert found.options() == {
        "prompt": "a castle",
        "negative": "people",
        "width": 512,
        "height": 768,
        "seed": 2143289344,
        "steps": 30,
        "guidance": 7.5,
        "rescale": 0.2,
        "sampler": "dpmpp_2m",
        "spacing": "karras",
        "noise": "torch",
        "clip_skip": 2,
    }
    assert found.warnings == ("not followed: loras",)


def test_invokeai_from_a_picture(look):
    given = {**INVOKE, "generation_mode": "img2img", "strength": 0.6, "positive_prompt": "a cat++ (in rain)1.2"}
    found = look(invokeai_metadata=json.dumps(given))
    assert found.inputs == ("image",) and found.options()["strength"] == 0.6 and "compel" in " ".join(found.warnings)
    found = look(invokeai_metadata=json.dumps({**INVOKE, "generation_mode": "inpaint", "strength": 0.6}))
    assert found.inputs == ("image", "mask") and found.options()["strength"] == 0.6


def test_old_invokeai(look):
    image = {"prompt": [{"prompt": "a castle [people, text] at night", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5}
    image |= {"seed": 7, "width": 512, "height": 512, "sampler": "k_euler_a", "type": "txt2img", "variations": []}
    raw = {"model": "stable diffusion", "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.5", "image": image}
    found = look(sd__metadata=json.dumps(raw), Dream="a castle -s 50")
    assert (found.tool, found.version) == ("InvokeAI", "2.3.5")
    assert (found.prompt, found.negative) == ("a castle at night", "people, text")
    assert found.options()["sampler"] == "euler_a" and found.options()["seed"] == 7 and found.warnings == ()


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


COMFY = {
    "3": node(
        "KSampler",
        seed=156680208700286,
        steps=20,
        cfg=8,
        sampler_name="dpmpp_2m",
        scheduler="karras",
        denoise=1,
        model=["4", 0],
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["5", 0],
    ),
    "4": node("CheckpointLoaderSimple", ckpt_name="sd15\\v1-5-pruned.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=640, batch_size=1),
    "6": node("CLIPTextEncode", text="a castle", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="people", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
}


def comfy(**changes):
    return json.dumps({**COMFY, **{name.lstrip("n"): node for name, node in changes.items()}})


def sampler_node(**inputs):
    return node("KSampler", **{**COMFY["3"]["inputs"], **inputs})


def test_comfyui(look):
    found = look(prompt=comfy(), workflow='{"nodes": []}')
    assert found.tool == "ComfyUI" and found.settings["model"] == "v1-5-pruned.safetensors" and found.inputs == ()
    assert found.options() == {
        "prompt": "a castle",
        "negative": "people",
        "seed": 156680208700286,
        "steps": 20,
        "guidance": 8,
        "sampler": "dpmpp_2m",
        "spacing": "karras",
        "noise": "torch",
        "width": 512,
        "height": 640,
    }
    assert found.warnings == ()


def test_comfyui_in_webp(tmp_path):
    picture = Image.new("RGB", (8, 8))
    tags = picture.getexif()
    tags[0x0110], tags[0x010F] = f"prompt:{comfy()}", "workflow:{}"
    picture.save(tmp_path / "a.webp", exif=tags)
    assert read_record(tmp_path / "a.webp").options()["seed"] == 156680208700286


def test_comfyui_links_to_constants_and_layers(look):
    found = look(
        prompt=comfy(
            n3=sampler_node(seed=["20", 0], steps=["21", 0], model=["22", 0], positive=["23", 0]),
            n20=node("Seed (rgthree)", seed=99),
            n21=node("PrimitiveInt", value=12),
            n22=node("LoraLoader", lora_name="style", model=["4", 0], clip=["4", 1]),
            n23=node("ControlNetApplyAdvanced", positive=["24", 0], negative=["7", 0], image=["x", 0]),
            n24=node("CLIPTextEncode", text=["25", 0], clip=["26", 0]),
            n25=node("String Literal", string="a linked castle"),
            n26=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["22", 1]),
        )
    )
    options = found.options()
    assert (options["prompt"], options["seed"], options["steps"]) == ("a linked castle", 99, 12)
    assert options["clip_skip"] == 2 and found.settings["model"] == "v1-5-pruned.safetensors"
    assert "ControlNetApplyAdvanced" in " ".join(found.warnings) and "LoraLoader" in " ".join(found.warnings)


def test_comfyui_custom_sampling(look):
    found = look(
        prompt=comfy(
            n3=node(
                "SamplerCustomAdvanced",
                noise=["30", 0],
                guider=["31", 0],
                sampler=["32", 0],
                sigmas=["33", 0],
                latent_image=["5", 0],
            ),
            n30=node("RandomNoise", noise_seed=77),
            n31=node("CFGGuider", cfg=3.5, model=["4", 0], positive=["6", 0], negative=["7", 0]),
            n32=node("KSamplerSelect", sampler_name="euler_ancestral"),
            n33=node("BasicScheduler", scheduler="exponential", steps=9, denoise=1.0, model=["4", 0]),
        )
    )
    options = found.options()
    assert (options["prompt"], options["negative"], options["guidance"]) == ("a castle", "people", 3.5)
    assert (options["seed"], options["steps"], options["sampler"]) == (77, 9, "euler_a")
    assert options["spacing"] == "exponential" and found.settings["model"] == "v1-5-pruned.safetensors"


def test_comfyui_from_a_picture(look):
    found = look(
        prompt=comfy(
            n3=sampler_node(denoise=0.5, latent_image=["40", 0]),
            n40=node("VAEEncode", pixels=["41", 0], vae=["4", 2]),
            n41=node("LoadImage", image="photo.png"),
        )
    )
    assert found.inputs == ("image",) and found.options()["strength"] == 0.5
    assert found.options()["steps"] == 40  # of which ComfyUI walks the last 20


def test_comfyui_second_passes_are_named(look):
    found = look(
        prompt=comfy(
            n50=sampler_node(denoise=0.5, latent_image=["51", 0], seed=1),
            n51=node("LatentUpscale", samples=["3", 0], width=1024, height=1280),
            n8=node("VAEDecode", samples=["50", 0], vae=["4", 2]),
        )
    )
    assert found.options()["seed"] == 156680208700286 and found.options()["width"] == 512
    assert "2 passes" in found.warnings[0]


@pytest.mark.parametrize(
    "graph",
    [
        {**COMFY, "3": sampler_node(positive=["3", 0], latent_image=["3", 0], seed=["3", 0], model=["3", 0])},
        {**COMFY, "3": sampler_node(positive=["99", 0], negative=[], latent_image=None, seed=[[]], steps={})},
        {**COMFY, "6": node("CLIPTextEncode", text=["6", 0], clip=["6", 0])},
        {**COMFY, "6": node("ConditioningCombine", conditioning_1=["7", 0], conditioning_2=["6", 0])},
        {"1": node("Unknown", a=1)},
        {"1": node("SamplerCustom", noise=["1", 0], sigmas=["1", 0])},
    ],
)
def test_comfyui_graphs_that_lead_nowhere(look, graph):
    found = look(prompt=json.dumps(graph))
    assert found.tool == "ComfyUI"
    assert all(isinstance(value, str | int | float) for value in found.options().values())


def test_novelai(look):
    raw = {
        "prompt": "a {castle}",
        "uc": "people",
        "steps": 28,
        "scale": 11.0,
        "seed": 3,
        "sampler": "k_euler_ancestral",
    }
    raw |= {"width": 512, "height": 768, "noise_schedule": "native"}
    found = look(Software="NovelAI", Source="Stable Diffusion 1", Description="a castle", Comment=json.dumps(raw))
    assert (found.tool, found.prompt, found.negative) == ("NovelAI", "a {castle}", "people")
    assert found.options()["sampler"] == "euler_a" and "braces" in found.warnings[0]


def test_fooocus(look):
    raw = {"prompt": "a castle", "negative_prompt": "people", "steps": 30, "resolution": "(1152, 896)", "seed": "12"}
    raw |= {"guidance_scale": 4.0, "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "version": "Fooocus v2.5"}
    found = look(fooocus_scheme="fooocus", parameters=json.dumps(raw))
    assert (found.tool, found.version, found.options()["width"]) == ("Fooocus", "Fooocus v2.5", 1152)
    assert (found.options()["sampler"], found.options()["seed"]) == ("dpmpp_2m_sde", 12)


@pytest.mark.parametrize(
    "theirs, schedule, ours, spacing",
    [
        ("euler_ancestral", "normal", "euler_a", {"linspace", "normal"}),
        ("dpm_2", "karras", "dpm2", {"karras"}),
        ("dpm_2_ancestral", "sgm_uniform", "dpm2_a", {"trailing", "sgm_uniform"}),
        ("k_dpmpp_2", None, "dpmpp_2m", {None}),
        ("k_heun", None, "heun", {None}),
        ("k_lms", "beta", "lms", {"beta"}),
        ("uni_pc", "exponential", "unipc", {"exponential"}),
        ("uni_pc_bh2", None, "unipc", {None}),
        ("dpmpp_2m_sde_gpu", "karras", "dpmpp_2m_sde", {"karras"}),
        ("dpm++2m", "discrete", "dpmpp_2m", {"linspace", "normal"}),
        ("ddim_trailing", None, "ddim", {"trailing"}),
        ("KDPM_2_A", None, "dpm2_a", {None}),
        ("DPM++ 2M Karras", None, "dpmpp_2m", {"karras"}),
    ],
)
def test_names_of_samplers(theirs, schedule, ours, spacing):
    record = ForeignRecord("any")
    take_sampler(record, theirs, schedule)
    assert record.options["sampler"] == ours and record.options.get("spacing") in spacing and record.warnings == []


def test_names_that_have_no_counterpart():
    record = ForeignRecord("any")
    take_sampler(record, "gradient_estimation", "gits")
    take_sampler(record, "euler", "linear_quadratic")
    assert record.options == {"sampler": "euler"} and len(record.warnings) == 2
    take_sampler(record, None)
    take_sampler(record, "", "karras")
    take_sampler(record, ["euler"], 3)
    assert record.options == {"sampler": "euler"} and len(record.warnings) == 2


@pytest.mark.parametrize(
    "value, expected",
    [(3, 3), ("3", 3), (3.0, 3), ("3.0", 3), (2**64 - 1, 2**64 - 1), (str(2**64 - 1), 2**64 - 1), (0, 0)]
    + [(v, None) for v in (-1, 3.5, "a", None, True, [], {}, float("nan"), float("inf"), "1e999", "9" * 5000, "")],
)
def test_whole_numbers_of_any_type(value, expected):
    assert whole_or_none(value) == expected
    assert real(value) is None if expected is None and value not in (-1, 3.5) else real(value) == float(value)


def test_fields_are_split_as_a1111_splits_them():
    line = 'A b: 1, C: "x, y: \\"z\\"", D-e/f: a:b, G1: , Sizes: [1, 2, 3], Last: "open, H2: 2'
    assert infotext_fields(line) == {
        "A b": "1",
        "D-e/f": "a:b",
        "G1": "",
        "Sizes": "[1, 2, 3]",
        "Last": '"open',
        "H2": "2",
    }


ODD = (None, True, -1, 1e308, "", "x", "\ud800", "[7, ", [], [None], {}, {"a": []}, 10**300, "9" * 400)
FOOOCUS = {"prompt": "a", "steps": 3, "resolution": "(8, 8)", "sampler": "euler", "styles": "[]", "version": "1"}
NOVEL = {"prompt": "a", "uc": "b", "steps": 3, "scale": 2, "seed": 3, "sampler": "k_euler", "cfg_rescale": 0.1}
OLD = {
    "app_version": "2",
    "image": {"prompt": [{"prompt": "a", "weight": 1}], "seed": 1, "sampler": "k_lms", "steps": 2},
}


def mutants(value):
    """The value with each of its parts, at any depth, replaced by each odd thing."""
    yield from ODD
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        for odd in mutants(each):
            copy = value.copy()
            copy[key] = odd
            yield copy


@pytest.mark.parametrize(
    "sample, texts",
    [
        (INVOKE, lambda text: {"invokeai_metadata": text}),
        (OLD, lambda text: {"sd-metadata": text}),
        (COMFY, lambda text: {"prompt": text}),
        (NOVEL, lambda text: {"Software": "NovelAI", "Comment": text}),
        (FOOOCUS, lambda text: {"fooocus_scheme": "fooocus", "parameters": text}),
        (json.loads(sdcpp_2026().partition("SDCPP: ")[2]), lambda text: {"parameters": f"{OLD_SDCPP}, SDCPP: {text}"}),
    ],
    ids=["InvokeAI", "old InvokeAI", "ComfyUI", "NovelAI", "Fooocus", "stable-diffusion.cpp"],
)
def test_values_of_any_type_are_read_or_left_out(sample, texts):
    count = 0
    for mutant in mutants(sample):
        found = read_foreign(texts(json.dumps(mutant)))
        if found:
            record, _ = found
            json.dumps(record.settings, allow_nan=False)
            assert isinstance(record.prompt, str) and isinstance(record.negative, str)
            assert all(isinstance(value, str | int | float | list) for value in record.options.values())
            count += 1
    assert count > 50


def test_the_commands_show_and_repeat_foreign_pictures(tmp_path, capsys):
    text = "a boat\nSteps: 2, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, RNG: CPU, Model: dreams"
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=chunk(parameters=text))
    assert cli.run(["metadata", str(tmp_path / "a.png")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("tool      A1111\n") and "Euler a" in shown and "dreams" in shown
    assert cli.run(["rerun", str(tmp_path / "a.png"), "--engine", "fake", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["sampler"] == "euler_a" and report["difference"]["max_abs"] > 0
    assert any("made with model 'dreams', painted with 'storybook'" in warning for warning in report["warnings"])
