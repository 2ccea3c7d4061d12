"""Graphs of models whose network is a transformer: the network itself, and T5, which reads their texts."""

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import SCALE, Port
from pleinair.network import denoiser
from pleinair.sources.transformers import TRANSFORMERS
from pleinair_export.graphs import TRIED, Spec
from pleinair_export.trials import Arrays, Context

WO = ".wo"  # the one layer of T5 that looks at the type of its weight
THETA = 10_000.0  # of rotary embeddings (Su et al. 2021)


class T5Encoder(nn.Module):
    """input_ids (B, length) -> last_hidden_state (B, length, D); no token is masked, as diffusers has it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        for name, layer in model.named_modules():
            if name.endswith(WO):
                layer.weight.data = layer.weight.data.float()

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.model(input_ids=input_ids, return_dict=True).last_hidden_state,)


class Rotary(nn.Module):
    """ids (S, axes) -> cosine and sine (S, d): diffusers' FluxPosEmbed in float32, which is what engines compute in."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        rates = (1 / THETA ** (torch.arange(0, width, 2, dtype=torch.float64) / width) for width in widths)
        for axis, each in enumerate(rates):
            self.register_buffer(f"rates{axis}", each.float().repeat_interleave(2), persistent=False)
        self.axes = len(widths)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = [ids[:, axis, None] * getattr(self, f"rates{axis}")[None] for axis in range(self.axes)]
        angle = torch.cat(angles, dim=-1)
        return angle.cos(), angle.sin()


class Transformer(nn.Module):
    """What `sources.transformers` describes, its ports in that order -> out_sample."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.ports = tuple(TRANSFORMERS[type(model).__name__].feeds(model.config))
        if "axes_dims_rope" in model.config:
            model.pos_embed = Rotary(model.config.axes_dims_rope)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor]:
        return self.model(**dict(zip(self.ports, given, strict=True)), return_dict=False)


def t5_encoder(name: str, model: nn.Module, context: Context) -> Spec:
    """Compared on one text, and on all of the context's."""
    ids = context.ids[name]
    length = ids.shape[1]
    return Spec(
        name,
        T5Encoder(model),
        inputs={"input_ids": Port("int64", ("batch", length))},
        outputs={"last_hidden_state": Port("float32", ("batch", length, model.config.d_model))},
        example={"input_ids": ids[:2]},
        cases=[{"input_ids": ids[:1]}, {"input_ids": ids}],
    )


def transformer(name: str, model: nn.Module, context: Context) -> Spec:
    """Cases: noise levels, a pair, a narrow size; told the context's texts, (3, ...) each, and what TRIED asks for."""
    kind = TRANSFORMERS[type(model).__name__]
    part, channels = kind.denoiser(model.config), kind.channels(model.config)
    inputs, outputs = kind.described(model.config)
    rng = np.random.default_rng(0)
    told = context.feeds | ({SCALE: np.full(3, TRIED.guidance, np.float32)} if SCALE in part.feeds.values() else {})
    side = kind.side(model.config)

    def case(t: float, batch: int, height: int, width: int) -> Arrays:
        latents = rng.standard_normal((batch, channels, height, width), dtype=np.float32)
        return denoiser.ports(part, latents, t, {feed: rows[:batch].copy() for feed, rows in told.items()})

    return Spec(
        name,
        Transformer(model),
        inputs=inputs,
        outputs=outputs,
        example=case(500.5, 2, 5 * side, 3 * side),
        cases=[
            case(1000, 1, *context.size),
            case(499.5, 1, *context.size),
            case(1, 1, *context.size),
            case(750, 2, *context.size),
            case(250.25, 3, 3 * side, 5 * side),
        ],
    )
