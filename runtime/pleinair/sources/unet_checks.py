"""The configs of a UNet and of the text encoders beside it: numbers that fit together, ports that a bundle feeds."""

from pathlib import Path

from pleinair.bundle.manifest import EDITED
from pleinair.checks import one_line, shown_value, wholes
from pleinair.errors import ExportError
from pleinair.sources.describing import Described
from pleinair.sources.families import SUPPORTED
from pleinair.sources.unets import ADDED, channels_behind, size_feed
from pleinair.sources.weight_files import DOWNLOAD

FOREIGN_PORTS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim")
LARGEST = 1_000_000  # of the numbers in a component's config: its widths, its vocabulary
LATENTS = 256  # latent pixels along one side of the default size


def plausible(model: Described) -> dict[str, bool]:
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
        checks["inputs of its unet beside the text"] = wholes(added + model.pooled_widths, LARGEST)
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
            f"'{name}' has a UNet with {foreign[0]} {shown_value(unet.get(foreign[0]))}, which is not supported;"
            f" choose a plain model of {SUPPORTED}"
        )
    if model.pooled and size_feed(unet, model.pooled) is None:
        raise ExportError(
            f"'{name}' has a UNet that takes other inputs than a text and its sizes, which is not supported;"
            f" choose a plain model of {SUPPORTED}"
        )
