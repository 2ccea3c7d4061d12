"""One pass through the noise: its model's network, made to listen to the text, for a solver to call."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from math import sqrt

import numpy as np

from pleinair.engines.edits import Edit, Tabulated, Unrounded
from pleinair.engines.engine import Shapes
from pleinair.model import Model
from pleinair.network import guidance
from pleinair.network.control import WANTED, Controls
from pleinair.network.denoiser import answer, asked_by_text, denoiser_inputs, known_feeds
from pleinair.network.feeds import CHANNELS, Known, Told
from pleinair.network.guidance import Guide, Guided
from pleinair.pictures.seamless import wrapped
from pleinair.pictures.start import Start
from pleinair.request.planning import Pass
from pleinair.request.request import Request
from pleinair.sampling.coordinates import Denoise, Keep, untouched
from pleinair.sampling.path import Point
from pleinair.sampling.predictions import prediction_type
from pleinair.sampling.reuse import Reuse, asked_steps

Guides = Callable[[int], Guide]  # step -> what the network is told at it


def guided(
    model: Model,
    request: Request,
    stage: Pass,
    guide: Guides,
    start: Start | None,
    controls: Controls | None = None,
    edits: Sequence[Edit] = (),
) -> Guided:
    """The network of a pass, told of the text, of sizes, and of the picture that it is to see behind the latents.

    Its graph is changed by `edits`, which have the ports that `controls` are for. In the last steps that a request
    wants wide, one in int8 computes in float.
    """
    manifest, part = model.bundle.manifest, model.bundle.manifest.denoiser
    shares = (
        model.graphs.shares(part.graph)
        and asked_by_text(part, manifest.graphs[part.graph])
        and not any(isinstance(edit, Tabulated) for edit in edits)
    )
    wide_from = stage.whole - (request.wide_steps if manifest.graphs[part.graph].in_int8 else 0)
    graphs = {
        wide: cache(partial(model.graphs.open, part.graph, (*edits, *how)))  # opened at the first call
        for wide, how in ((False, ()), (True, (Unrounded(),)))
    }

    def network(x: np.ndarray, point: Point, step: int, told: Told) -> np.ndarray:
        request.check()
        added = controls.residuals(for_each(x, told), point, step, told) if controls else {}
        graph = graphs[step >= wide_from]()
        return answer(part, graph(**denoiser_inputs(part, x, point.t, told), **added), x)

    behind = {} if start is None or start.behind is None else {CHANNELS: start.behind}

    def more(wanted: bool) -> Told:
        known = Known(stage.width, stage.height, request.guidance.scale, wanted)
        marked = {WANTED: np.array([wanted])} if controls else {}
        return known_feeds(part, manifest.graphs[part.graph], known) | behind | marked

    told = guidance.with_feeds(guide, more(wanted=True), more(wanted=False))
    prediction = prediction_type(model.bundle.scheduler_config)
    return Guided(network, told, request.guidance, prediction, stage.whole, manifest.guidance, shares=shares)


def denoiser_shapes(
    model: Model, stage: Pass, denoise: Guided, x: np.ndarray, controls: Controls | None = None
) -> Shapes:
    """Shapes of the denoiser's inputs in the first call of a pass, with latents like x."""
    part, (blank, told) = model.bundle.manifest.denoiser, first_call(stage, denoise, x)
    seen = x if denoise.shares else blank
    shapes = {port: array.shape for port, array in denoiser_inputs(part, seen, 0.0, told).items()}
    return shapes | (controls.shapes(len(blank), *x.shape[2:]) if controls else {})


def first_call(stage: Pass, denoise: Guided, x: np.ndarray) -> tuple[np.ndarray, Told]:
    """Latents like x, without numbers, for each text, and feeds as the network is told first in a pass."""
    told = denoise.calls(stage.before, len(x))[0]
    return for_each(np.empty(x.shape, np.float32), told), told


def for_each(x: np.ndarray, told: Told) -> np.ndarray:
    """Latents (B, C, h, w) once for each text of a picture."""
    return np.concatenate([x] * (len(next(iter(told.values()))) // len(x)))


def looked_at(denoise: Denoise, stage: Pass, axes: str | None) -> Denoise:
    """The network as a pass's solver asks it: from its own first step on, and with borders that meet along `axes`."""
    denoise = going_on(denoise, stage.before) if stage.before else denoise
    return wrapped(denoise, axes) if axes else denoise


def reusing(denoise: Denoise, request: Request, stage: Pass, guided: Guided, controls: Controls | None) -> Denoise:
    """`denoise`, asked in some steps of a way, where a model begins, and where what it is told changes.

    A way of fewer steps than were asked for asks in more of them, as calls grow with the root of the steps.
    """
    if request.reuse == 1:
        return denoise

    def turns(step: int) -> bool:
        return step == stage.before or guided.turns(step) or bool(controls and controls.turns(step))

    reuse = max(request.reuse * sqrt(stage.whole / request.steps.count), 1.0)
    asked = asked_steps(stage.whole, reuse, turns)
    return Reuse(denoise, (step - stage.before for step in asked))


def going_on(denoise: Denoise, before: int) -> Denoise:
    """`denoise` for a solver that counts its steps from 0, where `before` steps of the way were done by another one."""

    def later(x: np.ndarray, point: Point, step: int) -> np.ndarray:
        return denoise(x, point, step + before)

    return later


def keeping(start: Start | None, end: Point | None) -> Keep:
    """Put back what a mask protects of the picture below, after each step; `end` is where the pass leaves off."""
    if start is None:
        return untouched

    def kept(x: np.ndarray, reached: Point | None) -> np.ndarray:
        return start.blended(x, reached or end)

    return kept
