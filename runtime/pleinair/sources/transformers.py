"""Transformers as the network of the loop: what their classes ask for, told from their configs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pleinair.bundle.manifest import LATENTS, PLACES, SCALE, TIMESTEP, Denoiser, Joined, Port, TextEncoder
from pleinair.sources.families import T5_KIND, Family, Part

Config = Mapping[str, Any]

GRAPH = "transformer"
OUTPUT = "out_sample"
TEXT, POOLED = "text", "pooled"  # feeds that text encoders make
JOINT, POOLED_TEXT = "joint_attention_dim", "pooled_projection_dim"  # keys of both classes: widths of these
TASKS = ("text2image", "image2image")
SIZE = 128  # latents along one side, where a config is silent


@dataclass(frozen=True)
class Transformer:
    """A class of transformers: the feed of each port, and how latents and times are given to it.

    A token holds `inner` x `inner` latents, of which `patch` x `patch` come packed. `ports` has more for some configs:
    the key that is true of them, the port and its feed. `defaults` are the steps and the guidance that suit a config
    and its scheduler's.
    """

    family: str
    ports: dict[str, str]
    defaults: Callable[[Config, Config], tuple[int, float]]
    more: tuple[str, str, str] | None = None
    patch: int = 1
    time_scale: float = 1.0

    def feeds(self, config: Config) -> dict[str, str]:
        """Port -> the feed that it takes."""
        if self.more is None or not config.get(self.more[0]):
            return self.ports
        _, port, feed = self.more
        return self.ports | {port: feed}

    def denoiser(self, config: Config) -> Denoiser:
        return Denoiser(GRAPH, self.feeds(config), OUTPUT, time_scale=self.time_scale, patch=self.patch)

    def channels(self, config: Config) -> int:
        """Of the latents that it reads."""
        return config.get("in_channels", 16 * self.patch**2) // self.patch**2

    def side(self, config: Config) -> int:
        """Latents along one side of a token."""
        return self.patch if self.patch > 1 else config.get("patch_size", 2)

    def guidance(self, config: Config) -> str:
        """One of GUIDANCE of the manifest: a network that is told it has been trained to follow it."""
        return "embedded" if SCALE in self.feeds(config).values() else "cfg"

    def described(self, config: Config) -> tuple[dict[str, Port], dict[str, Port]]:
        """Inputs and outputs of its graph."""
        channels = self.channels(config) * self.patch**2
        packed = ("batch", "patches", channels)
        latents = ("batch", channels, "height", "width") if self.patch == 1 else packed
        image, text = PLACES
        shapes: dict[str, tuple[int | str, ...]] = {
            LATENTS: latents,
            TIMESTEP: (1,),
            TEXT: ("batch", "tokens", config.get(JOINT, 4096)),
            POOLED: ("batch", config.get(POOLED_TEXT, 2048)),
            image: ("patches", 3),
            text: ("tokens", 3),
            SCALE: ("batch",),
        }
        inputs = {port: Port("float32", shapes[feed]) for port, feed in self.feeds(config).items()}
        return inputs, {OUTPUT: Port("float32", latents)}


def joint_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' StableDiffusion3Pipeline."""
    return 28, 7.0


def packed_defaults(config: Config, scheduler: Config) -> tuple[int, float]:
    """diffusers' FluxPipeline; few steps and no guidance where neither the network nor the scheduler is told more."""
    if config.get("guidance_embeds"):
        return 28, 3.5
    return (28, 1.0) if scheduler.get("use_dynamic_shifting") else (4, 1.0)


PORTS = {"hidden_states": LATENTS, "timestep": TIMESTEP, "encoder_hidden_states": TEXT, "pooled_projections": POOLED}
TRANSFORMERS = {
    "SD3Transformer2DModel": Transformer("sd3", PORTS, joint_defaults),
    "FluxTransformer2DModel": Transformer(
        "flux",
        PORTS | {"img_ids": PLACES[0], "txt_ids": PLACES[1]},
        packed_defaults,
        more=("guidance_embeds", "guidance", SCALE),
        patch=2,
        time_scale=0.001,
    ),
}


def tokens_read(part: Part, network: Config) -> int | None:
    """How many tokens a T5 is to read at once, as diffusers has it; a network that is told no guidance reads fewer.

    None for encoders whose own config says it.
    """
    if part.kind != T5_KIND:
        return None
    return max(part.lengths) if network.get("guidance_embeds") else min(part.lengths)


def joined(family: Family, encoders: tuple[TextEncoder, ...], network: Config) -> dict[str, Joined]:
    """The feeds that text encoders make: tokens by the family's groups, and all that is pooled."""
    present = {encoder.graph for encoder in encoders}
    first, *rest = ([name for name in group if name in present] for group in family.groups)
    pooled = tuple(encoder.graph for encoder in encoders if encoder.pooled)
    missing = sum(tokens_read(part, network) or 0 for part in family.absent)
    more = {
        "then": tuple(name for group in rest for name in group),
        "zeros": missing,
        "width": network.get(JOINT, 4096),
    }
    text = Joined(tuple(first), **(more if rest else {}))
    return {TEXT: text, POOLED: Joined(pooled, pooled=True)}
