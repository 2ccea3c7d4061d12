"""The config.json of a model's components: numbers that no model has, and ports that no bundle feeds."""

from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import EDITED
from pleinair.checks import is_number, one_line, shown, wholes
from pleinair.errors import ExportError
from pleinair.sources import transformer_checks
from pleinair.sources.describing import ADDED, Described, channels_behind, size_feed, vae_levels
from pleinair.sources.families import SUPPORTED
from pleinair.sources.weight_files import DOWNLOAD

FOREIGN_PORTS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim")
LARGEST = 1_000_000  # of the numbers in a component's config: its widths, its vocabulary
DEEPEST = 48  # layers in a row
LATENTS = 256  # latent pixels along one side of the default size


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
                f"'{one_line(path.name, 80)}' has {shown(value)} as {one_line(key, 80)} of its {component}; {DOWNLOAD}"
            )


def check_configs(path: Path, model: Described) -> None:
    """Raise ExportError for what a bundle has no port for, and for values of a wrong kind."""
    checks = plausible_vae(model.configs["vae"])
    checks |= plausible_unet(model) if model.transformer is None else transformer_checks.plausible(model)
    for part in model.family.readers:
        name, text = part.folder, model.configs[part.folder]
        lengths = [text_length(text), text.get("hidden_size", 512), text.get("num_hidden_layers", 12)]
        checks[f"max_position_embeddings of its {name}"] = wholes(lengths[:1], 4096) and lengths[0] >= 3
        checks[f"hidden_size and num_hidden_layers of its {name}"] = wholes(lengths[1:], LARGEST)
    wrong = [what for what, fine in checks.items() if not fine]
    if wrong:
        raise ExportError(f"'{one_line(path.name, 80)}' has impossible {wrong[0]}; {DOWNLOAD}")
    if model.transformer is None:
        check_ports(path, model)
        return
    for what, wrong in transformer_checks.misfits(model).items():
        if wrong:
            raise ExportError(f"'{one_line(path.name, 80)}' has a transformer that reads {what}; {DOWNLOAD}")


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


def plausible_unet(model: Described) -> dict[str, bool]:
    """What a UNet's config says, and whether a model can have it."""
    unet = model.unet
    sides = unet.get("sample_size")
    sides = sides if isinstance(sides, list) and len(sides) == 2 else [64 if sides is None else sides]
    widths = [model.channels, unet.get("in_channels", 4), unet.get("out_channels", 4)]
    told, joined = unet.get("time_cond_proj_dim"), unet.get("cross_attention_dim", 1280)
    checks = {
        "sample_size of its unet": wholes(sides, LATENTS),
        "channels of its vae and unet": wholes(widths, 256),
        "time_cond_proj_dim of its unet": told is None or (wholes([told], LARGEST) and told > 3),
        "cross_attention_dim of its unet": wholes([joined], LARGEST),
    }
    if model.family.pooling:
        added = [unet.get(key) for key in ("projection_class_embeddings_input_dim", "addition_time_embed_dim")]
        checks["numbers that its unet is told beside the text"] = wholes(added + model.pooled_widths, LARGEST)
    return checks


def check_ports(path: Path, model: Described) -> None:
    """Raise ExportError for a UNet that does not fit its latents, or is told what nothing here tells it."""
    name, unet = one_line(path.name, 80), model.unet
    read, made = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if channels_behind(model.family, read, model.channels) is None or made != model.channels:
        raise ExportError(
            f"'{name}' has a UNet of {read} channels in and {made} out for latents of {model.channels};"
            " choose a model for text to image, inpainting or editing"
        )
    texts = sum(model.configs[part.folder].get("hidden_size", 512) for part in model.family.readers)
    if texts != unet.get("cross_attention_dim", 1280):
        raise ExportError(f"'{name}' has a UNet that reads another width than its text is ({texts}); {DOWNLOAD}")
    foreign = [key for key in FOREIGN_PORTS if unet.get(key) is not None]
    if unet.get("addition_embed_type") != (ADDED if model.family.pooling else None):
        foreign.append("addition_embed_type")
    if unet.get("time_cond_proj_dim") and set(EDITED) & set(model.behind):
        foreign.append("time_cond_proj_dim")
    if foreign:
        raise ExportError(
            f"'{name}' has a UNet with {foreign[0]} {shown(unet.get(foreign[0]))}, which is not supported; choose a"
            f" plain model of {SUPPORTED}"
        )
    if model.pooled and size_feed(unet, model.pooled) is None:
        raise ExportError(
            f"'{name}' has a UNet that is told other numbers than a text and its sizes, which is not supported;"
            f" choose a plain model of {SUPPORTED}"
        )


def text_length(config: dict[str, Any]) -> Any:
    return config.get("max_position_embeddings", 77)


def are_moments(vae: dict[str, Any]) -> bool:
    """Whether a VAE's config has no mean and deviation of its latents, or a number of each for every channel."""
    lists = [vae.get(name) for name in ("latents_mean", "latents_std")]
    if lists == [None, None]:
        return True
    count = vae.get("latent_channels", 4)
    sized = all(isinstance(each, list) and len(each) == count and all(map(is_number, each)) for each in lists)
    return sized and all(lists[1])
