"""`pleinair generate`: pictures of one prompt; `lists` has those of many."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import typer

from pleinair.cli.flags import Force, Json, NoMetadata, Output, takes
from pleinair.cli.given import refiner_at_hand
from pleinair.cli.progress import ProgressBar, loaded
from pleinair.cli.terminal import data, document, warn
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.files.output import ARRAYS, check_apart, no_room, planned_files, write
from pleinair.library.speed import Speed, remember
from pleinair.request.request import resolve
from pleinair.results import Result, merged
from pleinair.system import machine

app = typer.Typer(add_completion=False)
IMPORT_S = process_time()  # nothing but starting Python and importing has happened yet


@app.command(epilog=examples("generate"))
@takes()
def generate(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What to paint.", show_default=False)] = None,
    *,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, text or JSONL; - is stdin.")] = None,
    film: Annotated[
        Path | None, typer.Option(help="How noise becomes the picture: .gif, .webp, .apng, .mp4; a strip: .png, .jpg.")
    ] = None,
    output: Output = None,
    force: Force = False,
    no_metadata: NoMetadata = False,
    as_json: Json = False,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Paint a picture of PROMPT."""
    started = perf_counter()
    if (prompt is None) == (prompts is None):
        raise RequestError("give a PROMPT or a file of them with --prompts, and not both")
    if prompts is not None and film is not None:
        raise RequestError("--film is for a single prompt; leave it out, or name the prompt")
    progress = context.with_resource(ProgressBar())
    pipe = loaded(progress, **loading)
    options = refiner_at_hand(options, pipe.engine)
    if prompts is not None:
        from pleinair.cli.lists import paint_list

        paint_list(pipe, progress, prompts, options, output, force, as_json, metadata=not no_metadata)
        return
    request = resolve(pipe.bundle, prompt, **options)
    frames = pipe.walk(request)
    files = planned_files(output, prompt, request.seeds, force)
    results, written, write_s, waiting = [], [], 0.0, iter(files)
    filming = None
    if film is not None:
        from pleinair.files.film import planned_films
        from pleinair.tasks.filming import Filming

        into = planned_films(film, request.seeds, force)
        check_apart([*files, *into])
        filming = Filming(into, overwrite=force, metadata=not no_metadata, sparing=True)
        frames = filming.through(frames)
    in_one_file = files[0].suffix.lower() == ARRAYS
    for frame in progress.frames(frames, len(request.seeds)):
        if frame.result and in_one_file:
            results.append(frame.result)
        elif frame.result:  # a picture is on disk as soon as it is done, and leaves memory
            mark = perf_counter()
            written += write(frame.result, [next(waiting) for _ in frame.seeds], force, not no_metadata)
            write_s += perf_counter() - mark
            results.append(frame.result.without_pixels())
    result = merged(results)
    if in_one_file:
        mark = perf_counter()
        written = write(result, files, force, not no_metadata)
        write_s += perf_counter() - mark
    remember(pipe.bundle.path, speed_of(result))
    if not no_metadata:
        filmed = [] if filming is None else [file for _, file in filming.written]
        lost = no_room([*files, *filmed], result.settings, result.seeds)
        result = replace(result, warnings=(*result.warnings, *lost))
    warn(*result.warnings)
    if as_json:
        facts = summary(result, written, write_s, perf_counter() - started)
        if filming is not None:
            facts["films"] = [{"path": str(each), "seed": seed} for seed, each in filming.written]
        document(facts)
    else:
        data(*written)
    if filming is not None and filming.failed:
        raise filming.failed[0]


def summary(result: Result, files: list[Path], write_s: float, spent_s: float) -> dict[str, Any]:
    """What `generate --json` prints: pictures, settings, seconds by stage, peak memory, warnings."""
    timings = result.timings
    height, width = result.pixels.shape[1:3]
    if len(files) == 1:
        files = files * len(result.seeds)
    return {
        "images": [
            {"path": str(file), "seed": seed, "width": width, "height": height}
            for file, seed in zip(files, result.seeds, strict=True)
        ],
        "settings": result.settings,
        "timings": {
            "import_s": round(IMPORT_S, 4),
            "load_s": round(timings.load, 4),
            "text_s": round(timings.text, 4),
            "encode_s": round(timings.encode, 4),
            "steps_s": [round(seconds, 4) for seconds in timings.steps],
            "decode_s": round(timings.decode, 4),
            "write_s": round(write_s, 4),
            "total_s": round(IMPORT_S + spent_s, 4),
        },
        "peak_rss_mb": round(machine.peak_rss_mb(), 1),
        "warnings": list(result.warnings),
    }


def speed_of(result: Result) -> Speed:
    """What one of the pictures took, without loading."""
    timings, settings = result.timings, result.settings
    height, width = result.pixels.shape[1:3]
    spent = timings.text + timings.encode + sum(timings.steps) + timings.decode
    return Speed(
        seconds=round(spent / len(result.seeds), 3),
        width=width,
        height=height,
        steps=settings.get("steps") or len(timings.steps),
        engine=settings["engine"],
        device=settings["device"],
        precision=settings["precision"],
        peak_mb=round(machine.peak_rss_mb(), 1),
    )
