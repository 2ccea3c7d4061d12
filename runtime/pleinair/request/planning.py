"""The passes of a request, settled and checked before anything is loaded, and what of it is not followed."""

from dataclasses import dataclass

from pleinair.bundle.manifest import TIMESTEP
from pleinair.bundle.opening import Bundle
from pleinair.errors import BundleError
from pleinair.request.options import Steps
from pleinair.request.request import Request
from pleinair.sampling.configured import make_solver
from pleinair.sampling.grids import unfollowed
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import unknown_class
from pleinair.sampling.path import Path
from pleinair.sampling.samplers import SAMPLERS
from pleinair.text.vocabulary import size_warnings


@dataclass(frozen=True)
class Pass:
    """One way through the noise: the first, or the one that adds detail at a larger size."""

    steps: Steps
    path: Path
    width: int
    height: int


def plan(bundle: Bundle, request: Request) -> list[Pass]:
    """The passes of a request; raises BundleError or RequestError for what the model or the sampler cannot do."""
    if request.tile and bundle.manifest.denoiser.channels:
        raise BundleError(
            f"bundle '{bundle.manifest.name}' is made to paint over pictures and paints no seamless ones;"
            " choose another with --model"
        )
    path = _path(bundle, request.steps)
    if request.canvas and (request.task == "image2image" or request.canvas.strength < 1):
        path = path.after(request.canvas.strength)
    passes = [Pass(request.steps, path, request.width, request.height)]
    if hires := request.hires:
        multiple = bundle.manifest.latents.multiple
        width, height = (round(side * hires.factor / multiple) * multiple for side in (request.width, request.height))
        path = _path(bundle, hires.steps).after(hires.strength, "hires_strength")
        passes.append(Pass(hires.steps, path, width, height))
    return passes


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
    ]


def whole_timesteps(bundle: Bundle, passes: list[Pass]) -> list[str]:
    """A warning where a path has fractions of timesteps and the denoiser's graph takes none."""
    part = bundle.manifest.denoiser
    port = next(port for port, feed in part.feeds.items() if feed == TIMESTEP)
    whole = bundle.manifest.graphs[part.graph].inputs[port].dtype.startswith("int")
    if not whole or not any(point.t % 1 for each in passes for point, _ in each.path.strides):
        return []
    return ["this model's graph takes whole timesteps, and fractions are cut off; --spacing leading has none"]


def _path(bundle: Bundle, steps: Steps) -> Path:
    config, grid = bundle.scheduler_config, SAMPLERS[steps.sampler].grid
    make_solver(steps.sampler, config, eta=steps.eta, s_churn=steps.s_churn, s_noise=steps.s_noise)
    return make_path(config, grid, steps.count, steps.spacing, sigmas=steps.sigmas, timesteps=steps.timesteps)
