"""A model in one file: described as pouring does, and loaded by diffusers' own converters, or under its own names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Checkpoint, widened
from pleinair.pouring.names import Named
from pleinair.pouring.opened import opened
from pleinair.pouring.single_file import PLACES, component
from pleinair.pouring.told import PourSettings
from pleinair.pouring.topologies import plain
from pleinair.pouring.vaes import find_vae
from pleinair.pouring.vocabulary import EOS, write_tokenizer
from pleinair.sources.families import UNET, VAE, Component
from pleinair.sources.folder import Source
from pleinair.sources.small_files import write_json
from pleinair.sources.weight_files import read_header

UNETS = tuple(prefix for prefix, _ in PLACES[UNET.folder])  # of its names
KINDS = {"F16": torch.float16, "BF16": torch.bfloat16}  # those that weights are kept in


def is_model(file: Path) -> bool:
    """Whether a file holds a whole Stable Diffusion; raises ExportError for a .safetensors file that is none."""
    return file.suffix.lower() == ".safetensors" and any(name.startswith(UNETS) for name in read_header(file).tensors)


def open_single_file(file: Path, prediction: str | None, sampler: str | None, folder: Path) -> Source:
    """The model in a file; `folder` gets its configs and tokenizers, which diffusers asks for.

    Raises ExportError and RequestError as pouring does.
    """
    found = opened(file, None, PourSettings(prediction, sampler))
    model = replace(found.model, path=folder, file=file)
    for part in model.family.parts:
        (folder / part.folder).mkdir()
        write_json(folder / part.folder / "config.json", model.configs[part.folder])
    for part in model.family.readers:
        write_tokenizer(None, folder / part.tokenizer, model.length(part), found.pads.get(part.tokenizer, EOS))
    return model


def load_component(owner: type, model: Source, part: Component) -> tuple[torch.nn.Module, list[str]]:
    """A component of the class `owner`, its weights as the file has them, and the names of those that it has not."""
    from diffusers.loaders import single_file_utils

    stored = named(model.file, part.folder)
    dtype = stored_type(stored)
    if stored.prefix == f"{part.folder}." or stored.checkpoint.scaled:
        module = filled(network(owner, model.configs[part.folder]), stored).to(dtype)
        return module, [name for name, _ in module.named_parameters() if plain(name) not in stored]
    how = {"config": str(model.path), "subfolder": part.folder, "torch_dtype": dtype, "local_files_only": True}
    checkpoint = single_file_utils.load_single_file_checkpoint(str(model.file), local_files_only=True)
    if part.library == "transformers":
        module = single_file_utils.create_diffusers_clip_model_from_ldm(owner, checkpoint, **how)
    else:
        module = owner.from_single_file(checkpoint, **how)
    return module, [name for name, _ in module.named_parameters() if plain(name) not in stored]


def stored_type(stored: Named) -> torch.dtype:
    """What a component's weights are kept in."""
    kinds = {stored.checkpoint.kinds[stored.source(key)] for key in stored}
    return KINDS.get(kinds.pop(), torch.float32) if len(kinds) == 1 else torch.float32


def network(owner: type, config: dict[str, Any]) -> torch.nn.Module:
    """A component of the class `owner`, with numbers of its own."""
    return owner.from_config(config) if hasattr(owner, "load_config") else owner(owner.config_class(**config))


def filled(module: torch.nn.Module, stored: Named) -> torch.nn.Module:
    """A component with the parameters that are stored under diffusers' names."""
    state = {}
    for name, parameter in module.named_parameters():
        if plain(name) in stored:
            numbers = np.array(widened(*stored[plain(name)]))
            state[name] = torch.from_numpy(numbers).reshape(parameter.shape)
    module.load_state_dict(state, strict=False)
    return module


def named(file: Path, folder: str) -> Named:
    checkpoint = Checkpoint([file])
    if folder != VAE.folder:
        return component(checkpoint, folder, file.name)
    vae = find_vae(checkpoint)
    if vae is None or vae.part != VAE:
        raise ExportError(f"'{file.name}' has a VAE that is not exported; pour it, or give a diffusers folder")
    return vae.weights
