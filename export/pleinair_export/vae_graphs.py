"""The graphs of autoencoders."""

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import Port
from pleinair.pictures.colours import waves
from pleinair.sources.describing import vae_factor
from pleinair_export.graphs import Spec, Wrapped
from pleinair_export.linear_attention import linear
from pleinair_export.trials import Arrays, Context


class VaeEncoder(Wrapped):
    """sample (B, 3, H, W) in [-1, 1] -> latent_parameters (B, 8, h, w): mean and log variance, unscaled."""

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.model.encode(sample, return_dict=False)[0].parameters,)


class TinyVaeEncoder(Wrapped):
    """sample (B, 3, H, W) in [-1, 1] -> latent_parameters (B, C, h, w): the latents themselves, unscaled."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        linear(model)

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return self.model.encode(sample, return_dict=False)


class VaeDecoder(Wrapped):
    """latent_sample (B, C, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in about [-1, 1]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        linear(model)

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        return self.model.decode(latent_sample, return_dict=False)


class TinyVaeDecoder(Wrapped):
    """As VaeDecoder, and in numbers as AutoencoderTiny.decode.

    OpenVINO would fold a factor beside a convolution into its weight, which then has another name and other numbers.
    """

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        held = (3 * torch.tanh(latent_sample / 3)).clamp(-3, 3)
        picture = self.model.decoder.layers(held)
        return (picture + (picture - 1),)


def vae_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `encoding` is; a mean and a log variance for each channel."""
    return encoding(name, VaeEncoder(model), context, 2 * model.config.latent_channels)


def tiny_vae_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `encoding` is."""
    return encoding(name, TinyVaeEncoder(model), context, model.config.latent_channels)


def encoding(name: str, wrapped: Wrapped, context: Context, answers: int) -> Spec:
    """Compared on smooth random pictures: the default size, and a batch of an odd number of latent pixels."""
    factor = vae_factor(wrapped.model.config)
    rng = np.random.default_rng(1)
    small, size = {"sample": waves(rng, 2, 9 * factor, 7 * factor)}, context.size
    return Spec(
        name,
        wrapped,
        inputs={"sample": Port("float32", ("batch", 3, "image_height", "image_width"))},
        outputs={"latent_parameters": Port("float32", ("batch", answers, "height", "width"))},
        example=small,
        cases=[{"sample": waves(rng, 1, size[0] * factor, size[1] * factor)}, small],
    )


def vae_decoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `decoding` is."""
    return decoding(name, VaeDecoder(model), context)


def tiny_vae_decoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `decoding` is."""
    return decoding(name, TinyVaeDecoder(model), context)


def decoding(name: str, wrapped: Wrapped, context: Context) -> Spec:
    """Compared on normal latents of the scale the scaling factor promises, at the default size and an odd one."""
    config = wrapped.model.config
    channels = config.latent_channels
    rng = np.random.default_rng(2)

    def case(batch: int, height: int, width: int) -> Arrays:
        noise = rng.standard_normal((batch, channels, height, width), dtype=np.float32)
        return {"latent_sample": noise / np.float32(config.scaling_factor)}

    small = case(2, 9, 7)
    return Spec(
        name,
        wrapped,
        inputs={"latent_sample": Port("float32", ("batch", channels, "height", "width"))},
        outputs={"sample": Port("float32", ("batch", 3, "image_height", "image_width"))},
        example=small,
        cases=[case(1, *context.size), small],
    )
