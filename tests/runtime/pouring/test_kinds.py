"""Single files are told apart by the names and shapes of their tensors, and what is not known is no v1."""

import numpy as np
import pytest

from pleinair.errors import ExportError, RequestError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.kinds import kind_of
from pleinair.pouring.opened import opened
from pleinair.pouring.single_file import predicted, shapes_of
from pleinair.sources.describing import autoencoder, generation
from vectors import safetensors

XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
REFINER = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"
NETWORK = "model.diffusion_model."
ATTENTION = "transformer_blocks.0.attn2.to_k.weight"


def network(channels=4, text=None, layers=2, levels=4, middle=2, deep=False, told=False):
    """The tensors of a UNet under its original names by which it is told apart, of no more numbers than that takes."""
    shapes = {"input_blocks.0.0.weight": (1, channels, 3, 3), "output_blocks.0.0.in_layers.0.weight": (1,)}
    block = 1
    for level in range(levels):
        for _ in range(layers):
            shapes[f"input_blocks.{block}.0.in_layers.2.weight"] = (1, 1, 3, 3)
            if text:
                shapes[f"input_blocks.{block}.1.{ATTENTION}"] = (1, text)
            block += 1
        if level < levels - 1:
            shapes[f"input_blocks.{block}.0.op.weight"] = (1, 1, 3, 3)
            block += 1
    shapes |= {name: (1,) for name in ("middle_block.0.in_layers.0.weight", "middle_block.1.proj_in.weight")[:middle]}
    shapes |= {f"output_blocks.{n}.0.in_layers.0.weight": (1,) for n in range(6)}
    shapes |= {"output_blocks.2.1.conv.weight": (1, 1, 3, 3)}
    shapes |= {"output_blocks.3.1.transformer_blocks.1.norm1.weight": (1,)} if deep else {}
    shapes |= {"time_embed.cond_proj.weight": (1, 256)} if told else {}
    return {NETWORK + name: shape for name, shape in shapes.items()}


def told(tmp_path, shapes):
    file = tmp_path / "m.safetensors"
    file.write_bytes(safetensors({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}))
    return kind_of(shapes_of(Checkpoint([file])), "m")


BASE, LAST = {XL: (1280,)}, {REFINER: (1280,)}
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


@pytest.mark.parametrize(
    "shapes, words",
    [
        ({"joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,)}, "Stable Diffusion 3.*PyTorch"),
        ({"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "FLUX.*PyTorch"),
        (network(text=1024, layers=1), "a small Stable Diffusion 2.*PyTorch"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320)}, "an adapter"),
        ({"unet.up.lora_A.weight": (4, 320)}, "an adapter"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a ControlNet, which is not supported"),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet, which is not supported"),
        ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "give it with --vae"),
        ({"decoder.layers.0.weight": (64, 4, 3, 3)}, "give it with --vae"),
        ({"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)}, "a UNet alone"),
        ({"input_blocks.0.0.weight": (320, 4, 3, 3)}, "a UNet alone"),
        (network(text=768) | {"scaled_fp8": ()}, "scaled 8-bit weights"),
    ],
)
def test_what_is_no_model_is_named_with_what_to_do(tmp_path, shapes, words):
    with pytest.raises(ExportError, match=words) as caught:
        told(tmp_path, shapes)
    assert "; " in str(caught.value)


@pytest.mark.parametrize("shapes", [network(), network(text=640), network(5, 768), {"weight": (4,)}])
def test_what_is_not_known_is_not_taken_for_anything(tmp_path, shapes):
    with pytest.raises(ExportError, match="is no model that is known by its weights' names and sizes"):
        told(tmp_path, shapes)


@pytest.mark.parametrize(
    "metadata, prediction",
    [
        ({"modelspec.prediction_type": "v"}, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
    ],
)
def test_a_file_of_sd_2_says_what_it_predicts_or_has_to_be_told(tmp_path, metadata, prediction):
    file = tmp_path / "two.safetensors"
    tensors = {name: np.zeros(shape, np.float32) for name, shape in network(text=1024).items()}
    file.write_bytes(safetensors(tensors, metadata))
    checkpoint = Checkpoint([file])
    assert predicted(kind_of(shapes_of(checkpoint), "two"), checkpoint, "two") == prediction
    file.write_bytes(safetensors(tensors, {"modelspec.resolution": "768x768"}))
    with pytest.raises(RequestError, match="does not say what it predicts; give --prediction v_prediction"):
        opened(file, None, None, None)


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_single_file_is_described_as_its_folder_would_be(tmp_path, name):
    texts, family, jobs, guidance = DESCRIBED[name]
    shapes = MODELS[name][0] | {f"{prefix}ln_final.weight": (8,) for prefix in texts} | {VAE: (8,)}
    file = tmp_path / "a: model.safetensors"
    file.write_bytes(safetensors({key: np.ones(shape, np.float32) for key, shape in shapes.items()}))
    found = opened(file, None, None, None)
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
        opened(whole, decoder, None, None)
    encoder.write_bytes(safetensors({"0.weight": np.ones((8, 3, 3, 3), np.float32)}))
    one = tmp_path / "diffusion_pytorch_model.safetensors"
    one.write_bytes(safetensors({"decoder.layers.0.weight": np.ones((8, 4, 3, 3), np.float32)}))
    for vae, keys in (
        (None, {"decoder.layers.0.weight"}),
        (one, {"decoder.layers.0.weight"}),
        (encoder, {"decoder.layers.0.weight", "decoder.layers.2.conv.0.bias", "encoder.layers.0.weight"}),
        (decoder, {"decoder.layers.0.weight", "decoder.layers.2.conv.0.bias", "encoder.layers.0.weight"}),
    ):
        found = opened(whole, vae, None, None)
        assert set(found.weights["vae"]) == keys
        made = autoencoder(found.model)
        assert (made.kind, made.scale, found.model.index["vae"]) == ("plain", 1.0, ["diffusers", "AutoencoderTiny"])
