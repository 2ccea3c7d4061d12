"""The graphs of a bundle: for each the torch module that is traced, its ports, and the inputs it is tried on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import LATENTS, TIMESTEP, Port
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.network.feeds import MAKERS, Known
from pleinair.pictures.colours import waves
from pleinair.sources.describing import vae_factor
from pleinair.sources.unets import POOLED, unet_feeds, unet_ports
from pleinair_export.linear_attention import linear
from pleinair_export.trials import Arrays, Context, steady_size

OLD_END = 2
TRIED = Known(width=768, height=512, guidance=7.5)  # what a UNet is told of the request where it is tried


@dataclass(frozen=True)
class Spec:
    """One graph: a module whose forward takes `inputs` and returns `outputs`, both in this order.

    `example` is what it is traced with, `cases` what it is compared with torch on, and `unsteady` what it must run on
    and come near, where a last bit of a weight can change the answer. Ports that other programs set whole numbers on
    are `whole`.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    example: Arrays
    cases: list[Arrays]
    unsteady: list[Arrays] = field(default_factory=list)
    whole: tuple[str, ...] = ()


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


class ProjectedTextEncoder(nn.Module):
    """input_ids (B, 77) -> text_embeds (B, P), last_hidden_state (B, 77, D), hidden_states.0 .. N (B, 77, D)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.model(input_ids=input_ids, output_hidden_states=True, return_dict=True)
        return out.text_embeds, out.last_hidden_state, *out.hidden_states


class UNet(nn.Module):
    """sample (B, C, h, w), timestep (1,), encoder_hidden_states (B, S, D) and others -> out_sample (B, C, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        _, _, _, *self.more = unet_feeds(model.config)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *more: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        given = dict(zip(self.more, more, strict=True))
        condition = given.pop("timestep_cond", None)
        return self.model(
            sample,
            timestep,
            encoder_hidden_states,
            timestep_cond=condition,
            added_cond_kwargs=given or None,
            return_dict=False,
        )


class VaeEncoder(nn.Module):
    """sample (B, 3, H, W) in [-1, 1] -> latent_parameters (B, 8, h, w): mean and log variance, unscaled."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.model.encode(sample, return_dict=False)[0].parameters,)


class TinyVaeEncoder(nn.Module):
    """sample (B, 3, H, W) in [-1, 1] -> latent_parameters (B, C, h, w): the latents themselves, unscaled."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        linear(model)

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return self.model.encode(sample, return_dict=False)


class VaeDecoder(nn.Module):
    """latent_sample (B, C, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in about [-1, 1]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        linear(model)

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        return self.model.decode(latent_sample, return_dict=False)


class TinyVaeDecoder(nn.Module):
    """As VaeDecoder, and in numbers as AutoencoderTiny.decode.

    OpenVINO would fold a factor beside a convolution into its weight, which then has another name and other numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        held = (3 * torch.tanh(latent_sample / 3)).clamp(-3, 3)
        picture = self.model.decoder.layers(held)
        return (picture + (picture - 1),)


def text_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared on one text, and on all of the context's."""
    width = model.config.hidden_size
    outputs = {"last_hidden_state": hidden_state(model), "pooler_output": Port("float32", ("batch", width))}
    return reading(name, TextEncoder(ending(model, context.ids[name])), context, outputs)


def projected_text_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `text_encoder` is."""
    outputs = {
        "text_embeds": Port("float32", ("batch", model.config.projection_dim)),
        "last_hidden_state": hidden_state(model),
    }
    return reading(name, ProjectedTextEncoder(ending(model, context.ids[name])), context, outputs)


def ending(model: nn.Module, ids: np.ndarray) -> nn.Module:
    """A text encoder that knows the end of `ids`, where its config has the number that configs had before 2023.

    transformers then takes the largest id for it. Said by its number it makes one graph of both kinds of configs.
    """
    for module in model.modules():
        if getattr(module, "eos_token_id", None) == OLD_END:
            module.eos_token_id = int(ids.max())
    return model


def reading(name: str, wrapped: nn.Module, context: Context, outputs: dict[str, Port]) -> Spec:
    """A text encoder whose hidden states follow its other outputs, where other programs look for them."""
    config, ids = wrapped.model.config, context.ids[name]
    hidden = hidden_state(wrapped.model)
    return Spec(
        name,
        wrapped,
        inputs={"input_ids": Port("int64", ("batch", config.max_position_embeddings))},
        outputs=outputs | {f"hidden_states.{n}": hidden for n in range(config.num_hidden_layers + 1)},
        example={"input_ids": ids[:2]},
        cases=[{"input_ids": ids[:1]}, {"input_ids": ids}],
    )


def hidden_state(model: nn.Module) -> Port:
    return Port("float32", ("batch", model.config.max_position_embeddings, model.config.hidden_size))


def final_norm(model: nn.Module) -> np.ndarray:
    """Weight and bias (2, D) of the layer norm behind a text encoder's last layer, which its hidden states are without.

    With clip skip the runtime applies it to an earlier one.
    """
    norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm")).float()
    return np.stack([norm.weight.numpy(), norm.bias.numpy()]).astype(np.float32)


def unet(name: str, model: nn.Module, context: Context) -> Spec:
    """Cases: noise levels, and an odd size; told the feeds of the context's texts, (3, ...) each, and of TRIED."""
    pooled = context.feeds[POOLED].shape[-1] if POOLED in context.feeds else 0
    inputs, outputs = unet_ports(model.config, pooled)
    feeds = unet_feeds(model.config, pooled)
    rng = np.random.default_rng(0)
    told = context.feeds | {
        feed: np.repeat(MAKERS[feed](TRIED, inputs[port].shape[-1]), 3, axis=0)
        for port, feed in feeds.items()
        if feed in MAKERS
    }

    def case(t: float, batch: int, height: int, width: int) -> Arrays:
        latents = rng.standard_normal((batch, inputs["sample"].shape[1], height, width), dtype=np.float32)
        given = {LATENTS: latents, TIMESTEP: np.array([t], dtype=np.float32)}
        given |= {feed: np.ascontiguousarray(rows[:batch]) for feed, rows in told.items()}
        return {port: given[feed] for port, feed in feeds.items()}

    size, steady = context.size, steady_size(model.config, context.size)
    return Spec(
        name,
        UNet(model),
        inputs=inputs,
        outputs=outputs,
        # A size that no level divides makes diffusers trace the path that upsamples to the skip connection's size.
        example=case(500.5, 2, 9, 7),
        cases=[
            case(999, 1, *steady),
            case(499.5, 1, *steady),
            case(1, 1, *steady),
            case(250.25, 3, 9, 7),
        ],
        unsteady=[] if steady == size else [case(750, 2, *size)],
        whole=("timestep",),
    )


def vae_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `encoding` is; a mean and a log variance for each channel."""
    return encoding(name, VaeEncoder(model), context, 2 * model.config.latent_channels)


def tiny_vae_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared as `encoding` is."""
    return encoding(name, TinyVaeEncoder(model), context, model.config.latent_channels)


def encoding(name: str, wrapped: nn.Module, context: Context, answers: int) -> Spec:
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


def decoding(name: str, wrapped: nn.Module, context: Context) -> Spec:
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


def upscaler(model: nn.Module, scale: int) -> Spec:
    """Compared on smooth random pictures, of one and of several, neither with a side that two divides."""
    rng = np.random.default_rng(4)
    cases = [{"image": waves(rng, *size) / 2 + np.float32(0.5)} for size in ((1, 65, 47), (2, 19, 27))]
    height, width = ("height", "width") if scale == 1 else ("upscaled_height", "upscaled_width")
    return Spec(
        UPSCALER,
        model,
        inputs={"image": Port("float32", ("batch", 3, "height", "width"))},
        outputs={"upscaled": Port("float32", ("batch", 3, height, width))},
        example=cases[1],
        cases=cases,
    )


SPECS: dict[str, Callable[[str, nn.Module, Context], Spec]] = {  # kind of a graph -> what makes the Spec of one
    "text_encoder": text_encoder,
    "projected_text_encoder": projected_text_encoder,
    "unet": unet,
    "vae_encoder": vae_encoder,
    "tiny_vae_encoder": tiny_vae_encoder,
    "vae_decoder": vae_decoder,
    "tiny_vae_decoder": tiny_vae_decoder,
}
FORWARD: dict[str, type[nn.Module]] = {
    "text_encoder": TextEncoder,
    "projected_text_encoder": ProjectedTextEncoder,
    "unet": UNet,
    "vae_encoder": VaeEncoder,
    "tiny_vae_encoder": TinyVaeEncoder,
    "vae_decoder": VaeDecoder,
    "tiny_vae_decoder": TinyVaeDecoder,
}
