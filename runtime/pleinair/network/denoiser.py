"""The network of the loop, as a bundle describes it: which of its ports takes which feed."""

import numpy as np

from pleinair.bundle.manifest import LATENTS, PLACES, SCALE, TIMESTEP, Denoiser, GraphInfo
from pleinair.network.feeds import CHANNELS, MAKERS, Known, Told
from pleinair.network.patches import image_ids, packed, text_ids, unpacked


def denoiser_inputs(part: Denoiser, x: np.ndarray, t: float, told: Told) -> dict[str, np.ndarray]:
    """What a denoiser's graph is called with: latents x (B, C, h, w) at timestep t, and the feeds, B rows each."""
    seen = np.concatenate([x, told[CHANNELS]], 1) if part.channels else x
    feeds = {**told, LATENTS: packed(seen, part.patch), TIMESTEP: np.array([t * part.time_scale], np.float32)}
    if set(PLACES) & set(part.feeds.values()):
        feeds |= places(part, x, told)
    return {port: feeds[feed] for port, feed in part.feeds.items()}


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
