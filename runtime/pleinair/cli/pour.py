"""`pleinair pour`: a single file or a diffusers folder made into a bundle, without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.cli.export import FORMATS, WEIGHTS
from pleinair.cli.flags import Json, offered
from pleinair.cli.models import description
from pleinair.cli.terminal import data, document, say
from pleinair.cli.usage import examples
from pleinair.engines.engine import installed
from pleinair.errors import RequestError
from pleinair.pouring.opened import PREDICTIONS
from pleinair.pouring.pour import pour as pour_model
from pleinair.sampling.samplers import SAMPLERS
from pleinair.system.home import is_name, models_folder

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("pour"))
def pour(
    source: Annotated[Path, typer.Argument(help="A .safetensors file or a diffusers folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[
        str, typer.Option("--format", help="openvino, onnx or both.", autocompletion=offered(FORMATS))
    ] = "openvino",
    weights: Annotated[
        str, typer.Option(help="fp32, fp16 or int8: how weights are stored.", autocompletion=offered(WEIGHTS))
    ] = "fp16",
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
    sampler: Annotated[
        str | None,
        typer.Option(
            help="What the bundle paints with unless told.",
            show_default="the model's own",
            autocompletion=offered(SAMPLERS),
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a Stable Diffusion checkpoint into a bundle, without PyTorch."""
    formats = FORMATS.get(form)
    if formats is None:
        raise RequestError(f"unknown format '{form}'; choose openvino, onnx or both")
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
    ):
        if progress.note or progress.words != last:
            written = "" if progress.note else f"[{progress.done / 1e6:5,.0f} of {progress.total / 1e6:,.0f} MB] "
            say(f"{written}{progress.words}")
        last = progress.words
    if as_json:
        document(description(open_bundle(out)))
    else:
        data(out)


def kept(file: Path, engine: str | None) -> Path:
    """The bundle of a single file among the models, with graphs for an engine; poured at first use, or when it changed.

    Raises what `pour` raises, and RequestError where its name is no name of a model, or another model's.
    """
    bundle, form = models_folder() / file.stem, "onnx" if engine == "onnx" or not installed("openvino") else "openvino"
    by_hand = f"make a bundle with: pleinair pour '{file}' OUT"
    if not is_name(file.stem):
        raise RequestError(f"no model can be called '{file.stem}'; {by_hand}")
    formats = {form}
    if bundle.exists():
        there = open_bundle(bundle, verify=False)
        if there.manifest.origin.source != file.name:
            raise RequestError(f"there is another model of the name '{file.stem}' in '{bundle.parent}'; {by_hand}")
        if (bundle / MANIFEST).stat().st_mtime >= file.stat().st_mtime:
            if form in there.formats:
                return bundle
            formats |= set(there.formats)
    steps = pour_model(file, bundle, formats=tuple(sorted(formats)), force=True)
    for progress in steps:
        if progress.note:
            say(progress.words)
        elif not progress.done:
            say(f"making a model of {progress.total / 1e9:.2f} GB of '{file.name}' in '{bundle}', this once")
            break
    for _ in steps:
        pass
    return bundle
