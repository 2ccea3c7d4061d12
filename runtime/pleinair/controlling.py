"""The ControlNets of a job: the pictures that they see in each pass, and what the denoiser's graph gets for them."""

from collections.abc import Callable
from functools import cache, cached_property, partial

import numpy as np
from PIL import Image

from pleinair.engines.edits import Residuals
from pleinair.engines.engine import Graph
from pleinair.model import Companions, Model
from pleinair.network.control import ControlPass, Controls, strengths
from pleinair.pictures.preparing import PREPARERS
from pleinair.pictures.reading import fitted
from pleinair.pictures.seamless import shift_at
from pleinair.pictures.start import Ground
from pleinair.pictures.vae import to_pixels
from pleinair.request.controls import Control, residual_channels
from pleinair.request.planning import Pass
from pleinair.request.request import Request


class ControlPlan:
    """What the ControlNets of a job do in its `passes`; `asking` opens a graph that asks whether to stop.

    Where one counts in any step, every pass is painted with a graph that has ports for it, so that nothing is compiled
    between two steps; else the plain graph does.
    """

    def __init__(
        self, request: Request, passes: list[Pass], companions: Companions, asking: Callable[[Model, str], Graph]
    ) -> None:
        own = [stage for stage in passes if not stage.refines]
        self._request = request
        self._asking = asking
        counting = [control for control in request.controls if any(is_heard(control, stage.whole) for stage in own)]
        self._used = [(control, companions.open(control.model)) for control in counting]
        self._idle = len(request.controls) - len(counting)
        self._made: dict[tuple[int, int, int], Controls] = {}

    @cached_property
    def edits(self) -> tuple[Residuals, ...]:
        """How the denoiser's graph is changed."""
        bundles = [model.bundle for _, model in self._used]
        names = ", ".join(bundle.manifest.name for bundle in bundles)
        return (Residuals(residual_channels(bundles[0]), names),) if bundles else ()

    @property
    def warnings(self) -> list[str]:
        """What is said of ControlNets that never count, and of pictures that are not of the size that is painted."""
        size = whole_size(self._request)
        idle = [f"{self._idle} of the ControlNets count in no step; let them start earlier or end later"]
        return idle * bool(self._idle) + [
            f"the picture for the ControlNet '{model.bundle.manifest.name}' is {control.image.width}x"
            f"{control.image.height} and is stretched to {size[0]}x{size[1]}; give one of that size to see all of it"
            for control, model in self._used
            if control.image.size != size
        ]

    def of(self, stage: Pass, ground: Ground | None) -> Controls | None:
        """The ControlNets of a pass over a picture, if it has any; a refiner is told nothing of them."""
        if not self._used or stage.refines:
            return None
        key = stage.width, stage.height, stage.whole
        if key not in self._made:
            part = self._used[0][1].bundle.manifest.control
            self._made[key] = Controls(
                passes=[self._pass(number, stage, ground) for number in range(len(self._used))],
                edit=self.edits[0],
                coarse=tuple(part.residuals.values()),
                shift=partial(shift_at, axes=self._request.tile or ""),
            )
        return self._made[key]

    def release(self) -> None:
        """Give the memory of the ControlNets back; the next pass loads them again."""
        self._made.clear()
        for _, model in self._used:
            model.release()

    def _pass(self, number: int, stage: Pass, ground: Ground | None) -> ControlPass:
        control, model = self._used[number]
        part = model.bundle.manifest.control
        return ControlPass(
            part=part,
            graph=cache(partial(self._asking, model, part.graph)),
            picture=laid(self._prepared[number], stage, ground),
            strengths=strengths(part, control.strength, control.guess),
            on=partial(control.on, steps=stage.whole),
            wanted_alone=control.guess or part.pooled,
        )

    @cached_property
    def _prepared(self) -> list[Image.Image]:
        return [prepared(control) for control, _ in self._used]


def is_heard(control: Control, steps: int) -> bool:
    """Whether a ControlNet counts in any of so many steps."""
    return any(control.on(step, steps) for step in range(steps))


def prepared(control: Control) -> Image.Image:
    """The picture of a ControlNet, made ready in the way that is asked for."""
    return PREPARERS[control.prepare](control.image) if control.prepare else control.image


def whole_size(request: Request) -> tuple[int, int]:
    """Width and height of what a ControlNet's picture lies on: what is painted, or of what a part is painted over."""
    canvas = request.canvas
    return canvas.image.size if canvas and canvas.only_masked else (request.width, request.height)


def laid(picture: Image.Image, stage: Pass, ground: Ground | None) -> np.ndarray:
    """A picture at the size of a pass, (1, 3, H, W) in 0..1, or of it the region that is painted.

    It is stretched by Lanczos, as diffusers' `control_image_processor` does.
    """
    if ground is not None and ground.box:
        picture = fitted(picture, *ground.original.size, how="stretch").crop(ground.box)
    return np.ascontiguousarray(
        to_pixels([fitted(picture, stage.width, stage.height, how="stretch")]).transpose(0, 3, 1, 2)
    )
