"""`pleinair prepare`: a picture made ready for a ControlNet, to look at or to give to --control."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.checks import one_of
from pleinair.cli.flags import Force, Json, offered
from pleinair.cli.terminal import tell
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.files.output import check_free, whole_file
from pleinair.pictures.preparing import PREPARERS
from pleinair.pictures.reading import opaque, open_picture

app = typer.Typer(add_completion=False)
SUFFIX = ".png"  # which keeps every pixel


@app.command(epilog=examples("prepare"))
def prepare(
    how: Annotated[
        str, typer.Argument(help=f"{', '.join(PREPARERS)}.", show_default=False, autocompletion=offered(PREPARERS))
    ],
    picture: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP picture.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="FILE.png.", show_default=False)],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Prepare a picture for a ControlNet: find its edges, for example."""
    one_of("way to prepare a picture", how, PREPARERS)
    if out.suffix.lower() != SUFFIX:
        raise RequestError(f"only a {SUFFIX} file keeps every pixel of a prepared picture; name it FILE{SUFFIX}")
    check_free(out, force)
    made = PREPARERS[how](opaque(open_picture(picture)))
    written: list[Path] = []
    with whole_file(out, force, written) as stream:
        made.save(stream, "PNG")
    tell({"path": str(written[0]), "width": made.width, "height": made.height}, written[0], as_json=as_json)
