"""`pleinair pull`: a model fetched from the Hugging Face hub, where the hub extra is installed."""

import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pleinair.cli.flags import Json
from pleinair.cli.progress import Progress, clock
from pleinair.cli.terminal import data, document, say
from pleinair.cli.usage import examples
from pleinair.errors import Cancelled
from pleinair.system import install
from pleinair.system.home import models_folder

if TYPE_CHECKING:
    from pleinair.library.pulling import Brought, Step

SLOW_START_S = 1.0  # before that there is no telling how fast it comes
BETWEEN_S = 0.1  # two changes of what a terminal shows
app = typer.Typer(add_completion=False)


@app.command(epilog=examples("pull"))
def pull(
    id: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.", show_default=False)],
    to: Annotated[Path | None, typer.Option(help="The folder to make.", show_default="among the models")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.", show_default="main")] = None,
    file: Annotated[str | None, typer.Option(help="One .safetensors file instead of a folder.")] = None,
    as_json: Json = False,
) -> None:
    """Download a model: a bundle, OpenVINO or ONNX graphs, or a diffusers folder; needs the `hub` extra."""
    install.need("downloads from the hub")
    from pleinair.library.pulling import pull as steps

    found = followed(id, steps(id, to=to, revision=revision, file=file))
    command = next_command(found, file)
    if as_json:
        facts = {**asdict(found.origin), "kind": found.kind, "folder": str(found.folder), "bytes": found.size}
        document({**facts, "before": found.before, "next": command})
        return
    data(found.folder)
    say(f"{'it was here already' if found.before else 'all is here'}; go on with: {command}")


def followed(id: str, steps: "Iterable[Step]") -> "Brought":
    """Do the steps of a download and show how far it is; raises Cancelled, with how to go on, at a Ctrl-C."""
    begun, shown, first, last = monotonic(), 0.0, None, ""
    try:
        with Progress() as progress, closing(steps) as running:
            for step in running:
                if step.result:
                    return step.result
                first = step.done if first is None else first
                if not sys.stderr.isatty() and step.file != last:
                    say(f"[{megabytes(step.done)} of {megabytes(step.total)}] {step.file}")
                if step.file != last or monotonic() - shown > BETWEEN_S:
                    shown, last = monotonic(), step.file
                    progress.show(words(step, step.done - first, shown - begun), step.done, step.total)
    except KeyboardInterrupt:
        raise Cancelled(
            f"interrupted; what has come of '{id}' is kept, and the same command goes on from there"
        ) from None
    raise AssertionError("a download ends with its result")


def words(step: "Step", gained: int, seconds: float) -> str:
    """What a bar says: the file, how much of all files is here, how fast it comes, and the time left."""
    line = f"{step.file.rpartition('/')[2]}  {megabytes(step.done)} of {megabytes(step.total)}"
    if seconds < SLOW_START_S or not gained:
        return line
    rate = gained / seconds
    return f"{line}  {rate / 1e6:.1f} MB/s  {clock((step.total - step.done) / rate)} left"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def next_command(found: "Brought", file: str | None) -> str:
    """What to type to get from what is here to a picture."""
    out = quoted(models_folder() / found.folder.name)
    return {
        "bundle": f'pleinair generate "a red house" --model {name_or_folder(found.folder)}',
        "openvino": f"pleinair adopt {quoted(found.folder)}",
        "onnx": f"pleinair adopt {quoted(found.folder)}",
        "diffusers": f"pleinair export {quoted(found.folder)}",
        "file": f"pleinair pour {quoted(found.folder / (file or ''))} {out}",
    }[found.kind]


def name_or_folder(folder: Path) -> str:
    return quoted(folder.name if folder.parent == models_folder() else folder)


def quoted(word: Any) -> str:
    """A word as a shell takes it on every system."""
    return f'"{word}"' if set(str(word)) & set(" ()&';") else str(word)
