"""`pleinair quantize`: a bundle made of another, whose large layers compute in int8."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.flags import Json, Replace
from pleinair.cli.info import description
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.system import install

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("quantize"))
def quantize(
    bundle: Annotated[Path, typer.Argument(help="A bundle with OpenVINO graphs, or its name.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="File with the prompts it paints to learn its ranges, one a line.", show_default="general prompts"
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(help="How many pictures it paints to learn its ranges.")] = 8,
    size: Annotated[str | None, typer.Option(help="Their size, WxH.", show_default="the model's own")] = None,
    wide: Annotated[
        float | None,
        typer.Option(
            help="Share of the multiplications, 0 to 1, that may stay in float.",
            show_default="0.1 with OpenVINO, 0.3 with ONNX Runtime",
        ),
    ] = None,
    force: Replace = False,
    as_json: Json = False,
) -> None:
    """Make a model compute in int8 (W8A8): faster and smaller, with slightly different pictures; needs no PyTorch."""
    install.need("quantizing")
    from pleinair.quantizing.quantize import quantize as quantize_model

    for progress in quantize_model(bundle, out, prompts=prompts, pictures=pictures, size=size, wide=wide, force=force):
        say(f"[{progress.done:2}/{progress.total}] {progress.stage}")
    tell(description(open_bundle(out)), out, as_json=as_json)
