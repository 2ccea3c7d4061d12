"""`pleinair pour`: a single file or a diffusers folder made into a bundle, without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.export import usual_out
from pleinair.cli.flags import Form, Json, OwnSampler, Replace, Weights, formats_of, offered
from pleinair.cli.models import description
from pleinair.cli.terminal import data, document, say
from pleinair.cli.usage import examples
from pleinair.library.poured import mark
from pleinair.pouring.opened import PREDICTIONS
from pleinair.pouring.pour import pour as pour_model
from pleinair.sources.hub_cache import usual_name

app = typer.Typer(add_completion=False)
PLAIN = {"source", "out", "form", "weights", "allow_pickle", "force", "as_json"}  # all others change what is poured


@app.command(epilog=examples("pour"))
def pour(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A .safetensors file or a diffusers folder.", show_default=False)],
    out: Annotated[Path | None, typer.Argument(help="The bundle to write.", show_default="among the models")] = None,
    form: Form = "openvino",
    weights: Weights = "fp16",
    vae: Annotated[
        Path | None,
        typer.Option(help="A file with another VAE.", show_default="the model's own"),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            help="epsilon or v_prediction, where the file does not say.",
            show_default="what the file says",
            autocompletion=offered(PREDICTIONS),
        ),
    ] = None,
    sampler: OwnSampler = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Take the weights alone out of a .ckpt or .pt; needs PyTorch.")
    ] = False,
    force: Replace = False,
    as_json: Json = False,
) -> None:
    """Turn a Stable Diffusion checkpoint into a bundle, without PyTorch."""
    formats = formats_of(form)
    out = out or usual_out(usual_name(source))
    last = ""
    for progress in pour_model(
        source,
        out,
        formats=formats,
        weights=weights,
        vae=vae,
        prediction=prediction,
        sampler=sampler,
        force=force,
        allow_pickle=allow_pickle,
    ):
        if progress.note or progress.words != last:
            written = "" if progress.note else f"[{progress.done / 1e6:5,.0f} of {progress.total / 1e6:,.0f} MB] "
            say(f"{written}{progress.words}")
        last = progress.words
    mark(out, source, asked=any(context.params[name] is not None for name in context.params.keys() - PLAIN))
    if as_json:
        document(description(open_bundle(out)))
    else:
        data(out)
