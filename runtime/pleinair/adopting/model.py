"""Which model a folder of graphs is: its family and its configs, told from graphs where files are silent."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pleinair.adopting.folder import INDEX
from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import shown, small_json
from pleinair.adopting.outline import Outline
from pleinair.errors import BundleError
from pleinair.sources.configs import check_configs, check_numbers
from pleinair.sources.describing import ADDED, SCALE, Described
from pleinair.sources.families import Family
from pleinair.sources.folder import family_of

WRITERS = re.compile(r"^(OV|ORT|Onnx)|(?<=StableDiffusion)Onnx(?=Pipeline)")  # what tools put into a pipeline's class
TINY = "AutoencoderTiny"  # decodes the latents of the loop as they are
LAYERS = 12  # of a CLIP text encoder whose config does not say, as in transformers
XL_SCALE = 0.13025
XL_SIDE = 128  # latents along one side

Outlines = Mapping[str, Outline]  # by graph
Config = dict[str, Any]


def read_index(root: Path) -> tuple[dict[str, Any], Family]:
    """model_index.json with diffusers' name of its pipeline class, and the family of that; raises BundleError."""
    index = small_json(root, INDEX)
    if index is None:
        raise BundleError(
            f"'{shown(root)}' has no {INDEX}, which says what model this is; {AGAIN}, with its small files"
        )
    if isinstance(index.get("_class_name"), str):
        index = {**index, "_class_name": WRITERS.sub("", index["_class_name"])}
    return index, family_of(root, index)


def described(root: Path, index: dict[str, Any], family: Family, outlines: Outlines, vae: Path | None) -> Described:
    """The model as its small files and graphs describe it; `vae` is the folder of another VAE, if that is to be used.

    Raises BundleError for configs that are damaged, or that nothing here can paint with.
    """
    texts = {part.folder: text_config(root, part.folder, outlines[part.folder]) for part in family.readers}
    unet = config_of(root, "unet") or unet_config(outlines["unet"], texts)
    decoder = outlines["vae_decoder"]
    found = config_of(vae or root, "vae_decoder", "vae", "vae_encoder")
    if found is None and vae is not None:
        raise BundleError(f"'{shown(vae)}' has no vae_decoder/config.json, which says how it scales latents; {AGAIN}")
    found = found or vae_config(decoder, unet)
    configs = {**texts, "unet": unet, "vae": as_autoencoder(found)}
    for name, config in configs.items():
        check_numbers(root, name, config)
    model = Described(family, index, configs)
    check_configs(root, model)
    return model


def config_of(root: Path, *folders: str) -> Config | None:
    """The first config.json of these folders."""
    configs = (small_json(root, f"{folder}/config.json") for folder in folders)
    return next((config for config in configs if config is not None), None)


def text_config(root: Path, folder: str, outline: Outline) -> Config:
    """A text encoder's config, or as much of one as its graph tells."""
    config = config_of(root, folder)
    if config is not None:
        return {"num_hidden_layers": LAYERS, **config}
    last, pooled = outline.output("last_hidden_state"), outline.output("text_embeds")
    table = outline.weight("token_embedding.weight") or (0, 0)
    positions = outline.weight("position_embedding.weight") or (77, 0)
    states = sum(any(name.startswith("hidden_states.") for name in port.names) for port in outline.outputs)
    ids = outline.input("input_ids")
    return {
        "hidden_size": (last and last.side(2)) or table[1],
        "max_position_embeddings": (ids and ids.side(1)) or positions[0],
        "num_hidden_layers": states - 1 if states else LAYERS,
        **({"projection_dim": pooled.side(1) or table[1]} if pooled else {}),
    }


def unet_config(outline: Outline, texts: Mapping[str, Config]) -> Config:
    """As much of a UNet's config as its graph tells."""
    sample, made, read = outline.input("sample"), outline.output("out_sample"), outline.input("encoder_hidden_states")
    first, last = outline.weight("conv_in.weight") or (0, 4), outline.weight("conv_out.weight") or (4, 0)
    config = {
        "in_channels": (sample and sample.side(1)) or first[1],
        "out_channels": (made and made.side(1)) or last[0],
        "cross_attention_dim": (read and read.side(2)) or sum(text["hidden_size"] for text in texts.values()),
    }
    pooled, ids, told = (outline.input(name) for name in ("text_embeds", "time_ids", "timestep_cond"))
    if pooled:
        width = pooled.side(1) or sum(text.get("projection_dim", 0) for text in texts.values())
        config |= {"addition_embed_type": ADDED, "addition_time_embed_dim": 256}
        config["projection_class_embeddings_input_dim"] = width + 256 * ((ids and ids.side(1)) or 6)
    if told:
        config["time_cond_proj_dim"] = told.side(1) or 256
    sides = [sample.side(axis) for axis in (2, 3)] if sample else [None]
    if all(sides):
        config["sample_size"] = sides
    elif pooled:
        config["sample_size"] = XL_SIDE
    return config


def vae_config(decoder: Outline, unet: Config) -> Config:
    """As much of a VAE's config as its decoder tells."""
    latents, picture = decoder.input("latent_sample"), decoder.output("sample")
    first = decoder.weight("post_quant_conv.weight") or decoder.weight("decoder.conv_in.weight") or (0, 4)
    sides = (latents and latents.side(2)), (picture and picture.side(2))
    factor = sides[1] // sides[0] if all(sides) else 8
    return {
        "latent_channels": (latents and latents.side(1)) or first[1],
        "block_out_channels": [128] * factor.bit_length(),
        "scaling_factor": XL_SCALE if unet.get("addition_embed_type") == ADDED else SCALE,
    }


def as_autoencoder(config: Config) -> Config:
    """A VAE's config in the words of AutoencoderKL's; a tiny one takes the loop's latents, whatever its config says."""
    if config.get("_class_name") != TINY:
        return config
    levels = config.get("block_out_channels") or config.get("encoder_block_out_channels")
    return {**config, "block_out_channels": levels, "scaling_factor": 1.0, "shift_factor": 0.0}
