"""Graphs without a model: small arithmetic of the right shapes, so that a program around pleinair can be tested.

`pleinair.load(engine="fake")` takes shapes from the bundle's manifest and never reads a weight.
"""

import numpy as np

from pleinair.bundle.opening import Bundle
from pleinair.engines.graphs import Shapes
from pleinair.engines.precision import F32


def devices() -> list[str]:
    return ["cpu"]


def check_device(device: str | None, threads: int | None) -> str:
    return "cpu"


def offered(device: str | None) -> tuple[str, ...]:
    return (F32,)


def fastest(bundle: Bundle, graph: str, device: str | None) -> str:
    return F32


def open_graph(bundle: Bundle, graph: str, device: str | None, threads: int | None, computes_in: str) -> "FakeGraph":
    return FakeGraph(bundle, graph)


class FakeGraph:
    """The text encoder hashes token ids, the UNet pulls towards a colour made of the text, the VAE is a resize."""

    def __init__(self, bundle: Bundle, graph: str) -> None:
        self._info = bundle.manifest.graphs[graph]
        self._latents = bundle.manifest.latents
        self._scale = bundle.manifest.scale
        networks = {
            **{encoder.graph: self._text for encoder in bundle.manifest.text_encoders},
            "unet": self._unet,
            "vae_encoder": self._encode,
            "vae_decoder": self._decode,
            "upscaler": self._upscale,
        }
        self._run = networks[graph]

    def prepare(self, shapes: Shapes) -> None:
        pass

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return self._run(**inputs)

    def unload(self) -> None:
        pass

    def _text(self, input_ids: np.ndarray, extra_embeddings: np.ndarray | None = None) -> dict[str, np.ndarray]:
        embeddings = {}
        named = input_ids < 0
        for name, port in self._info.outputs.items():
            width = port.shape[-1]
            wave = np.sin(input_ids[..., None] * np.arange(1, width + 1)).astype(np.float32)  # (B, 77, width)
            if extra_embeddings is not None:
                wave[named] = extra_embeddings[-1 - input_ids[named]]
            embeddings[name] = wave if len(port.shape) == 3 else wave[:, -1]
        return embeddings

    def _unet(
        self, sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray
    ) -> dict[str, np.ndarray]:
        if sample.shape[1] != self._info.inputs["sample"].shape[1]:
            raise ValueError(f"the UNet takes {self._info.inputs['sample'].shape[1]} channels, not {sample.shape[1]}")
        latents = sample[:, : self._info.outputs["out_sample"].shape[1]]  # an inpainting UNet is given more than these
        colour = encoder_hidden_states.mean(1)[:, : latents.shape[1]]  # (B, 4)
        return {"out_sample": 0.9 * latents - 0.1 * colour[:, :, None, None]}

    def _encode(self, sample: np.ndarray) -> dict[str, np.ndarray]:
        """What `_decode` makes this picture of; the channels that it ignores are 0, and no picture is in doubt."""
        size, channels = self._latents.downsample, self._latents.channels
        batch, _, height, width = sample.shape
        colours = sample.reshape(batch, 3, height // size, size, width // size, size).mean((3, 5)).clip(-0.999, 0.999)
        numbers = np.zeros((batch, 2 * channels, *colours.shape[2:]), np.float32)
        numbers[:, : min(3, channels)] = np.arctanh(colours)[:, :channels]
        numbers[:, channels:] = -30
        return {"latent_parameters": numbers}

    def _decode(self, latent_sample: np.ndarray) -> dict[str, np.ndarray]:
        size = self._latents.downsample
        return {"sample": np.tanh(latent_sample[:, :3].repeat(size, 2).repeat(size, 3))}

    def _upscale(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"upscaled": image.repeat(self._scale, 2).repeat(self._scale, 3)}
