"""The configs of a transformer and of the text encoders beside it: numbers that fit together."""

from typing import Any

from pleinair.checks import wholes
from pleinair.sources.describing import Described
from pleinair.sources.families import T5_KIND, Part
from pleinair.sources.transformers import JOINT, POOLED_TEXT

WIDEST = 1 << 14  # numbers that a token of a text has
CHANNELS = 256
LARGEST_TOKEN = 8  # latents along one side of a token
SIDES = 256  # latents along one side of the default size


def plausible(model: Described) -> dict[str, bool]:
    """What a transformer's config says, and whether a model can have it."""
    config = model.network
    sides = config.get("sample_size")
    sides = sides if isinstance(sides, list) and len(sides) == 2 else [sides or SIDES]
    widths = [config.get(JOINT, WIDEST), config.get(POOLED_TEXT, WIDEST)]
    heard = [*(width(model, part) for part in model.family.readers), *model.pooled_widths]
    read, made = channels(config)
    return {
        "sample_size of its transformer": wholes(sides, SIDES),
        "channels of its vae and transformer": wholes([model.channels, read, made], CHANNELS),
        "patch_size of its transformer": wholes([config.get("patch_size", 1)], LARGEST_TOKEN),
        "widths of its transformer's texts": wholes(widths, WIDEST),
        "widths of its text encoders": wholes(heard, WIDEST),
    }


def misfits(model: Described) -> dict[str, bool]:
    """What does not fit together in a model whose numbers are plausible, and whether that is so."""
    config, transformer, readers = model.network, model.transformer, model.family.readers
    read, made = channels(config)
    widths = {name: width(model, part) for part in readers for name in part.graphs}
    told = [sum(widths.get(name, 0) for name in group) for group in model.family.groups]
    joint = config.get(JOINT, 4096)
    alone = len(told) == 1 and told[0] != joint
    return {
        "other latents than its VAE": read != made or read != model.channels * transformer.patch**2,
        "texts of another width than its text encoders": max(told) > joint or alone,
        "another pooled text than its text encoders": model.pooled != config.get(POOLED_TEXT, 2048),
        "tokens of a size that is not supported": transformer.patch > 1 and config.get("patch_size", 1) != 1,
    }


def channels(config: dict[str, Any]) -> tuple[Any, Any]:
    """What a transformer reads and makes."""
    read = config.get("in_channels", CHANNELS)
    return read, config.get("out_channels") or read


def width(model: Described, part: Part) -> Any:
    """Numbers that a text encoder says of each token."""
    config = model.configs[part.folder]
    return config.get("d_model", 512) if part.kind == T5_KIND else config.get("hidden_size", 512)
