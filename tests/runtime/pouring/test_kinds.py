"""Single files are told apart by the names and shapes of their tensors, and what is not known is no v1."""

import json
import re

import numpy as np
import pytest

from pleinair.errors import ExportError, RequestError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.kinds import kind_of
from pleinair.pouring.opened import opened
from pleinair.pouring.single_file import shapes_of
from pleinair.pouring.told import PourSettings
from pleinair.sources.describing import autoencoder, generation
from single_files import NETWORK, TEXT, network
from vectors import framed, safetensors

SIZES = f"{NETWORK}label_emb.0.0.weight"


def written(tmp_path, shapes, text):
    file = tmp_path / "m.safetensors"
    file.write_bytes(safetensors({name: np.zeros(shape, np.float16) for name, shape in (text | shapes).items()}))
    return kind_of(shapes_of(Checkpoint([file])), "m")


def told(tmp_path, shapes):
    """The kind of a file of these tensors and a text encoder."""
    return written(tmp_path, shapes, TEXT)


BASE = {SIZES: (1, 2816), "conditioner.embedders.1.model.ln_final.weight": (8,)}
LAST = {SIZES: (1, 2560), "conditioner.embedders.0.model.ln_final.weight": (8,)}
MODELS = {
    "SD 1": (network(text=768), "sd15", "StableDiffusionPipeline"),
    "inpaint": (network(9, 768), "sd15", "StableDiffusionInpaintPipeline"),
    "pix2pix": (network(8, 768), "sd15", "StableDiffusionInstructPix2PixPipeline"),
    "LCM": (network(text=768, told=True), "sd15", "LatentConsistencyModelPipeline"),
    "BK base": (network(text=768, layers=1), "bk-sdm-base", "StableDiffusionPipeline"),
    "BK small": (network(text=768, layers=1, middle=0), "bk-sdm-small", "StableDiffusionPipeline"),
    "BK tiny": (network(text=768, layers=1, levels=3, middle=0), "bk-sdm-tiny", "StableDiffusionPipeline"),
    "SD 2": (network(text=1024), "sd21", "StableDiffusionPipeline"),
    "inpaint 2": (network(9, 1024), "sd21", "StableDiffusionInpaintPipeline"),
    "edit 2": (network(8, 1024), "sd21", "StableDiffusionInstructPix2PixPipeline"),
    "SDXS": (network(text=1024, layers=1, levels=3, middle=0), "sdxs", "StableDiffusionPipeline"),
    "XL": (network() | BASE, "sdxl", "StableDiffusionXLPipeline"),
    "XL inpaint": (network(9) | BASE, "sdxl", "StableDiffusionXLInpaintPipeline"),
    "XL edit": (network(8) | BASE, "sdxl", "StableDiffusionXLInstructPix2PixPipeline"),
    "XL LCM": (network(told=True) | BASE, "sdxl", "StableDiffusionXLPipeline"),
    "SSD-1B": (network(middle=1, deep=True) | BASE, "ssd-1b", "StableDiffusionXLPipeline"),
    "Vega": (network(middle=1) | BASE, "vega", "StableDiffusionXLPipeline"),
    "Playground": (network() | BASE | {"edm_mean": (4,), "edm_std": (4,)}, "sdxl", "StableDiffusionXLPipeline"),
    "refiner": (network() | LAST, "sdxl-refiner", "StableDiffusionXLImg2ImgPipeline"),
}
TEXTS = ("cond_stage_model.transformer.text_model.", "cond_stage_model.model.")
XL_TEXTS = ("conditioner.embedders.0.transformer.text_model.",)
DESCRIBED = {  # kind of model -> texts beside what it is told by; what a bundle calls it, its tasks and its guidance
    "SD 1": (TEXTS[:1], "sd1", ("text2image", "image2image", "inpaint"), "cfg"),
    "inpaint": (TEXTS[:1], "sd1", ("inpaint",), "cfg"),
    "pix2pix": (TEXTS[:1], "sd1", ("edit",), "image_text"),
    "LCM": (TEXTS[:1], "sd1", ("text2image", "image2image", "inpaint"), "embedded"),
    "BK tiny": (TEXTS[:1], "sd1", ("text2image", "image2image", "inpaint"), "cfg"),
    "SDXS": (TEXTS[1:], "sd2", ("text2image", "image2image", "inpaint"), "cfg"),
    "XL": (XL_TEXTS, "sdxl", ("text2image", "image2image", "inpaint"), "cfg"),
    "XL edit": (XL_TEXTS, "sdxl", ("edit",), "image_text"),
    "XL LCM": (XL_TEXTS, "sdxl", ("text2image", "image2image", "inpaint"), "embedded"),
    "edit 2": (TEXTS[1:], "sd2", ("edit",), "image_text"),
    "SSD-1B": (XL_TEXTS, "sdxl", ("text2image", "image2image", "inpaint"), "cfg"),
    "Playground": (XL_TEXTS, "sdxl", ("text2image", "image2image", "inpaint"), "cfg"),
    "refiner": ((), "sdxl-refiner", ("image2image", "inpaint"), "cfg"),
}
VAE, TINY = "first_stage_model.decoder.mid.block_1.norm1.weight", "first_stage_model.decoder.1.weight"
SIGMA = {"edm_vpred.sigma_max": ()}


def test_models_are_told_apart(tmp_path):
    for name, (shapes, model, pipeline) in MODELS.items():
        kind = told(tmp_path, shapes)
        assert (kind.model, kind.pipeline) == (model, pipeline), name
    assert told(tmp_path, MODELS["XL edit"][0] | SIGMA).index == {"is_cosxl_edit": True}
    assert told(tmp_path, MODELS["XL"][0] | SIGMA).predicts == "v_prediction"
    assert told(tmp_path, MODELS["LCM"][0]).unet == {"time_cond_proj_dim": 256}


def rejected(tmp_path, cases, told):
    """The names of cases that `told` does not refuse with their words, in one line that leads on."""
    missed = []
    for name, (shapes, words) in cases.items():
        try:
            missed.append((name, told(tmp_path, shapes)))
        except ExportError as error:
            if not re.search(words, str(error)) or "; " not in str(error):
                missed.append((name, str(error)))
    return missed


def without_text(tmp_path, shapes):
    return written(tmp_path, shapes, {})


NO_MODELS = {  # tensors, and what is said of them
    "SD 3": ({"joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,)}, "Stable Diffusion 3.*PyTorch"),
    "SD 3 of diffusers": (
        {"pos_embed.proj.weight": (8, 16, 2, 2), "transformer_blocks.0.attn.add_k_proj.weight": (8, 8)},
        "Stable Diffusion 3.*PyTorch",
    ),
    "FLUX": ({"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "FLUX.*PyTorch"),
    "FLUX of diffusers": ({"single_transformer_blocks.0.attn.to_k.weight": (8, 8)}, "FLUX.*PyTorch"),
    "LoRA": ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320)}, "an adapter"),
    "PEFT": ({"unet.up.lora_A.weight": (4, 320)}, "an adapter"),
    "video": (network(8, 1024) | {f"{NETWORK}input_blocks.1.1.time_stack.0.norm1.weight": (8,)}, "Video Diffusion"),
    "AnimateDiff": ({"down_blocks.0.motion_modules.0.norm.weight": (8,)}, "a motion module"),
    "IP-Adapter": ({"ip_adapter.1.to_k_ip.weight": (8, 8)}, "an IP-Adapter"),
    "PixArt": ({"adaln_single.linear.weight": (8, 8), "pos_embed.proj.weight": (8,)}, "PixArt.*PyTorch"),
    "textual inversion": ({"emb_params": (2, 768)}, "a textual inversion.*--embedding"),
    "ESRGAN": ({"conv_first.weight": (64, 3, 3, 3)}, "an upscaler.*pleinair export"),
    "CLIP": ({"text_model.encoder.layers.0.mlp.fc1.bias": (8,)}, "a text encoder alone"),
    "ControlNet": ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a ControlNet, not a model"),
    "its own names": ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet, not a model"),
    "VAE": ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "give it with --vae"),
    "TAESD": ({"decoder.layers.0.weight": (64, 4, 3, 3)}, "give it with --vae"),
    "UNet": ({"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)}, "a UNet alone.*--unet FILE"),
    "its old names": ({"input_blocks.0.0.weight": (320, 4, 3, 3)}, "a UNet alone.*--unet FILE"),
    "with a prefix": (network(text=768), "a UNet without a text encoder.*--unet FILE"),
    "of XL": (network() | {SIZES: (1, 2816)}, "a UNet without a text encoder.*--unet FILE"),
}
UNKNOWN = "is not a model that its weights' names and sizes identify"
NOT_POURED = {  # the same, of files with a text encoder
    "BK-SDM of SD 2": (network(text=1024, layers=1), "a small Stable Diffusion 2.*PyTorch"),
    "NF4": (network(text=768) | {f"{NETWORK}out.2.weight.absmax": (9,)}, "packed 4-bit or 8-bit weights.*16-bit"),
    "unCLIP": (network(text=1024) | {SIZES: (1, 2048)}, "unCLIP"),
    "unCLIP's noise": (network(text=1024) | {"noise_augmentor.betas": (9,)}, "unCLIP"),
    "depth": (network(5, 1024), "with depth"),
    "x4": (network(7, 1024), "the x4 upscaler"),
    "no attention": (network(), UNKNOWN),
    "another width": (network(text=640), UNKNOWN),
    "five channels": (network(5, 768), UNKNOWN),
    "no UNet": ({VAE: (8,), "first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3)}, "a model without its UNet"),
}


def test_what_is_not_poured_is_named_with_what_to_do(tmp_path):
    assert rejected(tmp_path, NO_MODELS, without_text) == []
    assert rejected(tmp_path, NOT_POURED, told) == []


def test_an_adapter_that_was_left_behind_makes_no_file_an_adapter(tmp_path):
    assert told(tmp_path, network(text=768) | {"lora_te_text_model.lora_down.weight": (4, 8)}).model == "sd15"


PREDICTED = (  # kind of model, what its file says, and what that means
    ("SD 2", {"modelspec.prediction_type": "v"}, "v_prediction"),
    ("SD 2", {"modelspec.prediction_type": "v_prediction"}, "v_prediction"),
    ("SD 2", {"modelspec.prediction_type": "epsilon"}, "epsilon"),
    ("XL", {"modelspec.prediction_type": "sample"}, "sample"),
    ("SD 2", {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v_prediction"),
    ("SD 2", {"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
    ("SD 2", {"ss_v2": "True", "ss_v_parameterization": "True"}, "v_prediction"),
    ("SD 2", {"ss_v2": "True", "ss_v_parameterization": "False"}, "epsilon"),
    ("XL", {"ss_v_parameterization": "True"}, "v_prediction"),
    ("XL", {}, "epsilon"),
)


def whole(tmp_path, name, said=None, file="a model.safetensors", more=()):
    """A file of a kind of MODELS with all its components, and what it says of itself."""
    shapes = TEXT | MODELS[name][0] | {VAE: (8,)} | dict(more)
    if "conditioner.embedders.1.model.ln_final.weight" in shapes:
        shapes |= {f"{prefix}final_layer_norm.weight": (8,) for prefix in XL_TEXTS}
    (tmp_path / file).write_bytes(safetensors({key: np.ones(shape, np.float32) for key, shape in shapes.items()}, said))
    return tmp_path / file


def test_a_file_says_what_it_predicts_or_has_to_be_told(tmp_path):
    for name, said, prediction in PREDICTED:
        scheduler = opened(whole(tmp_path, name, said), None, PourSettings()).model.scheduler
        assert scheduler["prediction_type"] == prediction, said
        notes = opened(tmp_path / "a model.safetensors", None, PourSettings("epsilon")).notes
        words = f"it says that it predicts {prediction}; as you say, it is treated as predicting epsilon"
        assert (words in notes) == (prediction != "epsilon"), notes
    silent = whole(tmp_path, "SD 2", {"modelspec.resolution": "768x768"})
    with pytest.raises(RequestError, match="does not say what it predicts; give --prediction v_prediction"):
        opened(silent, None, PourSettings())
    told = opened(
        whole(tmp_path, "XL", {"ss_zero_terminal_snr": "True"}), None, PourSettings("v_prediction")
    ).model.scheduler
    assert (told["rescale_betas_zero_snr"], told["timestep_spacing"]) == (True, "trailing")


PAINTED = (  # kind of model, what is told of it; steps, guidance, sampler and side that it paints with
    ("SD 1", PourSettings(), (20, 7.5, "pndm", 512)),
    ("XL", PourSettings(), (20, 5.0, "euler", 1024)),
    ("XL", PourSettings(timestep_spacing="trailing"), (4, 1.0, "euler", 1024)),
    ("XL", PourSettings(timestep_spacing="trailing", defaults={"steps": 8}), (8, 1.0, "euler", 1024)),
    ("XL", PourSettings(prediction="sample"), (1, 1.0, "euler", 1024)),
    ("XL", PourSettings(sampler="lcm", defaults={"timesteps": [800], "guidance": 1.0}), (1, 1.0, "lcm", 1024)),
    ("SD 1", PourSettings(sampler="lcm", defaults={"steps": 4, "guidance": 1.5}), (4, 1.5, "lcm", 512)),
    ("SD 2", PourSettings("epsilon"), (20, 7.5, "pndm", 512)),
    ("SD 2", PourSettings("v_prediction"), (20, 7.5, "ddim", 768)),
)


def painted(file, said):
    defaults = opened(file, None, said).model.defaults
    return (defaults.steps, defaults.guidance, defaults.sampler, defaults.width)


def test_what_is_told_is_what_it_paints_with(tmp_path):
    for name, said, wanted in PAINTED:
        assert painted(whole(tmp_path, name), said) == wanted, (name, said)
    turbo = whole(tmp_path, "XL", {"modelspec.resolution": "512x512"})
    assert painted(turbo, PourSettings(timestep_spacing="trailing")) == (4, 1.0, "euler", 512)
    for side in ("9600x9600", "8x8"):  # which no model has, and nobody asks for
        assert painted(whole(tmp_path, "XL", {"modelspec.resolution": side}), PourSettings())[3] == 1024
    sdxs = whole(tmp_path, "SDXS", more={TINY: (8, 4, 3, 3)})
    assert painted(sdxs, PourSettings()) == (1, 1.0, "euler", 512)
    assert painted(whole(tmp_path, "SDXS"), PourSettings()) == (20, 7.5, "pndm", 512)
    with pytest.raises(RequestError, match="unknown timestep spacing 'karras'"):
        opened(turbo, None, PourSettings(timestep_spacing="karras"))


NAMES = {  # name of a file, and the options that its note names
    "sd_xl_turbo_1.0.safetensors": "Turbo.*--sampler euler --timestep-spacing trailing --steps 4",
    "sdxl_lightning_8step.safetensors": "Lightning.*--timestep-spacing trailing --steps 8",
    "sdxl_lightning_1step_x0.safetensors": "Lightning.*--sampler euler --prediction sample",
    "Hyper-SDXL-1step-Unet.safetensors": "Hyper-SD.*--sampler lcm --timesteps 800 --guidance 1",
    "juggernautXL_v9Hyper.safetensors": "Hyper-SD.*--timestep-spacing trailing --steps 8",
    "dreamshaper_8LCM.safetensors": "LCM.*--sampler lcm --steps 4 --guidance 1.5",
    "hyperrealism.safetensors": "it paints 20 steps with guidance 5: weights do not show",
}


def test_what_weights_do_not_show_is_spoken_of(tmp_path):
    for name, words in NAMES.items():
        file = whole(tmp_path, "XL", file=name)
        assert any(re.search(words, note) for note in opened(file, None, PourSettings()).notes), name
        assert not [
            note
            for note in opened(file, None, PourSettings(timestep_spacing="trailing")).notes
            if "weights do not" in note
        ]
    assert not [
        note for note in opened(whole(tmp_path, "XL LCM"), None, PourSettings()).notes if "weights do not" in note
    ]


def test_diffusers_names_in_one_file_are_read_and_judged(tmp_path):
    old = Checkpoint([whole(tmp_path, "XL")])
    shapes = {name: shape for name, shape in shapes_of(old).items() if name.startswith(("unet.", "text_encoder"))}
    shapes |= {"vae.decoder.mid_block.resnets.0.norm1.weight": (8,)}
    file = tmp_path / "own.safetensors"
    file.write_bytes(safetensors({key: np.ones(shape, np.float32) for key, shape in shapes.items()}))
    found = opened(file, None, PourSettings())
    assert found.notes[0] == "it is Stable Diffusion XL"
    assert {folder: set(named) for folder, named in found.weights.items()} == {
        folder: {name.removeprefix(f"{folder}.") for name in shapes if name.startswith(f"{folder}.")}
        for folder in ("text_encoder", "text_encoder_2", "unet", "vae")
    }


def test_vectors_behind_the_words_are_left_out_and_spoken_of(tmp_path):
    tokens = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    found = opened(whole(tmp_path, "SD 1", more={tokens: (49410, 1)}), None, PourSettings())
    name = "embeddings.token_embedding.weight"
    text = found.weights["text_encoder"]
    assert text.shapes[name] == text[name].raw.shape == (49408, 1)
    assert "not used: 2 vectors of its text_encoder that belong to no word" in found.notes


def test_numbers_that_nothing_reads_are_refused(tmp_path):
    file = tmp_path / "packed.safetensors"
    header = {f"{NETWORK}out.2.weight": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}
    file.write_bytes(framed(json.dumps(header).encode(), bytes(4)))
    with pytest.raises(ExportError, match="has model.diffusion_model.out.2.weight as U8, .*; choose the file of 16"):
        opened(file, None, PourSettings())


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_single_file_is_described_as_its_folder_would_be(tmp_path, name):
    texts, family, jobs, guidance = DESCRIBED[name]
    shapes = MODELS[name][0] | {f"{prefix}ln_final.weight": (8,) for prefix in texts} | {VAE: (8,)}
    file = tmp_path / "a: model.safetensors"
    file.write_bytes(safetensors({key: np.ones(shape, np.float32) for key, shape in shapes.items()}))
    found = opened(file, None, PourSettings())
    model = found.model
    rules = model.rules
    assert (generation(model), rules.tasks(model), rules.guidance(model)) == (family, jobs, guidance)
    assert model.name == "a- model"
    assert set(found.weights) == {part.folder for part in model.family.parts} == set(model.configs)
    assert found.pads.get("tokenizer_2", "!") == "!" and set(found.tokenizers.values()) == {None}
    vae = autoencoder(model)
    assert (vae.kind, vae.mean) == ("gaussian", (1.0,) * 4 if name == "Playground" else None)


def test_taesd_is_a_vae_of_a_file_and_of_two(tmp_path):
    """Its class, its scale and its graphs are other ones than those that a model has."""
    shapes = MODELS["SDXS"][0] | {"cond_stage_model.model.ln_final.weight": (8,), TINY: (8, 4, 3, 3)}
    whole = tmp_path / "model.safetensors"
    whole.write_bytes(safetensors({key: np.ones(shape, np.float32) for key, shape in shapes.items()}))
    decoder, encoder = (tmp_path / f"taesd_{half}.safetensors" for half in ("decoder", "encoder"))
    decoder.write_bytes(
        safetensors({"1.weight": np.ones((8, 4, 3, 3), np.float32), "3.conv.0.bias": np.ones(8, np.float32)})
    )
    with pytest.raises(ExportError, match="'taesd_encoder.safetensors', the other half of TAESD, is not beside it"):
        opened(whole, decoder, PourSettings())
    encoder.write_bytes(safetensors({"0.weight": np.ones((8, 3, 3, 3), np.float32)}))
    one = tmp_path / "diffusion_pytorch_model.safetensors"
    one.write_bytes(safetensors({"decoder.layers.0.weight": np.ones((8, 4, 3, 3), np.float32)}))
    for vae, keys in (
        (None, {"decoder.layers.0.weight"}),
        (one, {"decoder.layers.0.weight"}),
        (encoder, {"decoder.layers.0.weight", "decoder.layers.2.conv.0.bias", "encoder.layers.0.weight"}),
        (decoder, {"decoder.layers.0.weight", "decoder.layers.2.conv.0.bias", "encoder.layers.0.weight"}),
    ):
        found = opened(whole, vae, PourSettings())
        assert set(found.weights["vae"]) == keys
        made = autoencoder(found.model)
        assert (made.kind, made.scale, found.model.index["vae"]) == ("plain", 1.0, ["diffusers", "AutoencoderTiny"])
