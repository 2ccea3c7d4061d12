"""The ports that a graph must have: what the rest of a manifest says of each, its rank, sizes and numbers."""

from pleinair.bundle.manifest import (
    KNOWN_FEEDS,
    LATENTS,
    MASK,
    PLACES,
    SCALE,
    TIMESTEP,
    Denoiser,
    GraphInfo,
    Manifest,
    Port,
    TextEncoder,
)

LARGEST_ID = 1 << 31
REAL, WHOLE = ("float32", "float16"), ("int64", "int32")
NUMBERS = {"input_ids": WHOLE, MASK: WHOLE, "timestep": (*REAL, "float64", *WHOLE)}  # of ports; all others are REAL
ANSWERS = {"gaussian": 2, "plain": 1}  # kind of an encoder -> numbers that it says of each latent


def painter_ports(manifest: Manifest) -> dict[str, tuple[dict, dict]]:
    """graph -> its inputs and its outputs: port -> (rank, {axis: the size that it must have})."""
    channels = manifest.latents.channels
    ports = {}
    for part in manifest.denoisers:
        wanted = {port: _feed_port(manifest, part, port, feed) for port, feed in part.feeds.items()}
        ports[part.graph] = (wanted, {part.output: _latents_port(part, channels)})
    for vae in manifest.vaes.values():
        ports[vae.decoder] = ({"latent_sample": (4, {1: channels})}, {"sample": (4, {1: 3})})
        if vae.encoder is not None:
            answer = (4, {1: ANSWERS[vae.kind] * channels}) if vae.kind in ANSWERS else (4, {})
            ports[vae.encoder] = ({"sample": (4, {1: 3})}, {vae.answer: answer})
    return ports


def _latents_port(part: Denoiser, channels: int) -> tuple[int, dict[int, int]]:
    """Rank and sizes of latents as a denoiser takes and gives them."""
    return (4, {1: channels}) if part.patch == 1 else (3, {2: channels * part.patch**2})


def _feed_port(manifest: Manifest, part: Denoiser, port: str, feed: str) -> tuple[int, dict[int, int]] | None:
    """Rank and sizes of the `port` that takes a feed; None for a feed that nothing makes."""
    channels = manifest.latents.channels
    if feed == LATENTS:
        behind = sum(1 if name == "mask" else channels for name in part.channels)
        return _latents_port(part, channels + behind)
    if feed == TIMESTEP:  # a row of one, or a number alone
        inputs = manifest.graphs[part.graph].inputs
        return 0 if port in inputs and not inputs[port].shape else 1, {}
    if feed == SCALE:
        return 1, {}
    if feed in PLACES:
        return 2, {1: 3}
    if feed in KNOWN_FEEDS:
        columns = KNOWN_FEEDS[feed]
        return 2, {} if columns is None else {1: columns}
    if feed not in manifest.conditioning:
        return None
    made = manifest.conditioning[feed]
    if made.mask:
        return 2, {}
    if made.width is not None:
        return 3, {2: made.width}
    encoders = {encoder.graph: encoder for encoder in manifest.text_encoders}
    outputs = [encoders[name].pooled if made.pooled else encoders[name].output for name in made.encoders]
    widths = [
        manifest.graphs[name].outputs[output].shape[-1]
        for name, output in zip(made.encoders, outputs, strict=True)
        if output is not None
    ]
    sized = {} if any(isinstance(width, str) for width in widths) else {1 if made.pooled else 2: sum(widths)}
    return 2 if made.pooled else 3, sized


def has_ports(graph: GraphInfo, inputs: dict, outputs: dict) -> bool:
    """Whether a graph has these ports; those it has besides are told of by `_unused`."""
    return all(
        port in described and made is not None and fits(port, described[port], *made)
        for described, wanted in ((graph.inputs, inputs), (graph.outputs, outputs))
        for port, made in wanted.items()
    )


def numbers(port: str) -> tuple[str, ...]:
    """The kinds of numbers that a port of this name may take or give."""
    return NUMBERS.get(port, REAL)


def fits(name: str, port: Port, rank: int, sizes: dict[int, int]) -> bool:
    """A port of this rank, of the numbers that belong there, whose fixed sizes are those it must have."""
    if port.dtype not in numbers(name) or len(port.shape) != rank:
        return False
    return all(
        isinstance(side, str) or (0 < side < LARGEST_ID and side == sizes.get(axis, side))
        for axis, side in enumerate(port.shape)
    )


def sized_like_text(graph: GraphInfo, encoder: TextEncoder) -> bool:
    """A graph that turns `input_ids` into embeddings (B, length, width), and, where it pools, into (B, width)."""
    output, pooled = graph.outputs[encoder.output], graph.outputs.get(encoder.pooled)
    return (
        all(name in graph.inputs and fits(name, graph.inputs[name], 2, {1: encoder.length}) for name in encoder.ports)
        and fits(encoder.output, output, 3, {1: encoder.length})
        and isinstance(output.shape[-1], int)
        and (pooled is None or (fits(encoder.pooled, pooled, 2, {}) and isinstance(pooled.shape[-1], int)))
    )
