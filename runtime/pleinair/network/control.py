"""What ControlNets say to the network of the loop: residuals that its skip connections and its middle get added.

Those of several are summed, each times its strength (Zhang et al. 2023; diffusers' `MultiControlNetModel`). In guess
mode a ControlNet is told what is wanted and never the negative prompt, for which its residuals are zeros, and the
finest count a tenth of the coarsest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pleinair.bundle.lone_parts import CONDITION, ControlNet
from pleinair.bundle.manifest import LATENTS, TIMESTEP
from pleinair.engines.edits import Residuals
from pleinair.engines.engine import Graph, Shapes
from pleinair.network.feeds import Told
from pleinair.sampling.path import Point

WANTED = "wanted"  # a feed for this room alone: 1 in rows of the prompt, 0 in those of the negative one
FAINTEST = 0.1  # of the finest residual in guess mode, 1 being that of the middle


@dataclass(frozen=True)
class ControlPass:
    """A ControlNet in one pass through the noise: its graph, the picture it sees, and how far it is followed.

    `picture` is (1, 3, H, W) in 0..1, `strengths` has a factor for each residual, and `on(step)` says in which steps it
    counts.
    """

    part: ControlNet
    graph: Callable[[], Graph]
    picture: np.ndarray
    strengths: np.ndarray
    on: Callable[[int], bool]
    wanted_alone: bool

    def inputs(self, x: np.ndarray, t: float, told: Told, shift: tuple[int, int]) -> dict[str, np.ndarray]:
        """What its graph is called with for latents x (B, C, h, w) at timestep t, and feeds of B rows each."""
        picture = self.picture[:, ::-1] if self.part.order == "bgr" else self.picture
        moved = np.roll(picture, [by * self.part.downsample for by in shift], (2, 3)) if any(shift) else picture
        shown = np.repeat(moved, len(x), axis=0)
        feeds = {**told, LATENTS: x, TIMESTEP: np.array([t], np.float32), CONDITION: shown}
        return {port: feeds[feed] for port, feed in self.part.feeds.items()}

    def rows(self, told: Told) -> np.ndarray:
        """The numbers of the rows that it is told."""
        wanted = told[WANTED]
        return np.flatnonzero(wanted) if self.wanted_alone else np.arange(len(wanted))

    def said(self, x: np.ndarray, t: float, told: Told, shift: tuple[int, int]) -> list[np.ndarray]:
        """Its residuals to latents x, times its strengths: (B, C, h, w) each, or (B, C, 1, 1) where they are pooled.

        Those see a picture that is moved by a `shift` of rows and columns of latents, around the borders.
        """
        answer = self.graph()(**self.inputs(x, t, told, shift))
        found = (answer[port] * np.float32(by) for port, by in zip(self.part.residuals, self.strengths, strict=True))
        return [each.mean((2, 3), keepdims=True) if self.part.pooled else each for each in found]


def strengths(part: ControlNet, strength: float, guess: bool) -> np.ndarray:
    """A factor for each residual; those of one that is pooled are alike in guess mode too, as diffusers has it."""
    count = len(part.residuals)
    rising = np.logspace(np.log10(FAINTEST), 0, count) if guess and not part.pooled else np.ones(count)
    return strength * rising


def chosen(told: Told, rows: np.ndarray) -> Told:
    """Some rows of feeds."""
    return {feed: array[rows] for feed, array in told.items()}


@dataclass(frozen=True)
class Controls:
    """The ControlNets of a pass; `shift(point, h, w)` is by how many rows and columns its latents are moved around."""

    passes: Sequence[ControlPass]
    edit: Residuals
    coarse: tuple[int, ...]  # latents along a side that one number of each residual stands for
    shift: Callable[[Point, int, int], tuple[int, int]]

    def shapes(self, rows: int, height: int, width: int) -> Shapes:
        """Those of the ports that its edit adds, for so many rows of latents of this size."""
        return {
            port: (rows, channels, -(-height // size), -(-width // size))
            for port, channels, size in zip(self.edit.ports, self.edit.channels, self.coarse, strict=True)
        }

    def prepare(self, x: np.ndarray, told: Told) -> None:
        """Load and compile the ControlNets for what they will be told beside latents like x."""
        for each in self.passes:
            rows = each.rows(told)
            if len(rows):
                inputs = each.inputs(x[rows], 0.0, chosen(told, rows), (0, 0))
                each.graph().prepare({port: array.shape for port, array in inputs.items()})

    def turns(self, step: int) -> bool:
        """Whether a ControlNet begins or ends at a step."""
        return step == 0 or any(each.on(step) != each.on(step - 1) for each in self.passes)

    def residuals(self, x: np.ndarray, point: Point, step: int, told: Told) -> dict[str, np.ndarray]:
        """What goes into the ports at a step; zeros where no ControlNet counts."""
        height, width = x.shape[2:]
        ports = {port: np.zeros(shape, np.float32) for port, shape in self.shapes(len(x), height, width).items()}
        shift = self.shift(point, height, width)
        for each in self.passes:
            rows = each.rows(told)
            if not each.on(step) or not len(rows):
                continue
            for port, said in zip(ports, each.said(x[rows], point.t, chosen(told, rows), shift), strict=True):
                ports[port][rows] += said
        return ports
