"""The manifest of a model, told from the small files of its diffusers folder: rules, and nothing by a family's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from pleinair.bundle.manifest import (
    FORMAT,
    Autoencoder,
    Defaults,
    Denoiser,
    GraphInfo,
    Joined,
    Latents,
    Manifest,
    Origin,
    Placed,
    Sizes,
    TextEncoder,
)
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.verifying import FileInfo
from pleinair.pictures.colours import Rgb
from pleinair.sources import latent_spaces, transformers, unets
from pleinair.sources.families import Component, Family

Config = Mapping[str, Any]

RULES = {"unet": unets, "transformer": transformers}  # folder of the network of the loop -> the rules over its config


class VaeKind(NamedTuple):
    """The kind of its encoder's answer, the scale of its latents where a config is silent, and the side of its tiles.

    One of few channels, without attention, needs a fraction of the memory for a pixel.
    """

    answer: str
    scale: float
    tile: int | None = None


VAES = {  # by class
    "AutoencoderKL": VaeKind(answer="gaussian", scale=0.18215),
    "AutoencoderTiny": VaeKind(answer="plain", scale=1.0, tile=1536),
    "AutoencoderDC": VaeKind(answer="plain", scale=1.0),
}


@dataclass(frozen=True)
class Described:
    """A pipeline as its small files describe it: model_index.json, and config.json by component folder."""

    family: Family
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]

    @property
    def unet(self) -> Config:
        """The config of its UNet; KeyError for a model that has none."""
        return self.configs["unet"]

    @property
    def network(self) -> Config:
        """The config of the network of the loop."""
        return self.configs[self.family.denoiser.folder]

    @property
    def rules(self) -> ModuleType:
        """What is known of networks of its kind."""
        return RULES[self.family.denoiser.folder]

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.configs["vae"].get("latent_channels", 4)

    @property
    def behind(self) -> tuple[str, ...]:
        """What the network reads behind the latents."""
        return self.rules.behind(self)

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
        return unets.SCORED in denoiser(self).feeds.values()

    @property
    def size(self) -> tuple[int, int]:
        """Default height and width of the latents."""
        side, usual = self.network.get("sample_size"), self.rules.SIDE
        return tuple(side) if isinstance(side, list | tuple) else (side or usual, side or usual)

    @property
    def factor(self) -> int:
        """Image pixels per latent pixel along one side."""
        return vae_factor(self.configs["vae"])

    @property
    def multiple(self) -> int:
        """What the sides of a picture are multiples of."""
        return self.factor * self.rules.side(self)

    @property
    def longest(self) -> int | None:
        """What the sides of a picture are at most, if there is an end to what the network can place."""
        latents = self.rules.longest(self)
        return latents and self.factor * latents


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer folder and its text encoder's config say; the last two are as in the manifest's TextEncoder."""

    length: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int
    prefix: str = ""
    kept: int | None = None


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
        tasks=model.rules.tasks(model),
        latents=Latents(model.channels, model.multiple, made.rgb or colours(model), model.longest),
        vaes={"default": autoencoder(model)},
        defaults=made.defaults,
        text_encoders=encoders,
        conditioning=conditioning(model, encoders),
        denoisers=(denoiser(model),),
        guidance=model.rules.guidance(model),
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


def colours(model: Described) -> Rgb | None:
    """The map that shows its latents without the VAE, where they are known."""
    vae = model.family.part("vae").kind
    return latent_spaces.known_rgb(model.configs["vae"], vae, model.family.denoiser.kind)


def generation(model: Described) -> str:
    """What a bundle calls its family."""
    return model.rules.generation(model)


def denoiser(model: Described) -> Denoiser:
    """What a bundle says of the network of the loop."""
    return model.rules.denoiser(model)


def pooled_width(part: Component, config: Config) -> Any:
    """Numbers that a text encoder says of a text as a whole."""
    return config.get(part.pooled_key, 512)


def text_encoders(model: Described, tokens: dict[str, Tokens]) -> tuple[TextEncoder, ...]:
    """What a bundle says of the text encoders, with `tokens` by tokenizer folder."""
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
                cut=bool(part.lengths) or (bool(told) and graph not in told),
                emphasis="plain" if part.lengths else "mean",
                masked=part.masked,
                lowered=part.masked,
                prefix=ids.prefix,
                kept=ids.kept,
            )
        )
    return tuple(encoders)


def read_output(model: Described, folder: str) -> str:
    """The output of a text encoder that the denoiser is told."""
    if not model.family.skipped or model.family.part(folder).lengths:
        return "last_hidden_state"
    return f"hidden_states.{model.configs[folder]['num_hidden_layers'] - model.family.skipped}"


def conditioning(model: Described, encoders: tuple[TextEncoder, ...]) -> dict[str, Joined]:
    """The feeds that text encoders make."""
    return model.rules.conditioning(model, encoders)


def autoencoder(model: Described) -> Autoencoder:
    return autoencoder_of(model.configs["vae"], model.family.part("vae").kind)


def autoencoder_of(vae: Config, kind: str) -> Autoencoder:
    """The graphs and numbers of an autoencoder of the diffusers class `kind`."""
    known, factor = VAES[kind], vae_factor(vae)
    mean, std = vae.get("latents_mean"), vae.get("latents_std")
    own = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))} if mean and std else {}
    scale, shift = vae.get("scaling_factor", known.scale), vae.get("shift_factor") or 0.0
    numbers = {"scale": float(scale), "shift": float(shift), **own}
    return Autoencoder("vae_decoder", "vae_encoder", factor, **numbers, kind=known.answer, tile=known.tile)


def vae_levels(vae: Config) -> Any:
    """The widths of an autoencoder's levels, each half as large as the one before."""
    return vae.get("block_out_channels", vae.get("encoder_block_out_channels"))


def vae_factor(vae: Config) -> int:
    """Image pixels per latent pixel along one side."""
    return 2 ** (len(vae_levels(vae)) - 1)
