"""`pleinair embed`: what a program of somebody's own needs to paint, in a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.checks import one_of
from pleinair.cli.flags import Json
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.embedding.gathering import gather, model_place
from pleinair.engines.engine import ENGINES, choose_engine
from pleinair.library.given import made_ready
from pleinair.request.loading import WITH_GRAPHS

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("embed"))
def embed(
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    engine: Annotated[str | None, typer.Option(help="openvino or onnx.", show_default="the one that paints")] = None,
    model: Annotated[str | None, typer.Option(help="The model to ship.", show_default="storybook")] = None,
    cpu_only: Annotated[bool, typer.Option("--cpu-only", help="Leave out what GPUs and NPUs need.")] = False,
    as_json: Json = False,
) -> None:
    """Write a folder with the packages and the model that your own program needs to paint: docs/embedding.md."""
    if engine is not None:
        one_of("engine", engine, WITH_GRAPHS)
    bundle = open_bundle(made_ready(model, engine))
    bundle.require("text2image")
    chosen = choose_engine(bundle, engine).name
    parts = gather(out, bundle, chosen, cpu_only)
    size = sum(part.size for part in parts)
    facts = {
        "folder": str(out),
        "engine": chosen,
        "model": model_place(bundle),
        "bytes": size,
        "parts": [asdict(part) for part in parts],
    }
    tell(facts, out, as_json=as_json)
    for part in parts:
        say(f"{part.name} {part.version}".strip() + f": {part.size / 1e6:.1f} MB, licence {part.licence or 'not said'}")
    say(f"{size / 1e6:.0f} MB; {ENGINES[chosen].requires} is the engine, and the model is in {model_place(bundle)}")
