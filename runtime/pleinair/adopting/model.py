"""Which model a folder of graphs is: its family and its configs, told from graphs where files are silent."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pleinair.adopting.folder import DECODER, ENCODER, INDEX
from pleinair.adopting.ir import AGAIN
from pleinair.adopting.layout import has, small_json
from pleinair.adopting.outline import Outline
from pleinair.checks import quoted, shown_path
from pleinair.errors import BundleError
from pleinair.sources.configs import check_configs, check_numbers
from pleinair.sources.describing import VAES, Described
from pleinair.sources.families import Family, as_plain
from pleinair.sources.folder import known_family
from pleinair.sources.hub_cache import newest_snapshot
from pleinair.sources.transformers import TRANSFORMERS
from pleinair.sources.unets import ADDED

WRITERS = re.compile(r"^(OV|ORT|Onnx)|(?<=StableDiffusion)Onnx(?=Pipeline)")  # what tools put into a pipeline's class
TINY = "AutoencoderTiny"  # decodes the latents of the loop as they are
LAYERS, LENGTH = 12, 77  # of a CLIP text encoder whose config does not say, as in transformers
CHANNELS, FACTOR = 4, 8  # of latents
SINUSOIDS, SIZES = 256, 6  # numbers that each of SDXL's sizes is told in, and how many sizes
XL_SCALE = 0.13025
XL_SIDE = 128  # latents along one side

Outlines = Mapping[str, Outline]  # by graph
Config = dict[str, Any]


def read_index(root: Path) -> tuple[dict[str, Any], Family]:
    """model_index.json with diffusers' name of its pipeline class, and the family of that; raises BundleError."""
    index = small_json(root, INDEX)
    if index is None:
        whole = part_of(root)
        more = f"give {quoted(whole)}" if whole else f"{AGAIN}, with its small files"
        raise BundleError(f"'{shown_path(root)}' has no {INDEX}, which says what model this is; {more}")
    if isinstance(index.get("_class_name"), str):
        index = {**index, "_class_name": WRITERS.sub("", index["_class_name"])}
    index = as_plain(index)
    if "vae" not in index and (root / DECODER).is_dir():  # tools list the two halves of a VAE, or none
        index = {**index, "vae": ["diffusers", "AutoencoderKL"]}
    return index, known_family(root, index)


def part_of(folder: Path) -> Path | None:
    """The model that a folder is a part of, or the newest of those in it, where it is a hub's cache."""
    return folder.parent if has(folder.parent, INDEX) else newest_snapshot(folder)


def described(root: Path, index: dict[str, Any], family: Family, outlines: Outlines, vae: Path | None) -> Described:
    """The model as its small files and graphs describe it; `vae` is the folder of another VAE, if that is to be used.

    Raises BundleError for configs that are damaged, or that nothing here can paint with.
    """
    name, silent = family.denoiser.folder, family.denoiser.kind in TRANSFORMERS
    if silent:  # graphs tell nothing of packing, or of the width of what T5 says
        require_configs(root, [name, *(part.folder for part in family.readers)])
    texts = {part.folder: text_config(root, part.folder, outlines[part.folder]) for part in family.readers}
    network = config_of(root, name) or unet_config(outlines[name], texts)
    found = config_of(vae or root, DECODER, "vae", ENCODER)
    if found is None and (silent or vae is not None):
        raise BundleError(
            f"'{shown_path(vae or root)}' has no {DECODER}/config.json, which says how it scales latents; {AGAIN}"
        )
    found = found or vae_config(outlines[DECODER], network)
    configs = {**texts, name: network, "vae": as_autoencoder(found)}
    for name, config in configs.items():
        check_numbers(root, name, config)
    model = Described(family, index, configs)
    check_configs(root, model)
    return model


def require_configs(root: Path, folders: Iterable[str]) -> None:
    """Raise BundleError for the first of these components whose config.json is missing."""
    lacking = next((name for name in folders if not has(root, f"{name}/config.json")), None)
    if lacking is not None:
        raise BundleError(
            f"'{shown_path(root)}' has no {lacking}/config.json, which says what it is; {AGAIN}, with that"
        )


def config_of(root: Path, *folders: str) -> Config | None:
    """The first config.json of these folders."""
    configs = (small_json(root, f"{folder}/config.json") for folder in folders)
    return next((config for config in configs if config is not None), None)


def text_config(root: Path, folder: str, outline: Outline) -> Config:
    """A text encoder's config, or as much of one as its graph tells."""
    config = config_of(root, folder)
    if config is not None:
        return {"num_hidden_layers": LAYERS, **config}
    states = sum(any(name.startswith("hidden_states.") for name in port.names) for port in outline.outputs)
    width = outline.side("last_hidden_state", 2) or outline.weight_side("token_embedding.weight", 1) or 0
    length = outline.side("input_ids", 1) or outline.weight_side("position_embedding.weight", 0) or LENGTH
    return {
        "hidden_size": width,
        "max_position_embeddings": length,
        "num_hidden_layers": states - 1 if states else LAYERS,
        "projection_dim": outline.side("text_embeds", 1) or width,
    }


def unet_config(outline: Outline, texts: Mapping[str, Config]) -> Config:
    """As much of a UNet's config as its graph tells."""
    config: Config = {
        "in_channels": outline.side("sample", 1) or outline.weight_side("conv_in.weight", 1) or CHANNELS,
        "out_channels": outline.side("out_sample", 1) or outline.weight_side("conv_out.weight", 0) or CHANNELS,
        "cross_attention_dim": outline.side("encoder_hidden_states", 2) or total(texts, "hidden_size"),
    }
    sides = [outline.side("sample", axis) for axis in (2, 3)]
    if all(sides):
        config["sample_size"] = sides
    if outline.input("text_embeds"):
        width = outline.side("text_embeds", 1) or total(texts, "projection_dim")
        told = width + SINUSOIDS * (outline.side("time_ids", 1) or SIZES)
        config |= {"addition_embed_type": ADDED, "addition_time_embed_dim": SINUSOIDS}
        config = {"sample_size": XL_SIDE, **config, "projection_class_embeddings_input_dim": told}
    if outline.input("timestep_cond"):
        config["time_cond_proj_dim"] = outline.side("timestep_cond", 1) or SINUSOIDS
    return config


def total(texts: Mapping[str, Config], key: str) -> int:
    """A number of all text encoders together; 0 where one is none."""
    numbers = [text.get(key) for text in texts.values()]
    return sum(numbers) if all(type(each) is int for each in numbers) else 0


def vae_config(decoder: Outline, unet: Config) -> Config:
    """As much of a VAE's config as its decoder tells."""
    small, large = decoder.side("latent_sample", 2), decoder.output("sample")
    channels = decoder.side("latent_sample", 1) or decoder.weight_side("post_quant_conv.weight", 1)
    large = large and large.side(2)
    factor = large // small if large and small else FACTOR
    return {
        "latent_channels": channels or decoder.weight_side("decoder.conv_in.weight", 1) or CHANNELS,
        "block_out_channels": [128] * factor.bit_length(),
        "scaling_factor": XL_SCALE if unet.get("addition_embed_type") == ADDED else VAES["AutoencoderKL"].scale,
    }


def as_autoencoder(config: Config) -> Config:
    """A VAE's config in the words of AutoencoderKL's; a tiny one takes the loop's latents, whatever its config says."""
    if config.get("_class_name") != TINY:
        return config
    levels = config.get("block_out_channels") or config.get("encoder_block_out_channels")
    return {**config, "block_out_channels": levels, "scaling_factor": 1.0, "shift_factor": 0.0}
