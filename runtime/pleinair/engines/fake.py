"""Graphs without a model: small arithmetic of the right shapes, so that a program around pleinair can be tested.

`pleinair.load(engine="fake")` takes shapes from the bundle's manifest and never reads a weight.
"""

import numpy as np

from pleinair.bundle import Bundle
from pleinair.engines import Shapes


def devices() -> list[str]:
    return ["cpu"]


def check_device(device: str | None, threads: int | None) -> str:
    return "cpu"


def open_graph(bundle: Bundle, graph: str, device: str | None, threads: int | None) -> "FakeGraph":
    return FakeGraph(bundle, graph)


class FakeGraph:
    """The text encoder hashes token ids, the UNet pulls towards a colour made of the text, the VAE is a resize."""

    def __init__(self, bundle: Bundle, graph: str) -> None:
        self._info = bundle.manifest.graphs[graph]
        self._latents = bundle.manifest.latents
        self._run = {"text_encoder": self._text, "unet": self._unet, "vae_decoder": self._decode}[graph]

    def prepare(self, shapes: Shapes) -> None:
        pass

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return self._run(**inputs)

    def unload(self) -> None:
        pass

    def _text(self, input_ids: np.ndarray) -> dict[str, np.ndarray]:
        embeddings = {}
        for name, port in self._info.outputs.items():
            width = port.shape[-1]
            wave = np.sin(input_ids[..., None] * np.arange(1, width + 1)).astype(np.float32)  # (B, 77, width)
            embeddings[name] = wave if len(port.shape) == 3 else wave[:, -1]
        return embeddings

    def _unet(self, sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray, **_: np.ndarray):
        colour = encoder_hidden_states.mean(1)[:, : sample.shape[1]]  # (B, 4)
        return {"out_sample": 0.9 * sample - 0.1 * colour[:, :, None, None]}

    def _decode(self, latent_sample: np.ndarray) -> dict[str, np.ndarray]:
        size = self._latents.downsample
        return {"sample": np.tanh(latent_sample[:, :3].repeat(size, 2).repeat(size, 3))}
