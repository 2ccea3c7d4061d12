"""`pleinair metadata` and `rerun`: what a picture says of how it was made, and the picture made again."""

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pleinair.cli.flags import Force, Json, Output, takes
from pleinair.cli.progress import ProgressBar, kept_to_the_end
from pleinair.cli.terminal import aligned, say, tell, warn
from pleinair.cli.usage import examples
from pleinair.files.metadata import FoundRecord, read_record
from pleinair.files.output import no_room, planned_files, write_pictures
from pleinair.files.shown_records import MAX_LINES, brief, record_facts
from pleinair.request.options import INPUTS
from pleinair.results import merged
from pleinair.text.syntax import MAX_PROMPT

if TYPE_CHECKING:
    from pleinair.tasks.comparing import Difference

app = typer.Typer(add_completion=False)
AS_RECORDED = ("engine", "device", "threads", "precision")


@app.command(epilog=examples("metadata"))
def metadata(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP picture, or a film.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what a picture says about how it was made, here or by another tool.

    It reads the records of A1111, Forge, stable-diffusion.cpp, InvokeAI, ComfyUI, NovelAI and Fooocus.
    """
    found = read_record(file)
    tell(record_facts(found), *record_lines(found), as_json=as_json)
    if not as_json:
        warn(*found.warnings)


def record_lines(found: FoundRecord) -> list[str]:
    """A record for people: at most MAX_LINES lines."""
    facts = {"tool": found.tool, "version": brief(found.version)}
    facts |= {name: brief(getattr(found, name), MAX_PROMPT) for name in ("prompt", "negative")}
    facts["settings"] = brief({name: value for name, value in found.settings.items() if name not in facts})
    lines = list(islice(aligned(facts), MAX_LINES + 1))
    return [*lines[:MAX_LINES], *(["..."] if len(lines) > MAX_LINES else [])]


@app.command(epilog=examples("rerun"))
@takes(
    INPUTS,
    usual=dict.fromkeys(AS_RECORDED, "the recorded one"),
    help={
        "image": "The picture that it was started from.",
        "mask": "The mask that it was painted with.",
        "controls": "[BUNDLE:]IMAGE, once for each of its ControlNets.",
    },
)
def rerun(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A picture that holds its record.", show_default=False)],
    *,
    upscaler: Annotated[Path | None, typer.Option(help="The upscaler bundle that enlarged it.")] = None,
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Make a picture again from its record, and show how much the two differ."""
    from pleinair.tasks.rerun import plan_rerun

    progress = context.with_resource(ProgressBar())
    how = {**loading, **options, "upscaler": upscaler, "on_load": progress.loading}
    planned = plan_rerun(file, how.pop("model"), **how)
    kept_to_the_end(context, planned.pipe)
    files = planned_files(output, "", (0,), force) if output else []
    if planned.much:
        say(planned.much)
    again = planned.finish(merged([frame.result for frame in progress.frames(planned.frames()) if frame.result]))
    written = write_pictures(again.result, files, force) if files else []
    warnings = [*again.warnings, *no_room(files, again.result.settings, again.result.seeds)]
    warn(*warnings)
    facts = {
        "difference": asdict(again.difference) if again.difference else None,
        "image": str(written[0]) if written else None,
        "settings": again.result.settings,
        "warnings": warnings,
    }
    apart = [difference_line(again.difference)] if again.difference else []
    tell(facts, *apart, *written, as_json=as_json)


def difference_line(found: "Difference") -> str:
    """How far two pictures are apart, for people."""
    psnr = "infinite" if found.psnr_db is None else f"{found.psnr_db:.1f} dB"
    equal = f"{100 * found.equal_share:.4g} % of the pixels are equal"
    return f"largest difference {found.max_abs} of 255, PSNR {psnr}, {equal}"
