"""The config.json of a model's components: numbers that no model has, and ports that no bundle feeds."""

from pathlib import Path
from typing import Any

from pleinair.checks import is_number, one_line, shown_value, wholes
from pleinair.errors import ExportError
from pleinair.sources import transformer_checks, unet_checks
from pleinair.sources.describing import Described, vae_levels
from pleinair.sources.unet_checks import LARGEST
from pleinair.sources.weight_files import DOWNLOAD

CHECKS = {"unet": unet_checks, "transformer": transformer_checks}  # folder of the network of the loop -> its checks
DEEPEST = 48  # layers in a row


def check_numbers(path: Path, component: str, config: dict[str, Any]) -> None:
    """Raise ExportError for a number in a component's config that no model has, at any depth."""
    left = [(key, value) for key, value in config.items() if key != "_name_or_path"]
    while left:
        key, value = left.pop()
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else ((key, each) for each in value)
            left += [(f"{key}.{name}" if isinstance(value, dict) else name, each) for name, each in inner]
        most = DEEPEST if "layer" in key else LARGEST
        if isinstance(value, int | float) and not abs(value) <= most:  # NaN is not, either
            raise ExportError(
                f"'{one_line(path.name, 80)}' has {shown_value(value)} as {one_line(key, 80)} of its {component};"
                f" {DOWNLOAD}"
            )


def check_configs(path: Path, model: Described) -> None:
    """Raise ExportError for what a bundle has no port for, and for values of a wrong kind."""
    of_network = CHECKS[model.family.denoiser.folder]
    checks = plausible_vae(model.configs["vae"]) | of_network.plausible(model)
    for part in model.family.readers:
        name, text = part.folder, model.configs[part.folder]
        length = min(part.lengths) if part.lengths else text_length(text)
        lengths = [length, text.get("hidden_size", 512), text.get("num_hidden_layers", 12)]
        checks[f"max_position_embeddings of its {name}"] = wholes(lengths[:1], 4096) and lengths[0] >= 3
        checks[f"hidden_size and num_hidden_layers of its {name}"] = wholes(lengths[1:], LARGEST)
    wrong = [what for what, fine in checks.items() if not fine]
    if wrong:
        raise ExportError(f"'{one_line(path.name, 80)}' has impossible {wrong[0]}; {DOWNLOAD}")
    of_network.check_ports(path, model)


def plausible_vae(vae: dict[str, Any]) -> dict[str, bool]:
    """What a VAE's config says, and whether a model can have it."""
    levels = vae_levels(vae)
    scale, shift = vae.get("scaling_factor", 0.18215), vae.get("shift_factor") or 0.0
    return {
        "block_out_channels of its vae": isinstance(levels, list) and 1 <= len(levels) <= 7 and wholes(levels, LARGEST),
        "scaling_factor of its vae": is_number(scale) and scale != 0,
        "shift_factor of its vae": is_number(shift),
        "latents_mean and latents_std of its vae": are_moments(vae),
    }


def text_length(config: dict[str, Any]) -> Any:
    """Tokens that a text encoder reads at once, by its config."""
    return config.get("max_position_embeddings", 77)


def are_moments(vae: dict[str, Any]) -> bool:
    """Whether a VAE's config has no mean and deviation of its latents, or a number of each for every channel."""
    lists = [vae.get(name) for name in ("latents_mean", "latents_std")]
    if lists == [None, None]:
        return True
    count = vae.get("latent_channels", 4)
    sized = all(isinstance(each, list) and len(each) == count and all(map(is_number, each)) for each in lists)
    return sized and all(lists[1])
