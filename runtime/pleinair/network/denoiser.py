"""The network of the loop, as a bundle describes it: which of its ports takes which feed."""

import numpy as np

from pleinair.bundle.manifest import LATENTS, PLACES, SCALE, TIMESTEP, Denoiser, GraphInfo, Manifest
from pleinair.network.feeds import CHANNELS, MAKERS, Known, Told
from pleinair.network.patches import image_ids, packed, text_ids, unpacked


def denoiser_inputs(part: Denoiser, x: np.ndarray, t: float, told: Told) -> dict[str, np.ndarray]:
    """What a denoiser's graph is called with: latents x (B, C, h, w) at timestep t, and the feeds, B rows each."""
    seen = np.concatenate([x, told[CHANNELS]], 1) if part.channels else x
    feeds = {**told, LATENTS: packed(seen, part.patch), TIMESTEP: time_told(part, t)}
    if set(PLACES) & set(part.feeds.values()):
        feeds |= places(part, x, told)
    return {port: feeds[feed] for port, feed in part.feeds.items()}


def time_told(part: Denoiser, t: float) -> np.ndarray:
    """What a denoiser is told of the timestep (1,)."""
    return np.array([t * part.time_scale], np.float32)


def settled_ports(manifest: Manifest) -> dict[str, str]:
    """Port -> feed of a denoiser, for feeds that are known before the first step whatever the picture becomes.

    They are the time, what is known of the size and of guidance, and what texts say as a whole; not their tokens.
    """
    pooled = [feed for feed, made in manifest.conditioning.items() if made.pooled]
    known = {TIMESTEP, SCALE, *MAKERS, *pooled}
    return {port: feed for port, feed in manifest.denoiser.feeds.items() if feed in known}


def settled_inputs(manifest: Manifest, t: float, told: Told) -> dict[str, np.ndarray]:
    """What a denoiser's settled ports are told at timestep t, with feeds of B rows each."""
    feeds = {**told, TIMESTEP: time_told(manifest.denoiser, t)}
    return {port: feeds[feed] for port, feed in settled_ports(manifest).items()}


def asked_by_text(part: Denoiser, info: GraphInfo) -> bool:
    """Whether only what texts say, token by token, tells apart the rows of a picture, of which any number may be."""
    shapes = [info.inputs[port].shape for port, feed in part.feeds.items() if feed != TIMESTEP]
    if part.channels or part.patch > 1 or sorted(map(len, shapes)) != [3, 4]:
        return False
    one, other = (shape[0] for shape in shapes)
    return isinstance(one, str) and one == other


def places(part: Denoiser, x: np.ndarray, told: Told) -> Told:
    """Where the patches of latents x (B, C, h, w) lie, and the tokens of the text, which is what has three axes."""
    height, width = (side // part.patch for side in x.shape[2:])
    tokens = max((rows.shape[1] for rows in told.values() if rows.ndim == 3), default=0)
    return dict(zip(PLACES, (image_ids(height, width), text_ids(tokens)), strict=True))


def answer(part: Denoiser, outputs: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """What a denoiser's graph says to latents x (B, C, h, w), as latents."""
    return unpacked(outputs[part.output], x.shape, part.patch)


def known_feeds(part: Denoiser, info: GraphInfo, known: Known) -> Told:
    """The feeds of a denoiser that follow from the request alone, (1, ...) each."""
    made = {
        feed: MAKERS[feed](known, info.inputs[port].shape[-1]) for port, feed in part.feeds.items() if feed in MAKERS
    }
    if SCALE in part.feeds.values():
        made[SCALE] = np.array([known.guidance], np.float32) * np.float32(part.guidance_scale)
    return made
