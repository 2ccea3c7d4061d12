"""`pleinair adopt`: a folder of graphs that another tool has exported, made to open as a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.adopting.adopt import judged, written
from pleinair.adopting.folder import FORMATS
from pleinair.cli.flags import Json, OwnSampler, offered
from pleinair.cli.info import description
from pleinair.cli.terminal import say, tell, warn
from pleinair.cli.usage import examples

app = typer.Typer(add_completion=False)
LONG = 1_000_000_000  # bytes that take seconds to read


@app.command(epilog=examples("adopt"))
def adopt(
    folder: Annotated[Path, typer.Argument(help="A folder of OpenVINO or ONNX graphs.", show_default=False)],
    vae: Annotated[
        Path | None,
        typer.Option(help="A folder with another VAE, such as TAESD, to copy into it.", show_default="the model's own"),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="openvino or onnx, to use only one of them.",
            show_default="what is there",
            autocompletion=offered(FORMATS),
        ),
    ] = None,
    sampler: OwnSampler = None,
    force: Annotated[bool, typer.Option("--force", help="Adopt a folder again.")] = False,
    as_json: Json = False,
) -> None:
    """Make a model usable here that optimum, openvino.genai, Olive or FastSD has exported: write its bundle.json."""
    adoption = judged(folder, vae=vae, format=form, sampler=sampler, force=force)
    if adoption.size > LONG:
        say(f"reading {adoption.size / 1e9:.1f} GB once to compute SHA-256")
    bundle = written(adoption)
    warn(*adoption.warnings)
    tell(description(bundle), folder, as_json=as_json)
