"""`pleinair export`: a model made into a bundle, where the export extra is installed."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.flags import Json, offered
from pleinair.cli.models import description
from pleinair.cli.terminal import data, document, say
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.sampling.samplers import SAMPLERS
from pleinair.system import install

app = typer.Typer(add_completion=False)
FORMATS = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}
WEIGHTS = ("fp32", "fp16", "int8")


@app.command(epilog=examples("export"))
def export(
    source: Annotated[Path, typer.Argument(help="A diffusers folder, or an upscaler's file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[
        str,
        typer.Option("--format", help="openvino, onnx or both.", autocompletion=offered(FORMATS)),
    ] = "openvino",
    weights: Annotated[
        str,
        typer.Option(help="fp32, fp16 or int8: how weights are stored.", autocompletion=offered(WEIGHTS)),
    ] = "fp16",
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
    """Turn a diffusers model or an ESRGAN upscaler into a bundle; needs the `export` extra."""
    formats = FORMATS.get(form)
    if formats is None:
        raise RequestError(f"unknown format '{form}'; choose openvino, onnx or both")
    install.need("model export")
    from pleinair_export import export as export_model

    for progress in export_model(source, out, formats=formats, weights=weights, sampler=sampler, force=force):
        found = f"  {progress.fidelity.psnr_db:.1f} dB" if progress.fidelity else ""
        say(f"[{progress.done:2}/{progress.total}] {progress.graph:12} {progress.stage}{found}")
    if as_json:
        document(description(open_bundle(out)))
    else:
        data(out)
