"""What a manifest may say: names that stay in the folder, parts that fit together, numbers that a model can have."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pleinair.bundle.control_checks import control_values, lost_parts
from pleinair.bundle.manifest import (
    BEHIND,
    EMPHASIS,
    GUIDANCE,
    KNOWN_FEEDS,
    LATENTS,
    MAX_GUIDANCE,
    MAX_SIDE,
    MAX_STEPS,
    PLACES,
    SCALE,
    TIMESTEP,
    Denoiser,
    GraphInfo,
    Joined,
    Manifest,
    Sizes,
    TextEncoder,
)
from pleinair.bundle.ports import LARGEST_ID, fits, has_ports, painter_ports, sized_like_text
from pleinair.bundle.vae_checks import MOST_CHANNELS, is_autoencoder, maps_to_rgb, vae_values
from pleinair.errors import BundleError

UPSCALER = "upscaler"  # the one graph of a bundle that enlarges pictures
LONGEST_NAME = 120  # characters of a bundle's name, and of each part of a file's
MOST_FILES = 20_000  # the largest models have some thousand tensors, which may have a file each
MOST_WORDS = 10_000  # of a vocabulary
LONGEST_WORD = 40  # characters
LARGEST_LENGTH = 4096  # tokens of a text
LONGEST_PREFIX = 10_000  # characters
LARGEST_PATCH = 8  # latents along one side
LARGEST_WIDTH = 1 << 14  # numbers that are said of a token
AGAIN = "export the model again"
OF_PAINTER = ("latents", "defaults", "text_encoders", "denoisers", "vaes", "scheduler")  # sections
OF_VAE = ("latents", "vaes")


def check_manifest(manifest: Manifest) -> None:
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


def _lost(manifest: Manifest) -> Iterator[str]:
    """Parts and files that are needed and not described."""
    graphs = manifest.graphs
    if UPSCALER in graphs:
        if not manifest.scale:
            yield "scale"
        named = []
    elif manifest.control:
        yield from lost_parts(manifest, manifest.control)
        named = []
    else:
        yield from (name for name in (OF_VAE if manifest.is_vae else OF_PAINTER) if not getattr(manifest, name))
        if "default" not in manifest.vaes:
            yield "vaes"
        for part in manifest.denoisers:
            if part.graph not in graphs or part.output not in graphs[part.graph].outputs:
                yield part.graph
        for vae in manifest.vaes.values():
            yield from (name for name in (vae.decoder, vae.encoder) if name is not None and name not in graphs)
        for encoder in manifest.text_encoders:
            wanted = {encoder.output, encoder.pooled or encoder.output}
            if encoder.graph not in graphs or wanted - set(graphs[encoder.graph].outputs):
                yield encoder.graph
        encoders = [encoder.graph for encoder in manifest.text_encoders]
        for feed in manifest.conditioning.values():
            yield from (name for name in feed.all if name not in encoders)
        named = [f"{encoder.tokenizer}/tokenizer.json" for encoder in manifest.text_encoders]
        named += [manifest.scheduler] if manifest.scheduler else []
    named += [file for graph in graphs.values() for files in graph.files.values() for file in files]
    yield from (file for file in named if file not in manifest.files)


def _wrong(manifest: Manifest) -> Iterator[str]:
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
    yield from (place for place, fine in _values(manifest).items() if not fine)


def _values(manifest: Manifest) -> dict[str, bool]:
    """Place in bundle.json -> whether a bundle of this kind can have that."""
    if UPSCALER in manifest.graphs:
        return _upscaler_values(manifest)
    if manifest.control:
        return control_values(manifest, manifest.control)
    return vae_values(manifest) if manifest.is_vae else _painter_values(manifest)


def sound_files(form: str, files: tuple[str, ...]) -> bool:
    """The graph itself, then its weights beside it: an .xml and its .bin, or an .onnx and what it refers to."""
    if not files or len(set(files)) < len(files) or len({file.rpartition("/")[0] for file in files}) > 1:
        return False
    if form == "openvino":
        return len(files) == 2 and files[0].endswith(".xml") and files[1] == f"{files[0][:-4]}.bin"
    return files[0].endswith(".onnx")


def _upscaler_values(manifest: Manifest) -> dict[str, bool]:
    graph = manifest.graphs[UPSCALER]
    return {
        "scale": 1 <= manifest.scale <= 16,
        "graphs: upscaler": list(graph.inputs) == ["image"]
        and list(graph.outputs) == ["upscaled"]
        and fits("image", graph.inputs["image"], 4, {1: 3})
        and fits("upscaled", graph.outputs["upscaled"], 4, {1: 3}),
    }


def _painter_values(manifest: Manifest) -> dict[str, bool]:
    latents, defaults = manifest.latents, manifest.defaults
    sides = (defaults.width, defaults.height)
    return {
        "latents: channels": 1 <= latents.channels <= MOST_CHANNELS,
        "latents: multiple": all(1 <= vae.downsample <= latents.multiple for vae in manifest.vaes.values())
        and latents.multiple <= 1024
        and not latents.multiple % manifest.vae.downsample
        and not latents.multiple % (manifest.vae.downsample * max(manifest.denoiser.patch, 1)),
        "latents: longest": latents.longest is None or max(sides) <= latents.longest < LARGEST_ID,
        "latents: rgb": latents.rgb is None or maps_to_rgb(latents.rgb, latents.channels),
        "vaes": all(is_autoencoder(vae, latents.channels) for vae in manifest.vaes.values()),
        "defaults": 1 <= defaults.steps <= MAX_STEPS
        and 0 <= defaults.guidance <= MAX_GUIDANCE
        and 1 <= defaults.image_guidance <= MAX_GUIDANCE
        and (defaults.timesteps is None or walks(defaults.timesteps, defaults.steps))
        and all(0 < side <= MAX_SIDE and not side % max(latents.multiple, 1) for side in sides),
        "sizes": manifest.sizes is None or suits(manifest.sizes, *sides),
        "guidance": manifest.guidance in GUIDANCE and _steered_as_said(manifest),
        "text_encoders": all(is_encoder(encoder, manifest.graphs[encoder.graph]) for encoder in manifest.text_encoders),
        "conditioning": not set(manifest.conditioning) & {LATENTS, TIMESTEP, SCALE, *PLACES, *KNOWN_FEEDS}
        and all(feed.encoders for feed in manifest.conditioning.values())
        and all(_fits_together(manifest, feed) for feed in manifest.conditioning.values())
        and all(_has_pooled(manifest, feed.encoders) for feed in manifest.conditioning.values() if feed.pooled),
        "denoisers": all(
            set(part.channels) <= set(BEHIND) and {LATENTS, TIMESTEP} <= set(part.feeds.values()) and _is_laid(part)
            for part in manifest.denoisers
        ),
        **{
            f"graphs: {name}": has_ports(manifest.graphs[name], *ports)
            for name, ports in painter_ports(manifest).items()
        },
    }


def walks(timesteps: tuple[float, ...], steps: int) -> bool:
    """As many timesteps as steps, each below the one before and none below 0."""
    ends = [math.inf, *timesteps, -1.0]
    return len(timesteps) == steps and all(high > low for high, low in pairwise(ends))


def is_encoder(encoder: TextEncoder, graph: GraphInfo) -> bool:
    """Ids and lengths that a tokenizer can have, and ports of their sizes."""
    ids = (encoder.bos_id or 0, encoder.eos_id or 0, encoder.pad_id)
    return (
        3 <= encoder.length <= LARGEST_LENGTH
        and all(0 <= token < LARGEST_ID for token in ids)
        and encoder.empty in ("encode", "zeros")
        and encoder.emphasis in EMPHASIS
        and len(encoder.prefix) <= LONGEST_PREFIX
        and bool(encoder.prefix) == (encoder.kept is not None)
        and (encoder.kept is None or (encoder.cut and 3 <= encoder.kept <= encoder.length))
        and sized_like_text(graph, encoder)
    )


def _has_pooled(manifest: Manifest, names: Sequence[str]) -> bool:
    return all(encoder.pooled is not None for encoder in manifest.text_encoders if encoder.graph in names)


def _steered_as_said(manifest: Manifest) -> bool:
    """What a kind of guidance needs is there, and what needs it is not there without it."""
    part = manifest.denoiser
    told = {"guidance_embedding", SCALE} & set(part.feeds.values())
    return bool(told) == (manifest.guidance == "embedded") and part.edits == (manifest.guidance == "image_text")


def _is_laid(part: Denoiser) -> bool:
    """Latents that can be laid as its ports ask for them."""
    return (
        1 <= part.patch <= LARGEST_PATCH
        and not (part.patch > 1 and part.channels)
        and all(math.isfinite(scale) and scale > 0 for scale in (part.time_scale, part.guidance_scale))
    )


def _fits_together(manifest: Manifest, feed: Joined) -> bool:
    """Whether tokens of several encoders can follow one another."""
    if feed.mask and (feed.pooled or len(feed.all) > 1):
        return False
    if feed.width is None:
        return not (feed.then or feed.zeros)
    if feed.pooled or not 0 <= feed.zeros <= LARGEST_LENGTH or not 0 < feed.width <= LARGEST_WIDTH:
        return False
    first = sum(width for name in feed.encoders if isinstance(width := _width(manifest, name), int))
    rest = [width for name in feed.then if isinstance(width := _width(manifest, name), int)]
    return max([first, *rest]) <= feed.width


def _width(manifest: Manifest, graph: str) -> int | str:
    """Numbers that a text encoder says of each token."""
    output = next(encoder.output for encoder in manifest.text_encoders if encoder.graph == graph)
    return manifest.graphs[graph].outputs[output].shape[-1]


def is_vocabulary(words: Sequence[str]) -> bool:
    """At most MOST_WORDS words, each printable and of at most LONGEST_WORD characters."""
    return len(words) <= MOST_WORDS and all(
        len(word) <= LONGEST_WORD and word.strip() and word.isprintable() for word in words
    )


def suits(sizes: Sizes, *sides: int) -> bool:
    """Possible sizes, and `sides` are among them."""
    possible = 1 <= sizes.smallest <= sizes.largest <= MAX_SIDE
    return possible and all(sizes.smallest <= side <= sizes.largest for side in sides)


def _unused(manifest: Manifest) -> Iterator[str]:
    """Parts, graphs and ports that nothing here feeds or reads: a picture made without them would be wrong."""
    if UPSCALER in manifest.graphs:
        wanted = {UPSCALER: {"image"}}
    elif manifest.control:
        wanted = {manifest.control.graph: set(manifest.control.feeds)}
    else:
        fed = {name for feed in manifest.conditioning.values() for name in feed.all}
        yield from (f"text encoder '{each.graph}'" for each in manifest.text_encoders if each.graph not in fed)
        taken = {feed for part in manifest.denoisers for feed in part.feeds.values()}
        yield from (f"feed '{feed}'" for feed in manifest.conditioning if feed not in taken)
        yield from (f"second denoiser '{part.graph}'" for part in manifest.denoisers[1:])
        yield from (f"second VAE '{name}'" for name in manifest.vaes if name != "default")
        wanted = {name: set(inputs) for name, (inputs, _) in painter_ports(manifest).items()}
        wanted |= {encoder.graph: set(encoder.ports) for encoder in manifest.text_encoders}
    for name, graph in manifest.graphs.items():
        if name not in wanted:
            yield f"graph '{name}'"
        else:
            yield from (f"port '{port}' of '{name}'" for port in graph.inputs if port not in wanted[name])
