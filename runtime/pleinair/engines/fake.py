"""Graphs without a model: small arithmetic of the right shapes, so that a program around pleinair can be tested.

    pipe = pleinair.load(engine=FakeEngine())

takes shapes from the bundle's manifest and never reads a weight; a picture takes milliseconds. `on_call` is told of
every call before it is answered, and may count it, wait, or raise.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from pleinair.bundle.lone_parts import CONDITION
from pleinair.bundle.manifest import LATENTS, Denoiser
from pleinair.bundle.opening import Bundle
from pleinair.engines.edits import ANY, Edit, Layer, NewWeights, Residuals
from pleinair.engines.engine import Opening, Shapes, engine_version
from pleinair.engines.precision import F32

Inputs = dict[str, np.ndarray]


class FakeEngine:
    """An engine for tests; `on_call(graph, inputs)` is called before each answer."""

    name, format = "fake", ""

    def __init__(self, on_call: Callable[[str, Inputs], None] = lambda graph, inputs: None) -> None:
        self.version = engine_version(self.name)
        self._on_call = on_call

    def devices(self) -> list[str]:
        return ["cpu"]

    def check_device(self, device: str | None, threads: int | None) -> None:
        pass

    def offered(self, device: str | None) -> tuple[str, ...]:
        return (F32,)

    def fastest(self, bundle: Bundle, graph: str, device: str | None) -> str:
        return F32

    def layers(self, bundle: Bundle, graph: str) -> dict[str, Layer]:
        return dict.fromkeys(bundle.manifest.weights.get(graph, ()), Layer(ANY))

    def open_graph(self, bundle: Bundle, graph: str, how: Opening) -> "FakeGraph":
        return FakeGraph(bundle, graph, self._on_call, how.edits)


class FakeGraph:
    """A text encoder hashes token ids, the denoiser pulls towards a colour made of its feeds, a VAE is a resize.

    A ControlNet says how light its picture is; the mean of what it says is in the denoiser's colour, and so
    are weights that are changed.
    """

    def __init__(
        self, bundle: Bundle, graph: str, on_call: Callable[[str, Inputs], None], edits: Sequence[Edit] = ()
    ) -> None:
        manifest = bundle.manifest
        self._tint = sum(tint_of(edit) for edit in edits if isinstance(edit, NewWeights))
        self._name = graph
        self._info = manifest.graphs[graph]
        self._on_call = on_call
        self._added = [port for edit in edits if isinstance(edit, Residuals) for port in edit.ports]
        networks: dict[str, Callable[..., Inputs]] = {encoder.graph: self._text for encoder in manifest.text_encoders}
        networks |= {part.graph: self._denoiser for part in manifest.denoisers}
        for vae in manifest.vaes.values():
            networks |= {vae.decoder: self._decode, vae.encoder: self._encode}
        if manifest.control:
            networks[manifest.control.graph] = self._control
        self._run = networks.get(graph, self._upscale)
        self._control_part = manifest.control
        self._denoisers: dict[str, Denoiser] = {part.graph: part for part in manifest.denoisers}
        self._vaes = {name: vae for vae in manifest.vaes.values() for name in (vae.decoder, vae.encoder)}
        self._channels = manifest.latents.channels if manifest.latents else 0
        self._scale = manifest.scale

    def prepare(self, shapes: Shapes) -> None:
        pass

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self._on_call(self._name, inputs)
        return {name: array.astype(self._info.outputs[name].dtype) for name, array in self._run(**inputs).items()}

    def _text(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        extra_embeddings: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        embeddings = {}
        named = input_ids < 0
        for name, port in self._info.outputs.items():
            width = port.shape[-1]
            wave = np.sin(input_ids[..., None] * np.arange(1, width + 1)).astype(np.float32)  # (B, 77, width)
            if extra_embeddings is not None:
                wave[named] = extra_embeddings[-1 - input_ids[named]]
            embeddings[name] = wave if len(port.shape) == 3 else wave.mean(1)
        return embeddings

    def _denoiser(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        part = self._denoisers[self._name]
        added = [inputs.pop(port) for port in self._added]
        (port,) = (port for port, feed in part.feeds.items() if feed == LATENTS)
        sample = inputs.pop(port)
        if part.patch > 1:
            return {part.output: self._of_tokens(part, sample, inputs)}
        if sample.shape[1] != self._info.inputs[port].shape[1]:
            raise ValueError(f"'{self._name}' takes {self._info.inputs[port].shape[1]} channels, not {sample.shape[1]}")
        latents = sample[:, : self._channels]
        colour = sum(_mean(array)[:, : self._channels] for name, array in inputs.items() if array.ndim > 1)  # (B, C)
        colour = colour + self._tint
        out = 0.9 * latents - 0.1 * colour[:, :, None, None]
        if added:
            out = out - 0.1 * sum(each.mean((1, 2, 3), keepdims=True) for each in added) / len(added)
        return {part.output: out + 0.05 * sample[:, self._channels :].mean(1, keepdims=True) if part.channels else out}

    def _of_tokens(self, part: Denoiser, tokens: np.ndarray, told: Inputs) -> np.ndarray:
        """The same of latents that are packed, whose channels are `patch` times `patch` numbers each."""
        count = len(tokens)
        rows = [array for array in told.values() if array.ndim > 1 and len(array) == count]
        colour = sum(_mean(array)[:, : self._channels] for array in rows)  # (B, C)
        return 0.9 * tokens - 0.1 * np.repeat(colour, part.patch**2, 1)[:, None]

    def _control(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        part = self._control_part
        told = {feed: inputs[port] for port, feed in part.feeds.items()}
        height, width = told[LATENTS].shape[2:]
        text = sum(array.mean((1, 2)) for array in inputs.values() if array.ndim == 3)
        light = told[CONDITION].mean((1, 2, 3)) + 0.01 * text
        return {
            port: np.zeros((1, self._info.outputs[port].shape[1], -(-height // coarse), -(-width // coarse)))
            + light[:, None, None, None]
            for port, coarse in part.residuals.items()
        }

    def _encode(self, sample: np.ndarray) -> dict[str, np.ndarray]:
        """What `_decode` makes this picture of; the channels that it ignores are 0, and no picture is in doubt."""
        vae, channels = self._vaes[self._name], self._channels
        size = vae.downsample
        batch, _, height, width = sample.shape
        colours = sample.reshape(batch, 3, height // size, size, width // size, size).mean((3, 5)).clip(-0.999, 0.999)
        latents = np.zeros((batch, channels, *colours.shape[2:]), np.float32)
        latents[:, : min(3, channels)] = np.arctanh(colours)[:, :channels]
        if vae.kind == "plain":
            return {vae.answer: latents}
        return {vae.answer: np.concatenate([latents, np.full_like(latents, -30)], 1)}

    def _decode(self, latent_sample: np.ndarray) -> dict[str, np.ndarray]:
        size = self._vaes[self._name].downsample
        return {"sample": np.tanh(latent_sample[:, :3].repeat(size, 2).repeat(size, 3))}

    def _upscale(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"upscaled": image.repeat(self._scale, 2).repeat(self._scale, 3)}


def tint_of(edit: NewWeights) -> float:
    """A number from 0 to 1 that is the same for the same weights."""
    return zlib.crc32(repr(edit.made_of).encode()) / (1 << 32)


def _mean(array: np.ndarray) -> np.ndarray:
    """One row of small numbers for each text: of (B, S, d) over its tokens, of (B, p), which may hold sizes, a wave."""
    return array.mean(1) if array.ndim == 3 else np.sin(array)
