"""What a manifest may say: names that stay in the folder, parts that fit together, numbers that a model can have."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pleinair.errors import BundleError

if TYPE_CHECKING:
    from pleinair.bundle.opening import GraphInfo, Manifest, Port, Sizes, TextEncoder

UPSCALER = "upscaler"  # the family, and the one graph, of a bundle that enlarges pictures
LONGEST_NAME = 120  # characters of a bundle's name, and of each part of a file's
MOST_FILES = 20_000  # the largest models have some thousand tensors, which may have a file each
LARGEST_SIDE = 4096  # pixels
MOST_WORDS = 10_000  # of a vocabulary
LONGEST_WORD = 40  # characters
MOST_STEPS = 1000
LARGEST_ID = 1 << 31
DTYPES = {"input_ids": "int64"}  # of ports; all others are float32
AGAIN = "export the model again"


def check_manifest(manifest: "Manifest") -> None:
    """Raise BundleError, one line, for the first thing that is wrong."""
    for name in manifest.files:
        if not plain_path(name):
            raise BundleError(f"bundle.json names a file outside the bundle: '{name}'; do not use this model")
    lost = next(_lost(manifest), None)
    if lost:
        raise BundleError(f"bundle.json does not describe '{lost}'; {AGAIN}")
    wrong = next(_wrong(manifest), None)
    if wrong:
        raise BundleError(f"bundle.json has impossible values in {wrong}; {AGAIN}")
    unused = next(_unused(manifest), None)
    if unused:
        raise BundleError(
            f"bundle '{manifest.name}' has a {unused}, which this version would leave unused; update pleinair, or"
            f" {AGAIN}"
        )


def plain_path(name: str) -> bool:
    """A relative path of printable parts that leads down into the folder on every system."""
    parts = name.split("/")
    return len(name) < 1000 and all(
        part.strip(". ") and len(part) <= LONGEST_NAME and part.isprintable() and not re.search(r'[\\:*?"<>|]', part)
        for part in parts
    )


def inpaint_channels(latents: int) -> int:
    """Channels that an inpainting UNet reads: the latents, a mask, and the latents of the picture without its hole."""
    return 2 * latents + 1


def _lost(manifest: "Manifest") -> Iterator[str]:
    """Parts and files that are needed and not described."""
    upscales = manifest.family == UPSCALER
    for name in (UPSCALER,) if upscales else ("unet", "vae_decoder"):
        if name not in manifest.graphs:
            yield name
    for name in ("scale",) if upscales else ("latents", "defaults", "text_encoders", "scheduler"):
        if not getattr(manifest, name):
            yield name
    for encoder in manifest.text_encoders:
        if encoder.graph not in manifest.graphs or encoder.output not in manifest.graphs[encoder.graph].outputs:
            yield encoder.graph
    named = [f"{encoder.tokenizer}/tokenizer.json" for encoder in manifest.text_encoders]
    named += [file for graph in manifest.graphs.values() for files in graph.files.values() for file in files]
    named += [manifest.scheduler] if manifest.scheduler else []
    yield from (file for file in named if file not in manifest.files)


def _wrong(manifest: "Manifest") -> Iterator[str]:
    """What no model can have."""
    name = manifest.name
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or re.search(r"[\\/:]", name):
        yield "name"
    if len(manifest.files) > MOST_FILES or any(
        info.size < 0 or not re.fullmatch("[0-9a-f]{64}", info.sha256) for info in manifest.files.values()
    ):
        yield "files"
    for graph in manifest.graphs.values():
        if not all(sound_files(form, files) for form, files in graph.files.items()):
            yield "graphs: files"
    if not is_vocabulary(manifest.vocabulary):
        yield "vocabulary"
    values = _upscaler_values(manifest) if manifest.family == UPSCALER else _painter_values(manifest)
    yield from (place for place, fine in values.items() if not fine)


def sound_files(form: str, files: tuple[str, ...]) -> bool:
    """The graph itself, then its weights beside it: an .xml and its .bin, or an .onnx and what it refers to."""
    if not files or len(set(files)) < len(files) or len({file.rpartition("/")[0] for file in files}) > 1:
        return False
    if form == "openvino":
        return len(files) == 2 and files[0].endswith(".xml") and files[1] == f"{files[0][:-4]}.bin"
    return files[0].endswith(".onnx")


def _upscaler_values(manifest: "Manifest") -> dict[str, bool]:
    graph = manifest.graphs[UPSCALER]
    return {
        "scale": 1 <= manifest.scale <= 16,
        "graphs: upscaler": list(graph.inputs) == ["image"]
        and list(graph.outputs) == ["upscaled"]
        and fits("image", graph.inputs["image"], 4, {1: 3})
        and fits("upscaled", graph.outputs["upscaled"], 4, {1: 3}),
    }


def _painter_values(manifest: "Manifest") -> dict[str, bool]:
    latents, defaults = manifest.latents, manifest.defaults
    sides = (defaults.width, defaults.height)
    return {
        "latents: channels": 1 <= latents.channels <= 256,
        "latents: downsample": 1 <= latents.downsample <= 64,
        "latents: scale": math.isfinite(latents.scale) and latents.scale != 0,
        "latents: shift": math.isfinite(latents.shift),
        "latents: rgb": latents.rgb is None or maps_to_rgb(latents.rgb, latents.channels),
        "defaults": 1 <= defaults.steps <= MOST_STEPS
        and 0 <= defaults.guidance <= 100
        and all(0 < side <= LARGEST_SIDE and not side % max(latents.downsample, 1) for side in sides),
        "sizes": manifest.sizes is None or suits(manifest.sizes, *sides),
        "text_encoders": all(
            3 <= encoder.length <= 4096
            and all(0 <= token < LARGEST_ID for token in (encoder.bos_id, encoder.eos_id, encoder.pad_id))
            and sized_like_text(manifest.graphs[encoder.graph], encoder)
            for encoder in manifest.text_encoders
        ),
        **{
            f"graphs: {name}": has_ports(manifest.graphs[name], *ports)
            for name, ports in _painter_ports(manifest).items()
            if name in manifest.graphs
        },
    }


def _painter_ports(manifest: "Manifest") -> dict[str, tuple[dict, dict]]:
    """graph -> its inputs and its outputs: port -> (rank, {axis: the sizes that it may have})."""
    channels = manifest.latents.channels
    encoder = manifest.text_encoders[0]
    width = manifest.graphs[encoder.graph].outputs[encoder.output].shape[-1:]
    return {
        "unet": (
            {
                "sample": (4, {1: (channels, inpaint_channels(channels))}),
                "timestep": (1, {}),
                "encoder_hidden_states": (3, {2: width}),
            },
            {"out_sample": (4, {1: (channels,)})},
        ),
        "vae_decoder": ({"latent_sample": (4, {1: (channels,)})}, {"sample": (4, {1: (3,)})}),
        "vae_encoder": ({"sample": (4, {1: (3,)})}, {"latent_parameters": (4, {1: (2 * channels,)})}),
    }


def has_ports(graph: "GraphInfo", inputs: dict, outputs: dict) -> bool:
    """Whether a graph has these ports; those it has besides are told of by `_unused`."""
    return all(
        port in described and fits(port, described[port], rank, sizes)
        for described, wanted in ((graph.inputs, inputs), (graph.outputs, outputs))
        for port, (rank, sizes) in wanted.items()
    )


def fits(name: str, port: "Port", rank: int, sizes: dict[int, int | tuple[int, ...]]) -> bool:
    """A port of this rank, of the numbers that belong there, whose fixed sizes are among those it may have."""
    if port.dtype != DTYPES.get(name, "float32") or len(port.shape) != rank:
        return False
    allowed = {axis: size if isinstance(size, tuple) else (size,) for axis, size in sizes.items()}
    return all(
        isinstance(side, str) or (0 < side < LARGEST_ID and side in allowed.get(axis, (side,)))
        for axis, side in enumerate(port.shape)
    )


def is_vocabulary(words: Sequence[str]) -> bool:
    """At most MOST_WORDS words, each printable and of at most LONGEST_WORD characters."""
    return len(words) <= MOST_WORDS and all(
        len(word) <= LONGEST_WORD and word.strip() and word.isprintable() for word in words
    )


def suits(sizes: "Sizes", *sides: int) -> bool:
    """Possible sizes, and `sides` are among them."""
    possible = 1 <= sizes.smallest <= sizes.largest <= LARGEST_SIDE
    return possible and all(sizes.smallest <= side <= sizes.largest for side in sides)


def maps_to_rgb(rgb: tuple[tuple[float, ...], ...], channels: int) -> bool:
    """A row of 3 finite numbers for each channel, and one more."""
    return len(rgb) == channels + 1 and all(len(row) == 3 and all(map(math.isfinite, row)) for row in rgb)


def sized_like_text(graph: "GraphInfo", encoder: "TextEncoder") -> bool:
    """A graph that turns `input_ids` into embeddings (B, length, width)."""
    output = graph.outputs[encoder.output]
    return (
        "input_ids" in graph.inputs
        and fits("input_ids", graph.inputs["input_ids"], 2, {1: encoder.length})
        and fits(encoder.output, output, 3, {1: encoder.length})
        and isinstance(output.shape[-1], int)
    )


def _unused(manifest: "Manifest") -> Iterator[str]:
    """Text encoders, graphs and ports that nothing here feeds or reads: a picture made without them would be wrong."""
    if manifest.family == UPSCALER:
        wanted = {UPSCALER: ({"image": ()}, {})}
    else:
        for encoder in manifest.text_encoders[1:]:
            yield f"second text encoder '{encoder.graph}'"
        wanted = {**_painter_ports(manifest), manifest.text_encoders[0].graph: ({"input_ids": ()}, {})}
    for name, graph in manifest.graphs.items():
        if name not in wanted:
            yield f"graph '{name}'"
        else:
            yield from (f"port '{port}' of '{name}'" for port in graph.inputs if port not in wanted[name][0])
