"""`pleinair prompt`: how a prompt is read."""

from typing import Annotated, Any

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.flags import Json, takes
from pleinair.cli.given import at_hand
from pleinair.cli.terminal import tell, warn
from pleinair.cli.usage import examples
from pleinair.request.request import resolve
from pleinair.text.reader import PromptReader
from pleinair.text.report import report, report_lines

app = typer.Typer(add_completion=False)


@app.command("prompt", epilog=examples("prompt"))
@takes(("negative", "steps", "embeddings", "clip_skip"), ("model",))
def show_prompt(
    text: Annotated[str, typer.Argument(help="The prompt.", show_default=False)],
    *,
    as_json: Json = False,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Show how a prompt is read: chunks, tokens, weights, steps, parts and embeddings."""
    bundle = open_bundle(at_hand(loading["model"]))
    if not bundle.manifest.paints:
        bundle.require("text2image")
    request = resolve(bundle, text, **options)
    reader = PromptReader(bundle, clip_skip=request.clip_skip, embeddings=request.embeddings)
    found = report(reader, request.prompt, request.negative or "", request.steps.count)
    tell(found, *report_lines(found), as_json=as_json)
    if not as_json:
        warn(*request.idle, *found["warnings"])
