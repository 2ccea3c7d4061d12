"""The manifest of a model, told from the small files of its diffusers folder: rules, and nothing by a family's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pleinair.bundle.manifest import (
    EDITED,
    FORMAT,
    KNOWN_FEEDS,
    LATENTS,
    TIMESTEP,
    Autoencoder,
    Defaults,
    Denoiser,
    GraphInfo,
    Joined,
    Latents,
    Manifest,
    Origin,
    Placed,
    Port,
    Sizes,
    TextEncoder,
)
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.verifying import FileInfo
from pleinair.sources.families import PROJECTED, Family

Config = Mapping[str, Any]

TEXT, POOLED = "text", "pooled"  # feeds that text encoders make
SIZE_IDS, SCORED, GUIDANCE = "size_ids", "scored_size_ids", "guidance_embedding"  # feeds that follow from the request
SIZES = {KNOWN_FEEDS[feed]: feed for feed in (SIZE_IDS, SCORED)}  # count of numbers beside the text -> their feed
ADDED = "text_time"  # SDXL's way to tell the UNet more: a pooled text, and sizes
TASKS = {
    (): ("text2image", "image2image", "inpaint"),
    ("mask", "masked_image"): ("inpaint",),
    ("image",): ("edit",),
    ("scaled_image",): ("edit",),
}
REFINING = ("image2image", "inpaint")  # of a model that scores pictures: it goes on with them, and begins none
VAES = {  # class -> the kind of its encoder's answer, and the scale of its latents where a config is silent
    "AutoencoderKL": ("gaussian", 0.18215),
    "AutoencoderTiny": ("plain", 1.0),
}


@dataclass(frozen=True)
class Described:
    """A pipeline as its small files describe it: model_index.json, and config.json by component folder."""

    family: Family
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]

    @property
    def unet(self) -> Config:
        return self.configs["unet"]

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.configs["vae"].get("latent_channels", 4)

    @property
    def behind(self) -> tuple[str, ...]:
        """What the UNet reads behind the latents."""
        names = channels_behind(self.family, self.unet.get("in_channels", 4), self.channels) or ()
        return ("scaled_image",) if names == ("image",) and self.index.get("is_cosxl_edit") else names

    @property
    def pooled(self) -> int:
        """Numbers of the pooled texts that the UNet is told."""
        return sum(self.configs[part.folder].get("projection_dim", 512) for part in self.family.pooling)

    @property
    def scored(self) -> bool:
        """Whether the UNet is told how well a picture is scored."""
        return SCORED in unet_feeds(self.unet, self.pooled).values()

    @property
    def size(self) -> tuple[int, int]:
        """Default height and width of the latents."""
        side = self.unet.get("sample_size")
        return tuple(side) if isinstance(side, list | tuple) else (side or 64, side or 64)

    @property
    def factor(self) -> int:
        """Image pixels per latent pixel along one side."""
        return vae_factor(self.configs["vae"])


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer folder and its text encoder's config say."""

    length: int
    bos_id: int
    eos_id: int
    pad_id: int


@dataclass(frozen=True)
class Made:
    """What is known of a bundle once its files are written."""

    name: str
    graphs: dict[str, GraphInfo]
    files: dict[str, FileInfo]
    origin: Origin
    defaults: Defaults
    tokens: dict[str, Tokens]  # by tokenizer folder
    rgb: tuple[tuple[float, ...], ...] | None = None
    vocabulary: tuple[str, ...] = ()
    sizes: Sizes | None = None
    weights: dict[str, dict[str, dict[str, Placed]]] = field(default_factory=dict)


def painter_manifest(model: Described, made: Made) -> Manifest:
    """bundle.json of a model that paints."""
    encoders = text_encoders(model, made.tokens)
    return Manifest(
        format=FORMAT,
        name=made.name,
        family=f"{generation(model.unet)}-refiner" if model.scored else generation(model.unet),
        tasks=REFINING if model.scored and not model.behind else TASKS[model.behind],
        latents=Latents(model.channels, model.factor, made.rgb),
        vaes={"default": autoencoder(model)},
        defaults=made.defaults,
        text_encoders=encoders,
        conditioning=conditioning(encoders),
        denoisers=(Denoiser("unet", unet_feeds(model.unet, model.pooled), "out_sample", model.behind),),
        guidance=guidance_kind(model),
        scheduler="scheduler/scheduler_config.json",
        graphs=made.graphs,
        files=made.files,
        origin=made.origin,
        vocabulary=made.vocabulary,
        sizes=made.sizes,
        weights=made.weights,
    )


def upscaler_manifest(name: str, scale: int, graph: GraphInfo, files: dict[str, FileInfo], origin: Origin) -> Manifest:
    """bundle.json of an upscaler."""
    return Manifest(
        format=FORMAT,
        name=name,
        family=UPSCALER,
        tasks=("upscale",),
        graphs={UPSCALER: graph},
        files=files,
        origin=origin,
        scale=scale,
    )


def generation(unet: Config) -> str:
    """ "sdxl", or from the UNet's text "sd1" or "sd2": SD 2 projects with linear layers and reads a width of 1024."""
    if unet.get("addition_embed_type") == ADDED:
        return "sdxl"
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def channels_behind(family: Family, read: int, latents: int) -> tuple[str, ...] | None:
    """What a UNet of `read` channels is shown behind latents of `latents` channels; None if that is not known."""
    widths = {"mask": 1, "masked_image": latents, "image": latents}
    fitting = (names for names in family.behind if latents + sum(widths[name] for name in names) == read)
    return next(fitting, None)


def guidance_kind(model: Described) -> str:
    """One of GUIDANCE of the manifest."""
    if model.unet.get("time_cond_proj_dim"):
        return "embedded"
    return "image_text" if set(EDITED) & set(model.behind) else "cfg"


def unet_feeds(unet: Config, pooled: int = 0) -> dict[str, str]:
    """Port of a UNet's graph -> the feed that it takes, where the pooled text has `pooled` numbers."""
    feeds = {"sample": LATENTS, "timestep": TIMESTEP, "encoder_hidden_states": TEXT}
    if unet.get("addition_embed_type") == ADDED:
        feeds |= {"text_embeds": POOLED, "time_ids": size_feed(unet, pooled) or SIZE_IDS}
    if unet.get("time_cond_proj_dim"):
        feeds |= {"timestep_cond": GUIDANCE}
    return feeds


def unet_ports(unet: Config, pooled: int = 0) -> tuple[dict[str, Port], dict[str, Port]]:
    """Inputs and outputs of a UNet's graph."""
    shapes: dict[str, tuple[int | str, ...]] = {
        LATENTS: ("batch", unet.get("in_channels", 4), "height", "width"),
        TIMESTEP: (1,),
        TEXT: ("batch", "tokens", unet.get("cross_attention_dim", 1280)),
        POOLED: ("batch", pooled),
        **{feed: ("batch", numbers) for numbers, feed in SIZES.items()},
        GUIDANCE: ("batch", unet.get("time_cond_proj_dim") or 0),
    }
    inputs = {port: Port("float32", shapes[feed]) for port, feed in unet_feeds(unet, pooled).items()}
    made = Port("float32", ("batch", unet.get("out_channels", 4), "height", "width"))
    return inputs, {"out_sample": made}


def size_feed(unet: Config, pooled: int) -> str | None:
    """The feed of the numbers that an SDXL UNet is told beside the pooled text; None for a count that no feed has."""
    both = unet.get("projection_class_embeddings_input_dim") or 0
    count, left = divmod(both - pooled, unet.get("addition_time_embed_dim") or 1)
    return None if left else SIZES.get(count)


def text_encoders(model: Described, tokens: dict[str, Tokens]) -> tuple[TextEncoder, ...]:
    zeros = model.index.get("force_zeros_for_empty_prompt", model.family.zeros)
    encoders = []
    for part in model.family.readers:
        (graph,) = part.graphs
        ids = tokens[part.tokenizer]
        encoders.append(
            TextEncoder(
                graph=graph,
                tokenizer=part.tokenizer,
                length=ids.length,
                bos_id=ids.bos_id,
                eos_id=ids.eos_id,
                pad_id=ids.pad_id,
                output=read_output(model, part.folder),
                pooled="text_embeds" if part.kind == PROJECTED else None,
                empty="zeros" if zeros else "encode",
            )
        )
    return tuple(encoders)


def read_output(model: Described, folder: str) -> str:
    """The output of a text encoder that the denoiser is told."""
    if not model.family.skipped:
        return "last_hidden_state"
    return f"hidden_states.{model.configs[folder]['num_hidden_layers'] - model.family.skipped}"


def conditioning(encoders: tuple[TextEncoder, ...]) -> dict[str, Joined]:
    """The feeds that text encoders make."""
    pooled = tuple(encoder.graph for encoder in encoders if encoder.pooled)
    made = {TEXT: Joined(tuple(encoder.graph for encoder in encoders))}
    return made | ({POOLED: Joined(pooled, pooled=True)} if pooled else {})


def autoencoder(model: Described) -> Autoencoder:
    return autoencoder_of(model.configs["vae"], model.family.part("vae").kind)


def autoencoder_of(vae: Config, kind: str) -> Autoencoder:
    """The graphs and numbers of an autoencoder of the diffusers class `kind`."""
    answer, silent = VAES[kind]
    mean, std = vae.get("latents_mean"), vae.get("latents_std")
    own = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))} if mean and std else {}
    scale, shift = vae.get("scaling_factor", silent), vae.get("shift_factor") or 0.0
    return Autoencoder("vae_decoder", "vae_encoder", vae_factor(vae), float(scale), float(shift), **own, kind=answer)


def vae_levels(vae: Config) -> Any:
    """The widths of an autoencoder's levels, each half as large as the one before."""
    return vae.get("block_out_channels", vae.get("encoder_block_out_channels"))


def vae_factor(vae: Config) -> int:
    """Image pixels per latent pixel along one side."""
    return 2 ** (len(vae_levels(vae)) - 1)
