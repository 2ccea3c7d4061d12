"""The network of the loop, as a bundle describes it: which of its ports takes which feed."""

import numpy as np

from pleinair.bundle.manifest import LATENTS, TIMESTEP, Denoiser, GraphInfo
from pleinair.network.feeds import CHANNELS, MAKERS, Known, Told


def ports(part: Denoiser, x: np.ndarray, t: float, told: Told) -> dict[str, np.ndarray]:
    """What a denoiser's graph is called with: latents x (B, C, h, w) at timestep t, and the feeds, B rows each."""
    seen = np.concatenate([x, told[CHANNELS]], 1) if part.channels else x
    given = {**told, LATENTS: seen, TIMESTEP: np.array([t], np.float32)}
    return {port: given[feed] for port, feed in part.feeds.items()}


def known_feeds(part: Denoiser, info: GraphInfo, known: Known) -> Told:
    """The feeds of a denoiser that follow from the request alone, (1, ...) each."""
    return {
        feed: MAKERS[feed](known, info.inputs[port].shape[-1]) for port, feed in part.feeds.items() if feed in MAKERS
    }
