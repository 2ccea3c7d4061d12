"""The graph of a ControlNet."""

import numpy as np
import torch
from torch import nn

from pleinair.bundle.lone_parts import CONDITION
from pleinair.bundle.manifest import LATENTS, TIMESTEP, Port
from pleinair.errors import ExportError
from pleinair.network.feeds import MAKERS
from pleinair.pouring.controlnets import ControlSource
from pleinair.sources.controlnets import CONTROLNET, GRAPH, control_feeds, control_ports, described
from pleinair.sources.unets import TEXT
from pleinair.sources.weight_files import DOWNLOAD
from pleinair_export.graphs import TRIED, Spec, Wrapped
from pleinair_export.narrow import widen_at_use
from pleinair_export.quiet import quiet
from pleinair_export.single_file import filled, network, stored_type
from pleinair_export.trials import Arrays, steady_size

SIDE = 32  # latents along a side of what is compared
TOKENS = 77


class Unscaled:
    """A factor of 1 that leaves no multiplication in a trace, which OpenVINO would fold into weights."""

    def __rmul__(self, other: torch.Tensor) -> torch.Tensor:
        return other


class ControlNetGraph(Wrapped):
    """sample (B, C, h, w), timestep, encoder_hidden_states (where it reads a text), controlnet_cond (B, 3, H, W) and
    others -> residuals.

    The order of colours and means over the picture are the runtime's, so that one graph serves all.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        model.register_to_config(global_pool_conditions=False, controlnet_conditioning_channel_order="rgb")
        self.ports = tuple(control_feeds(model.config))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(self.ports, inputs, strict=True))
        skips, middle = self.model(
            given.pop("sample"),
            given.pop("timestep"),
            given.pop("encoder_hidden_states", None),
            given.pop("controlnet_cond"),
            Unscaled(),
            added_cond_kwargs=given or None,
            return_dict=False,
        )
        return (*skips, middle)


def controlnet(model: nn.Module) -> Spec:
    """Cases: noise levels, and an odd size, with random texts and pictures."""
    inputs, outputs = control_ports(model.config)
    rng = np.random.default_rng(0)

    def case(t: float, batch: int, height: int, width: int) -> Arrays:
        pixels = described(model.config).downsample
        given = {
            LATENTS: rng.standard_normal((batch, inputs["sample"].shape[1], height, width), dtype=np.float32),
            TIMESTEP: np.array([t], dtype=np.float32),
            CONDITION: rng.random((batch, 3, pixels * height, pixels * width), dtype=np.float32),
        }
        return {port: given[feed] if feed in given else told(feed, batch, inputs[port]) for port, feed in feeds.items()}

    def told(feed: str, batch: int, port: Port) -> np.ndarray:
        if feed in MAKERS:
            return np.repeat(MAKERS[feed](TRIED, port.shape[-1]), batch, axis=0)
        sides = (batch, TOKENS, port.shape[-1]) if feed == TEXT else (batch, port.shape[-1])
        return rng.standard_normal(sides, dtype=np.float32)

    feeds = control_feeds(model.config)
    steady = steady_size(model.config, (SIDE, SIDE))
    return Spec(
        GRAPH,
        ControlNetGraph(model),
        inputs=inputs,
        outputs=outputs,
        example=case(500.5, 2, 9, 7),
        cases=[case(999, 1, *steady), case(1, 1, *steady), case(250.25, 3, 9, 7)],
        whole=("timestep",),
    )


def load_control(source: ControlSource) -> nn.Module:
    """A ControlNet that computes in float32, its weights as they are stored; ExportError where some are missing."""
    with quiet():
        import diffusers

        module = network(getattr(diffusers, CONTROLNET.kind), source.config)
        missing = sorted(name for name, _ in module.named_parameters() if name not in source.weights)
        if missing:
            raise ExportError(f"'{source.name}' lacks {len(missing)} weights ({missing[0]}); {DOWNLOAD}")
        module = filled(module, source.weights).to(stored_type(source.weights))
    return widen_at_use(module.eval().requires_grad_(False))
