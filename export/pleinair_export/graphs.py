"""The graphs of a bundle: for each the torch module that is traced, its ports, and the inputs it is tried on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import Port
from pleinair.bundle.manifest_checks import UPSCALER

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Spec:
    """One graph: a module whose forward takes `inputs` and returns `outputs`, both in this order.

    `example` is what it is traced with, `cases` what it is compared with torch on, and `unsteady` what it must run on
    and come near, where a last bit of a weight can change the answer.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    example: Arrays
    cases: list[Arrays]
    unsteady: list[Arrays] = field(default_factory=list)


def run_torch(spec: Spec, case: Arrays) -> Arrays:
    """The oracle: the module itself, in float32 on the CPU."""
    with torch.no_grad():
        outputs = spec.module(*(torch.from_numpy(case[name]) for name in spec.inputs))
    return {name: value.numpy() for name, value in zip(spec.outputs, outputs, strict=True)}


def answers(spec: Spec) -> list[Arrays]:
    """What torch says to `cases`, and after them to `unsteady`."""
    return [run_torch(spec, case) for case in (*spec.cases, *spec.unsteady)]


class TextEncoder(nn.Module):
    """input_ids (B, 77) -> last_hidden_state (B, 77, D), pooler_output (B, D), hidden_states.0 .. N (B, 77, D)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.model(input_ids=input_ids, output_hidden_states=True, return_dict=True)
        return out.last_hidden_state, out.pooler_output, *out.hidden_states


class UNet(nn.Module):
    """sample (B, 4 or 9, h, w), timestep (1,), encoder_hidden_states (B, S, D) -> out_sample (B, 4, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor]:
        return self.model(sample, timestep, encoder_hidden_states, return_dict=False)


class VaeEncoder(nn.Module):
    """sample (B, 3, H, W) in [-1, 1] -> latent_parameters (B, 8, h, w): mean and log variance, unscaled."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.vae.encode(sample, return_dict=False)[0].parameters,)


class VaeDecoder(nn.Module):
    """latent_sample (B, 4, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in about [-1, 1]."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        return self.vae.decode(latent_sample, return_dict=False)


FORWARD: dict[str, type[nn.Module]] = {
    "text_encoder": TextEncoder,
    "unet": UNet,
    "vae_encoder": VaeEncoder,
    "vae_decoder": VaeDecoder,
}


def text_encoder(model: nn.Module, ids: list[np.ndarray]) -> Spec:
    """`ids`: token id batches (B, 77) to compare on."""
    width, length = model.config.hidden_size, model.config.max_position_embeddings
    hidden = Port("float32", ("batch", length, width))
    states = {f"hidden_states.{n}": hidden for n in range(model.config.num_hidden_layers + 1)}
    return Spec(
        "text_encoder",
        TextEncoder(model),
        inputs={"input_ids": Port("int64", ("batch", length))},
        outputs={"last_hidden_state": hidden, "pooler_output": Port("float32", ("batch", width)), **states},
        example={"input_ids": np.concatenate(ids)[:2]},
        cases=[{"input_ids": batch} for batch in ids],
    )


def final_norm(model: nn.Module) -> np.ndarray:
    """Weight and bias (2, D) of the layer norm behind a text encoder's last layer, which its hidden states are without.

    With clip skip the runtime applies it to an earlier one.
    """
    norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm"))
    return np.stack([norm.weight.numpy(), norm.bias.numpy()]).astype(np.float32)


def unet(model: nn.Module, size: tuple[int, int], text: np.ndarray) -> Spec:
    """`size`: default latents (h, w); `text`: embeddings (3, S, D). Cases: noise levels, a pair, an odd size."""
    channels = model.config.in_channels
    rng = np.random.default_rng(0)

    def case(t: float, batch: int, height: int, width: int) -> Arrays:
        latents = rng.standard_normal((batch, channels, height, width), dtype=np.float32)
        return {
            "sample": latents,
            "timestep": np.array([t], dtype=np.float32),
            "encoder_hidden_states": np.ascontiguousarray(text[:batch]),
        }

    latents = Port("float32", ("batch", channels, "height", "width"))
    steady = steady_size(model.config, size)
    return Spec(
        "unet",
        UNet(model),
        inputs={
            "sample": latents,
            "timestep": Port("float32", (1,)),
            "encoder_hidden_states": Port("float32", ("batch", "tokens", text.shape[-1])),
        },
        outputs={"out_sample": Port("float32", ("batch", model.config.out_channels, "height", "width"))},
        # A size that no level divides makes diffusers trace the path that upsamples to the skip connection's size.
        example=case(500.5, 2, 9, 7),
        cases=[
            case(999, 1, *steady),
            case(499.5, 1, *steady),
            case(1, 1, *steady),
            case(750, 2, *steady),
            case(250.25, 3, 9, 7),
        ],
        unsteady=[] if steady == size else [case(999, 1, *size), case(750, 2, *size)],
    )


def steady_size(config: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """The default size of the latents, doubled until every group that the UNet normalises has four numbers or more.

    Of two numbers it makes their signs: no rounding of weights is small there, and torch and an engine are 34 dB apart.
    """
    groups, widths = config.get("norm_num_groups", 32), config["block_out_channels"]
    height, width = size
    while groups and any(
        channels // groups * math.ceil(height / 2**level) * math.ceil(width / 2**level) < 4
        for level, channels in enumerate(widths)
    ):
        height, width = 2 * height, 2 * width
    return height, width


def vae_encoder(model: nn.Module, size: tuple[int, int]) -> Spec:
    """Compared on smooth random pictures: the default size, and a batch of an odd number of latent pixels."""
    factor, latent = factor_of(model), model.config.latent_channels
    rng = np.random.default_rng(1)
    small = {"sample": picture(rng, 2, 9 * factor, 7 * factor)}
    return Spec(
        "vae_encoder",
        VaeEncoder(model),
        inputs={"sample": Port("float32", ("batch", 3, "image_height", "image_width"))},
        outputs={"latent_parameters": Port("float32", ("batch", 2 * latent, "height", "width"))},
        example=small,
        cases=[{"sample": picture(rng, 1, size[0] * factor, size[1] * factor)}, small],
    )


def vae_decoder(model: nn.Module, size: tuple[int, int]) -> Spec:
    """Compared on normal latents of the scale the scaling factor promises, at the default size and an odd one."""
    channels = model.config.latent_channels
    rng = np.random.default_rng(2)

    def case(batch: int, height: int, width: int) -> Arrays:
        noise = rng.standard_normal((batch, channels, height, width), dtype=np.float32)
        return {"latent_sample": noise / np.float32(model.config.scaling_factor)}

    small = case(2, 9, 7)
    return Spec(
        "vae_decoder",
        VaeDecoder(model),
        inputs={"latent_sample": Port("float32", ("batch", channels, "height", "width"))},
        outputs={"sample": Port("float32", ("batch", 3, "image_height", "image_width"))},
        example=small,
        cases=[case(1, *size), small],
    )


def upscaler(model: nn.Module, scale: int) -> Spec:
    """Compared on smooth random pictures, of one and of several, neither with a side that two divides."""
    rng = np.random.default_rng(4)
    cases = [{"image": picture(rng, *size) / 2 + np.float32(0.5)} for size in ((1, 65, 47), (2, 19, 27))]
    height, width = ("height", "width") if scale == 1 else ("upscaled_height", "upscaled_width")
    return Spec(
        UPSCALER,
        model,
        inputs={"image": Port("float32", ("batch", 3, "height", "width"))},
        outputs={"upscaled": Port("float32", ("batch", 3, height, width))},
        example=cases[1],
        cases=cases,
    )


def factor_of(vae: nn.Module) -> int:
    """Image pixels per latent pixel along one side: 8 for every SD autoencoder."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def picture(rng: np.random.Generator, batch: int, height: int, width: int) -> np.ndarray:
    """Smooth colour gradients with grain, (B, 3, H, W) in [-1, 1]."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    waves = rng.uniform(1, 9, (4, batch, 3, 1, 1))
    image = np.sin(waves[0] * x + waves[1] * y) * np.cos(waves[2] * x - waves[3] * y)
    return (image * 0.9 + rng.uniform(-0.1, 0.1, image.shape)).astype(np.float32)
