"""Transformers as the network of the loop: what their classes ask for, told from their configs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pleinair.bundle.manifest import LATENTS, PLACES, SCALE, TIMESTEP, Denoiser, Joined, Port, TextEncoder
from pleinair.sources.families import Component

if TYPE_CHECKING:
    from pleinair.sources.describing import Described

Config = Mapping[str, Any]

GRAPH = "transformer"
OUTPUT = "out_sample"
TEXT, POOLED, TEXT_MASK = "text", "pooled", "text_mask"  # feeds that text encoders make
SIDE = 128  # latents along one side of the default size, where a config is silent


class OptionalPort(NamedTuple):
    """A port of graphs whose config has a true `key`, and its feed."""

    key: str
    port: str
    feed: str


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A class of transformers: the feed of each port, and how latents and times are given to it.

    A token holds `inner` x `inner` latents, of which `patch` x `patch` come packed. `optional` is a port more that some
    configs ask for. `defaults` are the steps and the guidance that suit a config
    and its scheduler's. `width` and `pooled` are the keys of the widths of its texts, and `silent` is what the class
    takes for keys that a config lacks. One that is `learned` may say as much again of the noise's variance, which
    nothing here asks for. `longest` is the key of the most tokens along a side, `told` that of a number by which the
    guidance that it is told is multiplied.
    """

    family: str
    ports: dict[str, str]
    defaults: Callable[[Config, Config], tuple[int, float]]
    silent: dict[str, Any]
    optional: OptionalPort | None = None
    patch: int = 1
    time_scale: float = 1.0
    width: str = "joint_attention_dim"
    pooled: str | None = "pooled_projection_dim"
    learned: bool = False
    longest: str | None = None
    told: str | None = None
    tasks: tuple[str, ...] = ("text2image", "image2image", "inpaint")
    refused: dict[str, str] = field(default_factory=dict)  # key -> what a transformer is told for which it is true

    def read(self, config: Config, key: str) -> Any:
        """A value of a config, or what the class takes for it."""
        value = config.get(key)
        return self.silent.get(key) if value is None else value

    def feeds(self, config: Config) -> dict[str, str]:
        """Port -> the feed that it takes."""
        if self.optional is None or not config.get(self.optional.key):
            return self.ports
        return self.ports | {self.optional.port: self.optional.feed}

    def denoiser(self, config: Config) -> Denoiser:
        told = 1.0 if self.told is None else float(self.read(config, self.told))
        scales = {"time_scale": self.time_scale, "guidance_scale": told}
        return Denoiser(GRAPH, self.feeds(config), OUTPUT, **scales, patch=self.patch)

    def channels(self, config: Config) -> int:
        """Of the latents that it reads."""
        return self.read(config, "in_channels") // self.patch**2

    def side(self, config: Config) -> int:
        """Latents along one side of a token."""
        return self.patch if self.patch > 1 else self.read(config, "patch_size")

    def described(self, config: Config) -> tuple[dict[str, Port], dict[str, Port]]:
        """Inputs and outputs of its graph."""
        channels = self.channels(config) * self.patch**2
        packed = ("batch", "patches", channels)
        latents = ("batch", channels, "height", "width") if self.patch == 1 else packed
        image, text = PLACES
        shapes: dict[str, tuple[int | str, ...]] = {
            LATENTS: latents,
            TIMESTEP: (1,),
            TEXT: ("batch", "tokens", self.read(config, self.width)),
            TEXT_MASK: ("batch", "tokens"),
            POOLED: ("batch", self.pooled and self.read(config, self.pooled)),
            image: ("patches", 3),
            text: ("tokens", 3),
            SCALE: ("batch",),
        }
        inputs = {port: Port("float32", shapes[feed]) for port, feed in self.feeds(config).items()}
        return inputs, {OUTPUT: Port("float32", latents)}


def joint_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' StableDiffusion3Pipeline, and the cards of 3.5 medium, which attends twice at times, and large."""
    if config.get("dual_attention_layers"):
        return 40, 4.5
    return (28, 3.5) if config.get("qk_norm") else (28, 7.0)


def packed_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' FluxPipeline; few steps and no guidance where neither the network nor the scheduler is told more."""
    if config.get("guidance_embeds"):
        return 28, 3.5
    return (28, 1.0) if scheduler.get("use_dynamic_shifting") else (4, 1.0)


def crossed_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' PixArtSigmaPipeline."""
    return 20, 4.5


def sprint_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' SanaSprintPipeline."""
    return 2, 4.5


NETWORK = {"hidden_states": LATENTS, "timestep": TIMESTEP, "encoder_hidden_states": TEXT}
JOINT = NETWORK | {"pooled_projections": POOLED}
TOLD_GUIDANCE = OptionalPort(key="guidance_embeds", port="guidance", feed=SCALE)
PIXART = Transformer(
    family="pixart-sigma",
    ports=NETWORK | {"encoder_attention_mask": TEXT_MASK},
    defaults=crossed_defaults,
    silent={"in_channels": 4, "out_channels": 8, "patch_size": 2, "sample_size": 128},
    width="caption_channels",
    pooled=None,
    learned=True,
    refused={"use_additional_conditions": "sizes beside the text"},
)
TRANSFORMERS = {
    "SD3Transformer2DModel": Transformer(
        family="sd3",
        ports=JOINT,
        defaults=joint_defaults,
        silent={
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 96,
        },
        longest="pos_embed_max_size",
    ),
    "FluxTransformer2DModel": Transformer(
        family="flux",
        ports=JOINT | {"img_ids": PLACES[0], "txt_ids": PLACES[1]},
        defaults=packed_defaults,
        silent={"in_channels": 64, "patch_size": 1, "joint_attention_dim": 4096, "pooled_projection_dim": 768},
        optional=TOLD_GUIDANCE,
        patch=2,
        time_scale=0.001,
    ),
    "PixArtTransformer2DModel": PIXART,
    "Transformer2DModel": PIXART,
    "SanaTransformer2DModel": Transformer(
        family="sana-sprint",
        ports=NETWORK | {"encoder_attention_mask": TEXT_MASK},
        defaults=sprint_defaults,
        silent={
            "in_channels": 32,
            "out_channels": 32,
            "patch_size": 1,
            "caption_channels": 2304,
            "guidance_embeds_scale": 0.1,
        },
        optional=TOLD_GUIDANCE,
        time_scale=0.001,
        width="caption_channels",
        pooled=None,
        told="guidance_embeds_scale",
    ),
}


def kind_of(model: "Described") -> Transformer:
    return TRANSFORMERS[model.family.denoiser.kind]


def generation(model: "Described") -> str:
    """What a bundle calls its family."""
    return kind_of(model).family


def tasks(model: "Described") -> tuple[str, ...]:
    """What a model can be asked for."""
    return kind_of(model).tasks


def guidance(model: "Described") -> str:
    """One of GUIDANCE of the manifest: a network that is told it has been trained to follow it."""
    return "embedded" if SCALE in kind_of(model).feeds(model.network).values() else "cfg"


def denoiser(model: "Described") -> Denoiser:
    return kind_of(model).denoiser(model.network)


def behind(model: "Described") -> tuple[str, ...]:
    """What the network reads behind the latents."""
    return ()


def side(model: "Described") -> int:
    """Latents that a side of a picture has a multiple of."""
    return kind_of(model).side(model.network)


def longest(model: "Described") -> int | None:
    """Latents that a side of a picture has at most."""
    kind = kind_of(model)
    return kind.longest and kind.read(model.network, kind.longest) * kind.side(model.network)


def conditioning(model: "Described", encoders: tuple[TextEncoder, ...]) -> dict[str, Joined]:
    """The feeds that text encoders make: tokens by the family's groups, which of them count, and all that is pooled."""
    family, kind, network = model.family, kind_of(model), model.network
    present = {encoder.graph for encoder in encoders}
    first, *rest = ([name for name in group if name in present] for group in family.groups)
    pooled = tuple(encoder.graph for encoder in encoders if encoder.pooled)
    masked = tuple(encoder.graph for encoder in encoders if encoder.masked)
    missing = sum(tokens_read(part, network) or 0 for part in family.absent)
    more = {
        "then": tuple(name for group in rest for name in group),
        "zeros": missing,
        "width": kind.read(network, kind.width),
    }
    made = {
        TEXT: Joined(tuple(first), **(more if rest else {})),
        POOLED: Joined(pooled, pooled=True),
        TEXT_MASK: Joined(masked, mask=True),
    }
    return {feed: joined for feed, joined in made.items() if joined.encoders}


def tokens_read(part: Component, network: Config) -> int | None:
    """How many tokens of a text are read, as diffusers has it; a network that is told no guidance reads fewer.

    None for encoders whose own config says it.
    """
    if not part.lengths:
        return None
    return max(part.lengths) if network.get("guidance_embeds") else min(part.lengths)
