"""UNets as the network of the loop: what they ask for, told from their configs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pleinair.bundle.manifest import EDITED, KNOWN_FEEDS, LATENTS, TIMESTEP, Denoiser, Joined, Port, TextEncoder
from pleinair.sources.families import Family

if TYPE_CHECKING:
    from pleinair.sources.describing import Described

Config = Mapping[str, Any]

SIDE = 64  # latents along one side of the default size, where a config is silent
TEXT, POOLED = "text", "pooled"  # feeds that text encoders make
SIZE_IDS, SCORED, GUIDANCE_EMBEDDING = (
    "size_ids",
    "scored_size_ids",
    "guidance_embedding",
)  # feeds that follow from the request
SIZES = {KNOWN_FEEDS[feed]: feed for feed in (SIZE_IDS, SCORED)}  # count of numbers beside the text -> their feed
ADDED = "text_time"  # SDXL's way to tell the UNet more: a pooled text, and sizes
TASKS = {
    (): ("text2image", "image2image", "inpaint"),
    ("mask", "masked_image"): ("inpaint",),
    ("image",): ("edit",),
    ("scaled_image",): ("edit",),
}
REFINING = ("image2image", "inpaint")  # of a model that scores pictures: it goes on with them, and begins none


def generation(model: "Described") -> str:
    """What a bundle calls its family: SD 2 projects with linear layers and reads a width of 1024."""
    unet = model.unet
    if unet.get("addition_embed_type") == ADDED:
        return "sdxl-refiner" if model.scored else "sdxl"
    return "sd2" if unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024 else "sd1"


def tasks(model: "Described") -> tuple[str, ...]:
    """What a model can be asked for."""
    return REFINING if model.scored and not model.behind else TASKS[model.behind]


def guidance(model: "Described") -> str:
    """One of GUIDANCE of the manifest."""
    if model.unet.get("time_cond_proj_dim"):
        return "embedded"
    return "image_text" if set(EDITED) & set(model.behind) else "cfg"


def denoiser(model: "Described") -> Denoiser:
    return Denoiser("unet", unet_feeds(model.unet, model.pooled), "out_sample", model.behind)


def conditioning(model: "Described", encoders: tuple[TextEncoder, ...]) -> dict[str, Joined]:
    """The feeds that text encoders make."""
    pooled = tuple(encoder.graph for encoder in encoders if encoder.pooled)
    made = {TEXT: Joined(tuple(encoder.graph for encoder in encoders))}
    return made | ({POOLED: Joined(pooled, pooled=True)} if pooled else {})


def behind(model: "Described") -> tuple[str, ...]:
    """What the network reads behind the latents."""
    names = channels_behind(model.family, model.unet.get("in_channels", 4), model.channels) or ()
    return ("scaled_image",) if names == ("image",) and model.index.get("is_cosxl_edit") else names


def side(model: "Described") -> int:
    """Latents that a side of a picture has a multiple of."""
    return 1


def longest(model: "Described") -> int | None:
    """Latents that a side of a picture has at most."""
    return None


def channels_behind(family: Family, read: int, latents: int) -> tuple[str, ...] | None:
    """What a UNet of `read` channels is shown behind latents of `latents` channels; None if that is not known."""
    widths = {"mask": 1, "masked_image": latents, "image": latents}
    fitting = (names for names in family.behind if latents + sum(widths[name] for name in names) == read)
    return next(fitting, None)


def unet_feeds(unet: Config, pooled: int = 0) -> dict[str, str]:
    """Port of a UNet's graph -> the feed that it takes, where the pooled text has `pooled` numbers."""
    feeds = {"sample": LATENTS, "timestep": TIMESTEP, "encoder_hidden_states": TEXT}
    if unet.get("addition_embed_type") == ADDED:
        feeds |= {"text_embeds": POOLED, "time_ids": size_feed(unet, pooled) or SIZE_IDS}
    if unet.get("time_cond_proj_dim"):
        feeds |= {"timestep_cond": GUIDANCE_EMBEDDING}
    return feeds


def unet_ports(unet: Config, pooled: int = 0) -> tuple[dict[str, Port], dict[str, Port]]:
    """Inputs and outputs of a UNet's graph."""
    shapes: dict[str, tuple[int | str, ...]] = {
        LATENTS: ("batch", unet.get("in_channels", 4), "height", "width"),
        TIMESTEP: (1,),
        TEXT: ("batch", "tokens", unet.get("cross_attention_dim", 1280)),
        POOLED: ("batch", pooled),
        **{feed: ("batch", numbers) for numbers, feed in SIZES.items()},
        GUIDANCE_EMBEDDING: ("batch", unet.get("time_cond_proj_dim") or 0),
    }
    inputs = {port: Port("float32", shapes[feed]) for port, feed in unet_feeds(unet, pooled).items()}
    made = Port("float32", ("batch", unet.get("out_channels", 4), "height", "width"))
    return inputs, {"out_sample": made}


def size_feed(unet: Config, pooled: int) -> str | None:
    """The feed of the numbers that an SDXL UNet is told beside the pooled text; None for a count that no feed has."""
    both = unet.get("projection_class_embeddings_input_dim") or 0
    count, left = divmod(both - pooled, unet.get("addition_time_embed_dim") or 1)
    return None if left else SIZES.get(count)
