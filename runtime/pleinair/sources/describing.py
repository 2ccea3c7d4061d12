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
from pleinair.sources import transformers
from pleinair.sources.families import PROJECTED, T5_KIND, Family, Part
from pleinair.sources.transformers import TRANSFORMERS, Transformer

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
    def network(self) -> Config:
        """The config of the network of the loop."""
        return self.configs[self.family.denoiser.folder]

    @property
    def transformer(self) -> Transformer | None:
        """What is known of that network where it is no UNet."""
        return TRANSFORMERS.get(self.family.denoiser.kind)

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.configs["vae"].get("latent_channels", 4)

    @property
    def behind(self) -> tuple[str, ...]:
        """What the network reads behind the latents."""
        if self.transformer is not None:
            return ()
        names = channels_behind(self.family, self.unet.get("in_channels", 4), self.channels) or ()
        return ("scaled_image",) if names == ("image",) and self.index.get("is_cosxl_edit") else names

    @property
    def pooled_widths(self) -> list[Any]:
        """Numbers of each pooled text that the network is told."""
        return [pooled_width(part, self.configs[part.folder]) for part in self.family.pooling]

    @property
    def pooled(self) -> int:
        """Numbers of the pooled texts together."""
        return sum(self.pooled_widths)

    @property
    def scored(self) -> bool:
        """Whether the network is told how well a picture is scored."""
        return SCORED in denoiser(self).feeds.values()

    @property
    def size(self) -> tuple[int, int]:
        """Default height and width of the latents."""
        side, usual = self.network.get("sample_size"), 64 if self.transformer is None else transformers.SIZE
        return tuple(side) if isinstance(side, list | tuple) else (side or usual, side or usual)

    @property
    def factor(self) -> int:
        """Image pixels per latent pixel along one side."""
        return vae_factor(self.configs["vae"])

    @property
    def multiple(self) -> int:
        """What the sides of a picture are multiples of."""
        return self.factor * (1 if self.transformer is None else self.transformer.side(self.network))


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer folder and its text encoder's config say."""

    length: int
    bos_id: int | None
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
        family=generation(model),
        tasks=tasks(model),
        latents=Latents(model.channels, model.multiple, made.rgb),
        vaes={"default": autoencoder(model)},
        defaults=made.defaults,
        text_encoders=encoders,
        conditioning=conditioning(model, encoders),
        denoisers=(denoiser(model),),
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


def generation(model: Described) -> str:
    """What a bundle calls its family: SD 2 projects with linear layers and reads a width of 1024."""
    if model.transformer is not None:
        return model.transformer.family
    if model.unet.get("addition_embed_type") == ADDED:
        return "sdxl-refiner" if model.scored else "sdxl"
    second = model.unet.get("use_linear_projection") or model.unet.get("cross_attention_dim", 0) == 1024
    return "sd2" if second else "sd1"


def tasks(model: Described) -> tuple[str, ...]:
    """What a model can be asked for."""
    if model.transformer is not None:
        return transformers.TASKS
    return REFINING if model.scored and not model.behind else TASKS[model.behind]


def channels_behind(family: Family, read: int, latents: int) -> tuple[str, ...] | None:
    """What a UNet of `read` channels is shown behind latents of `latents` channels; None if that is not known."""
    widths = {"mask": 1, "masked_image": latents, "image": latents}
    fitting = (names for names in family.behind if latents + sum(widths[name] for name in names) == read)
    return next(fitting, None)


def guidance_kind(model: Described) -> str:
    """One of GUIDANCE of the manifest."""
    if model.transformer is not None:
        return model.transformer.guidance(model.network)
    if model.unet.get("time_cond_proj_dim"):
        return "embedded"
    return "image_text" if set(EDITED) & set(model.behind) else "cfg"


def denoiser(model: Described) -> Denoiser:
    if model.transformer is not None:
        return model.transformer.denoiser(model.network)
    return Denoiser("unet", unet_feeds(model.unet, model.pooled), "out_sample", model.behind)


def pooled_width(part: Part, config: Config) -> Any:
    """Numbers that a text encoder says of a text as a whole."""
    return config.get("projection_dim" if part.kind == PROJECTED else "hidden_size", 512)


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
    told = {name for group in model.family.groups for name in group}
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
                pooled=part.pooled,
                empty="zeros" if zeros else "encode",
                cut=part.kind == T5_KIND or (bool(told) and graph not in told),
                emphasis="plain" if part.kind == T5_KIND else "mean",
            )
        )
    return tuple(encoders)


def read_output(model: Described, folder: str) -> str:
    """The output of a text encoder that the denoiser is told."""
    if not model.family.skipped or model.family.part(folder).kind == T5_KIND:
        return "last_hidden_state"
    return f"hidden_states.{model.configs[folder]['num_hidden_layers'] - model.family.skipped}"


def conditioning(model: Described, encoders: tuple[TextEncoder, ...]) -> dict[str, Joined]:
    """The feeds that text encoders make."""
    if model.family.groups:
        return transformers.joined(model.family, encoders, model.network)
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
