"""The passes of a request, settled and checked before anything is loaded, and what of it is not followed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose
from typing import Any

from pleinair.bundle.manifest import TIMESTEP
from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.errors import BundleError, RequestError
from pleinair.request.options import renewal
from pleinair.request.pass_options import Steps
from pleinair.request.request import Request
from pleinair.request.speeds import adds_noise
from pleinair.sampling.configured import make_solver
from pleinair.sampling.grids import unfollowed
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import unknown_class
from pleinair.sampling.path import Path, Point
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.scheduler_config import trained_as
from pleinair.sampling.trained import train_steps
from pleinair.text.vocabulary import size_warnings

NEAR = 1e-4  # of numbers that latents are scaled by, which configs round


@dataclass(frozen=True)
class Pass:
    """One way through the noise: the first, or the one that adds detail at a larger size; or a model's part of a way.

    Of a way that two models share, the first leaves off at the noise level `until`, from which the second `refines`.
    """

    steps: Steps
    path: Path
    width: int
    height: int
    refines: bool = False
    before: int = 0  # steps of the way that another model has done
    after: int = 0  # steps of the way that are left to another model
    until: Point | None = None  # None: out of the noise

    @property
    def whole(self) -> int:
        """Steps of the way."""
        return self.before + len(self.path) + self.after


def planned_passes(bundle: Bundle, request: Request, refiner: Bundle | None = None) -> list[Pass]:
    """The passes of a request; raises BundleError or RequestError for what a model or the sampler cannot do."""
    if request.tile and bundle.manifest.denoiser.channels:
        raise BundleError(
            f"bundle '{bundle.manifest.name}' is made to paint over pictures and paints no seamless ones;"
            " choose another with --model"
        )
    path = _path(bundle, request.steps, request.width, request.height)
    if request.canvas and (request.task == "image2image" or request.canvas.strength < 1):
        path = path.after(request.canvas.strength)
    passes = [Pass(request.steps, path, request.width, request.height)]
    if refiner is not None:
        passes = shared(passes[0], bundle, refiner, request.refining.start)
    if hires := request.hires:
        multiple = bundle.manifest.latents.multiple
        width, height = (round(side * hires.factor / multiple) * multiple for side in (request.width, request.height))
        path = _path(bundle, hires.steps, width, height).after(hires.strength, "hires_strength")
        passes.append(Pass(hires.steps, path, width, height))
    if request.reuse > 1:
        check_reuse(passes, bundle.scheduler_config)
    return passes


def check_reuse(passes: list[Pass], config: Mapping[str, Any]) -> None:
    """Raise RequestError for a sampler that renews the noise, so that what was found does not hold."""
    for steps in (stage.steps for stage in passes):
        if adds_noise(steps, config):
            raise RequestError(
                f"the sampler {steps.sampler} adds new noise, so its last answers cannot be reused; leave --reuse out,"
                " or choose a sampler such as dpmpp_2m"
            )


def shared(whole: Pass, bundle: Bundle, refiner: Bundle, start: float) -> list[Pass]:
    """A way of two models: the second takes over below the timestep where a share `start` of all timesteps is behind.

    diffusers' `denoising_end` and `denoising_start`. Deviation: of a step that asks the network twice, diffusers' base
    does the first half, and its refiner does all of it again; here it is the base's.
    """
    names = f"'{refiner.manifest.name}'", f"'{bundle.manifest.name}'"
    if trained_as(bundle.scheduler_config) == "edm":
        raise RequestError(f"{names[1]} has no timesteps at which a refiner could take over; leave --refiner out")
    path = _path(refiner, whole.steps, whole.width, whole.height)
    if abs(path.level(1.0).t - whole.path.level(1.0).t) >= 1:
        raise BundleError(
            f"{names[0]} was trained on other noise levels than {names[1]}; give a --refiner that was made for it"
        )
    count = train_steps(bundle.scheduler_config)
    cutoff = round(count - start * count)
    first, second = whole.path.above(cutoff), path.below(cutoff)
    if not len(first) or not len(second):
        raise RequestError(
            f"refiner_start {start:g} leaves {names[0] if len(first) else names[1]} no step of {len(whole.path)};"
            " choose one further from 0 and 1, or more steps"
        )
    return [
        replace(whole, path=first, after=len(second), until=second.strides[0][0]),
        replace(whole, path=second, refines=True, before=len(first)),
    ]


def warnings(bundle: Bundle, request: Request, passes: list[Pass]) -> list[str]:
    """What was asked for, or stands in the scheduler config, and is not followed."""
    config = bundle.scheduler_config
    grids = {SAMPLERS[each.steps.sampler].grid: None for each in passes}
    sizes = [(each.width, each.height) for each in passes]
    return [
        *request.idle,
        *unknown_class(config, request.steps.sampler),
        *size_warnings(bundle.manifest, sizes, request.tile or ""),
        *(warning for grid in grids for warning in unfollowed(config, grid)),
        *whole_timesteps(bundle, passes),
        *other_scales(bundle, request),
    ]


def other_scales(bundle: Bundle, request: Request) -> list[str]:
    """A warning where a VAE scales latents otherwise than the model's own.

    Those that take the loop's latents as they are, like TAESD, say nothing of whose they are.
    """
    if request.vae is None:
        return []
    other, own = open_bundle(request.vae).manifest, bundle.manifest
    same = isclose(other.vae.scale, own.vae.scale, abs_tol=NEAR) and isclose(
        other.vae.shift, own.vae.shift, abs_tol=NEAR
    )
    if same or other.vae.kind != own.vae.kind:
        return []
    return [
        f"the VAE '{other.name}' scales latents by {other.vae.scale:g}, and that of '{own.name}' by"
        f" {own.vae.scale:g}: it was made for another kind of model, and colours may be off"
    ]


def whole_timesteps(bundle: Bundle, passes: list[Pass]) -> list[str]:
    """A warning where a path has fractions of timesteps and the denoiser's graph takes none."""
    part = bundle.manifest.denoiser
    port = next(port for port, feed in part.feeds.items() if feed == TIMESTEP)
    whole = bundle.manifest.graphs[part.graph].inputs[port].dtype.startswith("int")
    if not whole or not any(point.t % 1 for each in passes for point, _ in each.path.strides):
        return []
    return ["this model's graph takes whole timesteps, and fractions are cut off; --spacing leading has none"]


def _path(bundle: Bundle, steps: Steps, width: int, height: int) -> Path:
    config, grid, latents = bundle.scheduler_config, SAMPLERS[steps.sampler].grid, bundle.manifest.latents
    patches = (width // latents.multiple) * (height // latents.multiple)
    make_solver(steps.sampler, config, **renewal(steps))
    given = {"sigmas": steps.sigmas, "timesteps": steps.timesteps}
    return make_path(config, grid, steps.count, steps.spacing, **given, patches=patches)
