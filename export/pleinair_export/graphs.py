"""What is known of a graph that is exported: the torch module that is traced, its ports, the inputs it is tried on.

Those of a UNet and of an upscaler stand here, others in `text_graphs`, `vae_graphs` and `transformer_graphs`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from pleinair.bundle.manifest import LATENTS, TIMESTEP, Port
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.network.feeds import MAKERS, Known
from pleinair.pictures.colours import waves
from pleinair.sources.unets import POOLED, unet_feeds, unet_ports
from pleinair_export.trials import Arrays, Context, steady_size

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


class Wrapped(nn.Module):
    """A component as its graph has it: `forward` takes the graph's inputs and returns its outputs, in their order."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class UNet(Wrapped):
    """sample (B, C, h, w), timestep (1,), encoder_hidden_states (B, S, D) and others -> out_sample (B, C, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
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
