"""`pleinair pour`: a single file or a diffusers folder made into a bundle, without PyTorch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.export import usual_out
from pleinair.cli.flags import FormatFlag, Json, OwnSampler, Replace, WeightsFlag, formats_of, offered, takes
from pleinair.cli.info import description
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.library.poured import mark
from pleinair.pouring.pour import pour as pour_model
from pleinair.pouring.told import PREDICTIONS
from pleinair.request.options import OPTIONS
from pleinair.sampling.spacings import TIMESTEP_SPACINGS
from pleinair.sources.hub_cache import usual_name

app = typer.Typer(add_completion=False)
DEFAULTS = {  # options that a bundle has defaults of, in words
    "steps": "The bundle's default steps.",
    "guidance": "The bundle's default guidance; 1 turns it off.",
    "timesteps": "The bundle's default timesteps: 999,600,200.",
}
PLAIN = {"source", "out", "form", "weights", "allow_pickle", "force", "as_json"}  # all others change what is poured


@app.command(epilog=examples("pour"))
@takes(DEFAULTS, (), help=DEFAULTS)
def pour(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="A file of weights or a diffusers folder, of a model or a VAE.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Argument(help="The bundle to write.", show_default="among the models")] = None,
    form: FormatFlag = "openvino",
    weights: WeightsFlag = "fp16",
    vae: Annotated[
        Path | None,
        typer.Option(help="A file or folder with another VAE for the bundle.", show_default="the model's own"),
    ] = None,
    unet: Annotated[
        Path | None,
        typer.Option(help="A file with another UNet of the same kind.", show_default="the model's own"),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            help="epsilon, v_prediction or sample, if the file does not say.",
            show_default="what the file says",
            autocompletion=offered(PREDICTIONS),
        ),
    ] = None,
    sampler: OwnSampler = None,
    timestep_spacing: Annotated[
        str | None,
        typer.Option(
            help="How its timesteps are spaced: leading, linspace, or trailing as for Turbo and Lightning.",
            show_default="the model's own",
            autocompletion=offered(TIMESTEP_SPACINGS),
        ),
    ] = None,
    scaling_factor: Annotated[
        float | None,
        typer.Option(
            help="Scaling factor of the latents, for a VAE on its own: 0.13025 for SDXL, 0.18215 for SD 1 and 2.",
            show_default="what its config.json says",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read the weights of a .ckpt, .pt or .bin; nothing in it is run.")
    ] = False,
    force: Replace = False,
    as_json: Json = False,
    *,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Turn a Stable Diffusion checkpoint or a ControlNet into a bundle, without PyTorch."""
    formats = formats_of(form)
    out = out or usual_out(usual_name(source))
    defaults = {name: OPTIONS[name].type.read(name, value) for name, value in options.items()}
    last = ""
    for progress in pour_model(
        source,
        out,
        formats=formats,
        weights=weights,
        vae=vae,
        unet=unet,
        prediction=prediction,
        sampler=sampler,
        timestep_spacing=timestep_spacing,
        defaults=defaults,
        scaling_factor=scaling_factor,
        force=force,
        allow_pickle=allow_pickle,
    ):
        if progress.note or progress.words != last:
            written = "" if progress.note else f"[{progress.done / 1e6:5,.0f} of {progress.total / 1e6:,.0f} MB] "
            say(f"{written}{progress.words}")
        last = progress.words
    mark(out, source, asked=any(context.params[name] is not None for name in context.params.keys() - PLAIN))
    tell(description(open_bundle(out)), out, as_json=as_json)
