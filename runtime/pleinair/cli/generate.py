"""`pleinair generate`: pictures of one prompt; `lists` has those of many."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.cli.flags import Force, Json, NoMetadata, Output, Ray, takes
from pleinair.cli.given import at_hand, check_models, models_at_hand
from pleinair.cli.progress import ProgressBar, kept_to_the_end, loaded
from pleinair.cli.terminal import say, tell, warn
from pleinair.cli.usage import examples
from pleinair.errors import RequestError
from pleinair.files.output import ARRAYS, check_distinct, no_room, planned_files, write_pictures
from pleinair.library.speed import Speed, remember
from pleinair.request.request import check_alone, resolve
from pleinair.results import Frame, Result, merged
from pleinair.system import machine
from pleinair.tuning.choosing import fitting_engine
from pleinair.tuning.work import PaintingWork, usual_work

if TYPE_CHECKING:
    from pleinair.tasks.filming import Filming

app = typer.Typer(add_completion=False)
NAMING = {"refiner", "vae", "preview_vae", "controls", "upscale", "enlarger"}  # options that name other models
IMPORT_S = process_time()  # nothing but starting Python and importing has happened yet


@app.command(epilog=examples("generate"))
@takes()
def generate(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What to paint.", show_default=False)] = None,
    *,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, text or JSONL; - is stdin.")] = None,
    film: Annotated[
        Path | None,
        typer.Option(help="Film of how noise becomes the picture: .gif, .webp, .apng, .mp4; or a strip: .png, .jpg."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Processes that paint many pictures side by side: a number, or auto.",
            show_default="1; on a cluster, auto",
        ),
    ] = None,
    ray: Ray = None,
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
    workers = workers or ("1" if ray is None else "auto")
    apart = workers != "1" or ray is not None
    if apart:
        from pleinair.cli.workers import check_workers, painted_by_workers

        check_workers(workers, ray, film, output)
    progress = context.with_resource(ProgressBar())

    def check() -> None:
        seeds = check_alone(options).seeds
        check_models(loading, options)
        if prompt is not None:
            planned_files(output, prompt, seeds, force)
        elif str(prompts) != "-":
            from pleinair.tasks.lines import open_list

            open_list(prompts)

    loading["model"] = at_hand(loading["model"], loading["engine"], check)
    bundle = open_bundle(loading["model"], verify=loading["verify"])
    fitting = fitting_engine(bundle, work_of(bundle, prompt, options), loading)
    if fitting.two_calls:
        options = {"two_calls": True, **options}
    how = {name: value for name, value in fitting.how.items() if name != "threads" or not apart}
    pipe = kept_to_the_end(context, loaded(progress, check=check, **{**loading, **how}))
    pipe.engine_reason = fitting.reason
    options = models_at_hand(options, pipe.engine)
    if prompts is not None:
        from pleinair.cli.lists import paint_list

        paint_list(pipe, progress, prompts, options, output, force, as_json, not no_metadata, workers, ray)
        return
    metadata = not no_metadata
    request = resolve(pipe.bundle, prompt, **options)
    frames = pipe.walk(request, last=film is None)
    files = planned_files(output, prompt, request.seeds, force)
    filming = None if film is None else films_beside(files, film, request.seeds, force, metadata)
    found, write_s, workers_mb = None, 0.0, 0.0
    if apart:
        how = {"force": force, "metadata": metadata}
        found = painted_by_workers(workers, ray, pipe, request, prompt, options, files, progress, **how)
    if found is not None:
        result, written, workers_mb = found
    else:
        shown = progress.frames(frames if filming is None else filming.through(frames), len(request.seeds))
        result, written, write_s = written_out(shown, files, force, metadata)
        remember(pipe.bundle.path, speed_of(result))
    films = [] if filming is None else filming.written
    if metadata:
        lost = no_room([*files, *(file for _, file in films)], result.settings, result.seeds)
        result = replace(result, warnings=(*result.warnings, *lost))
    for lora in result.loras:
        say(lora.words)
    warn(*progress.untold(result.warnings))
    facts = summary(result, written, write_s, perf_counter() - started, workers_mb)
    if filming is not None:
        facts["films"] = [{"path": str(file), "seed": seed} for seed, file in films]
    tell(facts, *written, as_json=as_json)
    if filming is not None and filming.failed:
        raise filming.failed[0]


def work_of(bundle: Bundle, prompt: str | None, options: dict[str, Any]) -> PaintingWork | None:
    """How much is asked for, a list being many pictures; None for upscalers, and where other models take part."""
    if NAMING.intersection(options) or not bundle.manifest.paints:
        return None
    if prompt is None:
        return usual_work(bundle.manifest)
    request = resolve(bundle, prompt, **options)
    rows = 2 if request.guidance.scale > 1 and bundle.manifest.guidance == "cfg" else 1
    calls = round(request.steps.count / request.reuse)
    return PaintingWork(request.width, request.height, calls, rows, len(request.seeds))


def films_beside(files: list[Path], film: Path, seeds: tuple[int, ...], overwrite: bool, metadata: bool) -> "Filming":
    """The films of pictures that are to be written into `files`, none of which is one of theirs."""
    from pleinair.files.film import planned_films
    from pleinair.tasks.filming import Filming

    into = planned_films(film, seeds, overwrite)
    check_distinct([*files, *into])
    return Filming(into, overwrite=overwrite, metadata=metadata, sparing=True)


def written_out(
    frames: Iterable[Frame], files: list[Path], overwrite: bool, metadata: bool
) -> tuple[Result, list[Path], float]:
    """A job's result without pixels where each picture has its file, the files written, and the seconds that took.

    A picture is on the disk as soon as it is done, and leaves memory; those that share a file wait for the last.
    """
    in_one_file = files[0].suffix.lower() == ARRAYS
    results, written, seconds, waiting = [], [], 0.0, iter(files)
    for frame in frames:
        if frame.result and not in_one_file:
            mark = perf_counter()
            written += write_pictures(frame.result, [next(waiting) for _ in frame.seeds], overwrite, metadata)
            seconds += perf_counter() - mark
        if frame.result:
            results.append(frame.result if in_one_file else frame.result.without_pixels())
    result = merged(results)
    if in_one_file:
        mark = perf_counter()
        written = write_pictures(result, files, overwrite, metadata)
        seconds += perf_counter() - mark
    return result, written, seconds


def summary(
    result: Result, files: list[Path], write_s: float, spent_s: float, workers_mb: float = 0.0
) -> dict[str, Any]:
    """What `generate --json` prints: pictures, settings, seconds by stage, peak memory, warnings.

    Seconds and memory of workers count together, and what they write is not told apart.
    """
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
        "peak_rss_mb": round(machine.peak_rss_mb() + workers_mb, 1),
        "warnings": list(result.warnings),
        **({"loras": [asdict(lora) for lora in result.loras]} if result.loras else {}),
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
