"""The passes of a request, settled and checked before anything is loaded, and what of it is not followed."""

from dataclasses import dataclass

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
    path = _path(bundle, request.steps, request.width, request.height)
    if request.canvas and (request.task == "image2image" or request.canvas.strength < 1):
        path = path.after(request.canvas.strength)
    passes = [Pass(request.steps, path, request.width, request.height)]
    if hires := request.hires:
        multiple = bundle.manifest.latents.multiple
        width, height = (round(side * hires.factor / multiple) * multiple for side in (request.width, request.height))
        path = _path(bundle, hires.steps, width, height).after(hires.strength, "hires_strength")
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
    ]


def _path(bundle: Bundle, steps: Steps, width: int, height: int) -> Path:
    config, grid, latents = bundle.scheduler_config, SAMPLERS[steps.sampler].grid, bundle.manifest.latents
    patches = (width // latents.multiple) * (height // latents.multiple)
    make_solver(steps.sampler, config, eta=steps.eta, s_churn=steps.s_churn, s_noise=steps.s_noise)
    given = {"sigmas": steps.sigmas, "timesteps": steps.timesteps}
    return make_path(config, grid, steps.count, steps.spacing, **given, patches=patches)
