"""The command line: data on stdout, everything else on stderr, one line for every error."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import typer
from PIL.Image import Image
from typer.main import get_command

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.bundle.unsupported import refuse_model
from pleinair.cli import sandbox as sandboxes
from pleinair.cli.progress import Progress
from pleinair.cli.terminal import INTERRUPTED, complain, data, document, failure, flush, say, warn
from pleinair.cli.usage import examples, told
from pleinair.engines.doctor import diagnosis
from pleinair.engines.engine import ENGINES, installed
from pleinair.errors import (
    BundleError,
    Cancelled,
    EngineError,
    PleinairError,
    QualityError,
    RequestError,
    ResourceError,
)
from pleinair.files import film as films
from pleinair.files.metadata import MAX_LINES, brief, described, read
from pleinair.files.output import ARRAYS, PICTURES, check_apart, planned_files, standing, write
from pleinair.pipeline import Pipeline, load
from pleinair.request.options import LARGER, MASKING, offered, painting, parse_list
from pleinair.request.request import resolve
from pleinair.results import Result, merged
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sampling.spacings import SPACINGS
from pleinair.system import install, machine
from pleinair.tasks import lists as jobs
from pleinair.tasks import morph as walks
from pleinair.tasks.filming import recorded
from pleinair.tasks.morph import EASES, EVEN
from pleinair.text.syntax import MAX_PROMPT
from pleinair.version import __version__

NOT_IN_MORPHS = {"seed", "count", "batch", *walks.ONE_FOR_ALL, *MASKING, *LARGER} - {"upscale"}
IMPORT_S = process_time()  # nothing but starting Python and importing has happened yet
FORMATS = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}
WEIGHTS = ("fp32", "fp16", "int8")

app = typer.Typer(
    name="pleinair",
    help="Stable Diffusion pictures on machines without CUDA, offline and without PyTorch.",
    epilog=examples("pleinair"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="FILE.png, .jpg, .webp or .npz.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Write nothing but the picture.")]


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code and lets only bugs escape as exceptions."""
    command = get_command(app)
    refuse = partial(complain, as_json=wants_json(arguments))
    try:
        code = command.main(arguments, prog_name="pleinair", standalone_mode=False) or 0
        flush()
    except SystemExit as left:  # nobody reads stdout any more, or a shell was told what completes a command
        return int(left.code or 0)
    except Exception as error:
        if interrupted(error) and not isinstance(error, Cancelled):  # which says more itself
            return refuse(INTERRUPTED, Cancelled.exit_code, Cancelled.__name__)
        if isinstance(error, PleinairError):
            return refuse(str(error), error.exit_code, type(error).__name__)
        if isinstance(error, MemoryError):
            words = "out of memory; choose a smaller --size or --batch, or a model with int8 weights"
            return refuse(words, ResourceError.exit_code, ResourceError.__name__)
        if isinstance(error, OSError):
            where = f" '{error.filename}'" if error.filename else ""
            words = f"{error.strerror or error}{where}; check the path and the disk"
            return refuse(words, ResourceError.exit_code, ResourceError.__name__)
        if not hasattr(error, "format_message"):  # what the command line parser raises; all else is a bug
            raise
        words = told(error, arguments)
        return refuse(words, RequestError.exit_code, RequestError.__name__) if words else RequestError.exit_code
    return refuse(INTERRUPTED, code, Cancelled.__name__) if code == Cancelled.exit_code else code


def wants_json(arguments: list[str]) -> bool:
    """Whether stdout is read by a program, which must be known even where the command line cannot be parsed."""
    return "--json" in arguments or (arguments[:1] == ["bench"] and not {"json", "jsonl"}.isdisjoint(arguments))


def interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C is behind an error: the import of an engine, say, turns it into an ImportError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | EOFError | typer.Abort):
            return True
        error = error.__cause__ or error.__context__
    return False


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        data(__version__)


@app.command(epilog=examples("generate"))
@painting()
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
    progress = context.with_resource(Progress())
    pipe = loaded(progress, **loading)
    if prompts is not None:
        if film is not None:
            raise RequestError("--film is for a single prompt; leave it out, or name the prompt")
        paint_list(pipe, progress, prompts, options, output, force, as_json, metadata=not no_metadata)
        return
    request = resolve(pipe.bundle, prompt, **options)
    frames = pipe.walk(request)
    files = planned_files(output, prompt, request.seeds, force)
    results, written, said, write_s, waiting = [], [], [], 0.0, iter(files)
    filmed: list[tuple[int, Path]] = []
    failed: list[PleinairError] = []
    if film is not None:
        into = films.planned_films(film, request.seeds, force)
        check_apart([*files, *into])
        told = {"metadata": not no_metadata, "written": filmed, "warnings": said, "failed": failed}
        frames = recorded(frames, into, overwrite=force, **told)
    together = files[0].suffix.lower() == ARRAYS
    for frame in progress.frames(frames, len(request.seeds)):
        if frame.result and together:
            results.append(frame.result)
        elif frame.result:  # a picture is on disk as soon as it is done, and leaves memory
            mark = perf_counter()
            written += write(frame.result, [next(waiting) for _ in frame.seeds], force, not no_metadata, said)
            write_s += perf_counter() - mark
            none = frame.result.pixels[:0].copy(), frame.result.latents[:0].copy()
            results.append(replace(frame.result, images=[], pixels=none[0], latents=none[1]))
    result = merged(results)
    if together:
        mark = perf_counter()
        written = write(result, files, force, not no_metadata, said)
        write_s += perf_counter() - mark
    result = replace(result, warnings=(*result.warnings, *said))
    for warning in result.warnings:
        warn(warning)
    if as_json:
        facts = summary(result, written, write_s, perf_counter() - started)
        if film is not None:
            facts["films"] = [{"path": str(each), "seed": seed} for seed, each in filmed]
        document(facts)
    else:
        data(*written)
    if failed:
        raise failed[0]


def loaded(progress: Progress, model: Path | None, **options: Any) -> Pipeline:
    """An open model that says what it is loading."""
    progress.loading("the model")
    pipe = load(model, **options)
    pipe.loading = progress.loading
    return pipe


def paint_list(
    pipe: Pipeline,
    progress: Progress,
    source: Path,
    common: dict[str, Any],
    folder: Path | None,
    force: bool = False,
    as_json: bool = False,
    metadata: bool = True,
) -> None:
    """Paint every line of a list ("-": stdin) into a folder; `common` options hold where a line says nothing.

    Prints the file (or a JSON object) of each picture as it is done, and names each line that cannot be painted; where
    there are any, the exit code is that of QualityError.
    """
    folder, piped = folder or Path(), str(source) == "-"
    if folder.suffix.lower() in {*PICTURES, ARRAYS} and not (standing(folder) and folder.is_dir()):
        raise RequestError(f"'{folder}' is the name of a picture, and a list needs a folder; name one with -o")
    lines = jobs.read(jobs.binary(sys.stdin) if piped else source, pipe.bundle, common)
    first = next(lines, None)
    if first is None:
        raise RequestError(f"the list '{'stdin' if piped else source}' is empty; put one prompt on each line")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder '{folder}' ({error.strerror or error}); choose another -o"
        ) from None
    bad, before, warned = [], 0, set()
    ledger = jobs.ledger_of(None if piped else source, folder)
    for report in jobs.run(
        chain([first], lines),
        pipe,
        folder,
        ledger=ledger,
        overwrite=force,
        watch=progress.frames,
        save=partial(write, metadata=metadata),
    ):
        if isinstance(report, jobs.BadLine):
            bad.append(report.line)
            say(f"line {report.line}: {report.reason}")
            facts = {"line": report.line, **failure(report.reason, QualityError.exit_code, QualityError.__name__)}
        else:
            before += report.result is None
            facts = {"line": report.line, "path": str(report.file), "seed": report.seed}
            facts |= {"painted": report.result is not None}
            if report.result:
                facts |= {"settings": report.result.settings, "warnings": list(report.result.warnings)}
            for warning in [] if report.result is None else report.result.warnings:
                if (report.line, warning) not in warned:
                    warned.add((report.line, warning))
                    warn(f"line {report.line}: {warning}")
        if as_json:
            document(facts)
        elif "path" in facts and facts["painted"]:
            data(facts["path"])
    if before:
        say(f"already there: {before}")
    if bad:
        shown = ", ".join(map(str, bad[:10])) + ("..." if len(bad) > 10 else "")
        words = (
            f"not painted: {len(bad)} of the lines ({shown}); correct them and run the list again: what is done stays"
        )
        raise typer.Exit(complain(words, QualityError.exit_code, QualityError.__name__))


@app.command(epilog=examples("morph"))
@painting(without=NOT_IN_MORPHS)
def morph(
    context: typer.Context,
    prompts: Annotated[list[str], typer.Argument(help="What to paint at each keyframe.", show_default=False)],
    *,
    seeds: Annotated[str | None, typer.Option(help="A seed for each keyframe, or one: 1,2; random.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to start a keyframe from; once for each.")] = None,
    frames: Annotated[int, typer.Option(help="How many pictures.")] = 24,
    seconds: Annotated[float, typer.Option(help="How long the film is.")] = 4.0,
    ease: Annotated[
        str,
        typer.Option(
            help=f"How frames are set out: {', '.join([EVEN, *EASES])}.", autocompletion=offered([EVEN, *EASES])
        ),
    ] = EVEN,
    loop: Annotated[bool, typer.Option("--loop", help="Go on to the first keyframe again.")] = False,
    ping_pong: Annotated[bool, typer.Option("--ping-pong", help="Play forwards, then backwards.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.gif, .webp, .png or .mp4.")] = Path("morph.gif"),
    force: Force = False,
    no_metadata: NoMetadata = False,
    as_json: Json = False,
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Walk from PROMPT to PROMPT through latent space, as a film."""
    started = perf_counter()
    films.planned_film(output, force)
    progress = context.with_resource(Progress("frame"))
    pipe = loaded(progress, **loading)
    keys = parse_list("seeds", seeds, int) if seeds else None
    requests = walks.keyframes(pipe, prompts, options.pop("negative", ""), keys, image or (), options)
    steps_and_pictures = walks.between(pipe, requests, frames=frames, ease=ease, loop=loop)
    total = 2 * frames - 2 if ping_pong else frames
    lasts = films.playing_time(total, seconds)
    shape = {"frames": frames, "seconds": lasts, "ease": ease, "loop": loop, "ping_pong": ping_pong}
    settings = None if no_metadata else walks.record(pipe, requests, **shape)
    results: list[Result] = []

    def pictures() -> Iterator[Image]:
        for frame in progress.frames(steps_and_pictures, frames):
            if frame.result:
                small = frame.result.pixels[:0], frame.result.latents[:0]
                results.append(replace(frame.result, images=[], pixels=small[0].copy(), latents=small[1].copy()))
                yield frame.result.images[0]

    shown = films.ping_pong(pictures()) if ping_pong else pictures()
    file = films.save(shown, output, max(lasts / total, films.SHORTEST), overwrite=force, settings=settings)
    warnings = list(dict.fromkeys(warning for result in results for warning in result.warnings))
    if lasts > seconds:
        warnings.append(
            f"the film lasts {lasts:g} s and not {seconds:g}, for viewers slow down frames of less than"
            f" {films.SHORTEST:g} s; choose fewer --frames"
        )
    for warning in warnings:
        warn(warning)
    if as_json:
        facts = {"path": str(file), "frames": total, "seconds": lasts, "ease": ease, "loop": loop}
        ends = [dict(result.settings) for result in (results[0], results[-1])]
        document({**facts, "settings": ends, "total_s": round(perf_counter() - started, 4), "warnings": warnings})
    else:
        data(file)


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


@app.command(epilog=examples("export"))
def export(
    source: Annotated[Path, typer.Argument(help="A diffusers folder, or an upscaler's file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[
        str,
        typer.Option("--format", help="openvino, onnx or both.", autocompletion=offered(("openvino", "onnx", "both"))),
    ] = "openvino",
    weights: Annotated[
        str,
        typer.Option(
            help="fp32, fp16 or int8: how weights are stored.", autocompletion=offered(("fp32", "fp16", "int8"))
        ),
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


@app.command(epilog=examples("info"))
def info(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle folder; storybook when not given.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its SHA-256.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Paint one step in a process of limited time and memory.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a bundle is and what it can do."""
    refuse_model(bundle)
    opened = open_bundle(bundle, verify=not verify)  # damage() looks at all files, and names more than the first
    damaged = opened.damage() if verify else []
    facts = description(opened)
    if verify:
        facts["verified"] = not damaged
        facts["damaged"] = damaged
    trials = tried_on_every_engine(opened) if sandbox and not damaged else []
    if sandbox:
        facts["sandbox"] = {trial.engine: trial_facts(trial) for trial in trials}
    problem = found_wrong(damaged, trials)
    if as_json:
        document({**facts, **(failure(problem, BundleError.exit_code, BundleError.__name__) if problem else {})})
    else:
        data(*aligned(facts))
    if problem:
        raise typer.Exit(complain(problem, BundleError.exit_code, BundleError.__name__))


def found_wrong(damaged: list[str], trials: list[sandboxes.Trial]) -> str | None:
    """What is wrong with a bundle, in one line."""
    if damaged:
        return f"damaged: {'; '.join(damaged)}; restore the files or export the model again"
    failures = [trial for trial in trials if trial.problem]
    if not failures:
        return None
    why = failures[0].problem.partition("; ")[0]
    return (
        f"tried on {failures[0].engine} within limits: {why}; do not use a model like that unless you trust its maker"
    )


def trial_facts(trial: sandboxes.Trial) -> dict[str, Any]:
    peak = None if trial.peak_mb is None else round(trial.peak_mb, 1)
    return {"painted": trial.problem is None, "seconds": round(trial.seconds, 1), "peak_mb": peak}


def tried_on_every_engine(bundle: Bundle) -> list[sandboxes.Trial]:
    """The bundle painted from within limits, on every installed engine that it has graphs for."""
    if bundle.upscales:
        raise RequestError("an upscaler is tried with the picture it is to enlarge; leave --sandbox out")
    memory_mb = int(machine.memory_bytes() * sandboxes.MEMORY_SHARE / sandboxes.MB)
    engines = [name for name, info in ENGINES.items() if info.format in bundle.formats and installed(name)]
    return [sandboxes.tried(bundle.path, engine, memory_mb=memory_mb) for engine in engines]


def description(bundle: Bundle) -> dict[str, Any]:
    """The facts of a bundle that `info` shows."""
    manifest = bundle.manifest
    graphs = {
        name: {
            "formats": sorted(graph.files),
            "weights": graph.weights,
            "fidelity_db": {form: round(found.psnr_db, 1) for form, found in graph.fidelity.items()},
            "mb": {
                form: round(sum(manifest.files[file].size for file in files) / 1e6, 1)
                for form, files in graph.files.items()
            },
        }
        for name, graph in manifest.graphs.items()
    }
    return {
        "name": manifest.name,
        "family": manifest.family,
        "tasks": list(manifest.tasks),
        "formats": list(bundle.formats),
        **({"scale": manifest.scale} if bundle.upscales else painter_facts(bundle)),
        "graphs": graphs,
        "origin": asdict(manifest.origin),
    }


def painter_facts(bundle: Bundle) -> dict[str, Any]:
    """The facts that only a bundle that paints has."""
    return {
        "prediction_type": bundle.scheduler_config.get("prediction_type", "epsilon"),
        "scheduler": bundle.scheduler_config.get("_class_name"),
        "defaults": asdict(bundle.manifest.defaults),
        "sizes": asdict(bundle.manifest.sizes) if bundle.manifest.sizes else None,
        "vocabulary": list(bundle.manifest.vocabulary) or None,
    }


@app.command("prompt", epilog=examples("prompt"))
def show_prompt(
    text: Annotated[str, typer.Argument(help="The prompt.", show_default=False)],
    negative: Annotated[str, typer.Option(help="The negative prompt.")] = "",
    model: Annotated[
        Path | None, typer.Option(help="Bundle folder; storybook when not given.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps that schedules count in.")] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="A textual inversion; may be repeated.")] = None,
    clip_skip: Annotated[int, typer.Option(help="1 is none.")] = 1,
    as_json: Json = False,
) -> None:
    """Show how a prompt is read: chunks, tokens, weights, steps, parts and embeddings."""
    from pleinair.text.reader import Reader
    from pleinair.text.report import report as reported
    from pleinair.text.report import report_lines

    refuse_model(model)
    bundle = open_bundle(model)
    if bundle.upscales:
        bundle.require("text2image")
    request = resolve(bundle, text, negative, steps=steps)
    reader = Reader(bundle, clip_skip=clip_skip, embeddings=embedding or ())
    report = reported(reader, request.prompt, request.negative, request.walk.steps)
    if as_json:
        document(report)
        return
    data(*report_lines(report))
    for warning in report["warnings"]:
        warn(warning)


@app.command(epilog=examples("metadata"))
def metadata(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP picture, or a film.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what a picture says of how it was made: ours, A1111's, stable-diffusion.cpp's, InvokeAI's, ComfyUI's."""
    found = read(file)
    if as_json:
        document(described(found))
        return
    facts = {"tool": found.tool, "version": brief(found.version)}
    facts |= {name: brief(getattr(found, name), MAX_PROMPT) for name in ("prompt", "negative")}
    facts["settings"] = brief({name: value for name, value in found.settings.items() if name not in facts})
    lines = list(islice(aligned(facts), MAX_LINES + 1))
    data(*lines[:MAX_LINES], *(["..."] if len(lines) > MAX_LINES else []))
    for warning in found.warnings:
        warn(warning)


@app.command(epilog=examples("rerun"))
def rerun(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A picture that holds its record.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="Bundle folder; storybook when not given.", show_default=False)
    ] = None,
    engine: Annotated[str | None, typer.Option(help="openvino or onnx; the recorded one when not given.")] = None,
    device: Annotated[str | None, typer.Option(help="As for generate; the recorded one when not given.")] = None,
    precision: Annotated[str | None, typer.Option(help="As for generate; the recorded one when not given.")] = None,
    image: Annotated[Path | None, typer.Option(help="The picture it was made of, if there was one.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask it was painted through.")] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="An embedding its prompt names; repeatable.")] = None,
    upscaler: Annotated[Path | None, typer.Option(help="The upscaler bundle that enlarged it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the new picture to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Make a picture again from its record, and tell how far the two are apart."""
    from pleinair.tasks.rerun import plan

    inputs = {"image": image, "mask": mask, "embeddings": embedding or (), "upscaler": upscaler}
    planned = plan(file, model, engine=engine, device=device, precision=precision, **inputs)
    files = planned_files(output, "", (0,), force) if output else []
    if planned.much:
        say(planned.much)
    progress = context.with_resource(Progress())
    planned.pipe.loading = progress.loading
    again = planned.finish(merged([frame.result for frame in progress.frames(planned.frames()) if frame.result]))
    warnings = list(again.warnings)
    written = write(again.result, files, force, warnings=warnings) if files else []
    for warning in warnings:
        warn(warning)
    apart = asdict(again.difference) if again.difference else None
    if as_json:
        facts = {"difference": apart, "image": str(written[0]) if written else None, "settings": again.result.settings}
        document({**facts, "warnings": warnings})
        return
    if apart:
        psnr = "infinite" if apart["psnr_db"] is None else f"{apart['psnr_db']:.1f} dB"
        equal = f"{100 * apart['equal_share']:.4g} % of the pixels are equal"
        data(f"largest difference {apart['max_abs']} of 255, PSNR {psnr}, {equal}")
    data(*written)


@app.command(epilog=examples("samplers"))
def samplers(as_json: Json = False) -> None:
    """List the samplers and spacings."""
    rows = {
        name: {
            "order": sampler.order,
            "evaluations": sampler.evaluations,
            "stochastic": sampler.stochastic,
            "diffusers": sampler.diffusers,
            "a1111": sampler.a1111,
        }
        for name, sampler in SAMPLERS.items()
    }
    if as_json:
        document({"samplers": rows, "spacings": list(SPACINGS)})
        return
    for name, row in rows.items():
        kind = "stochastic" if row["stochastic"] else "deterministic"
        calls = f"{row['evaluations']} call{'s' if row['evaluations'] > 1 else ''} a step"
        data(f"{name:12} order {row['order']}  {calls:14}  {kind:14} {row['a1111']:12} {row['diffusers']}")
    data("", f"spacings: {', '.join(SPACINGS)}")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> int:
    """Measure this machine, compare and report: see `pleinair bench --help`."""
    try:
        from pleinair_bench.cli import app as benchmarks
    except ModuleNotFoundError as error:
        line = install.line("bench")
        raise EngineError(f"the benchmark suite is not installed ({error.name}); install it with: {line}") from None
    return get_command(benchmarks).main(context.args, prog_name="pleinair bench", standalone_mode=False) or 0


@app.command(epilog=examples("doctor"))
def doctor(as_json: Json = False) -> None:
    """Tell what this machine is, which engines and devices it has, and what to install for what is missing."""
    facts = diagnosis()
    if as_json:
        document(facts)
    else:
        data(*aligned(facts))


def aligned(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Nested facts as indented lines, for people."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from aligned(value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else value
            yield f"{indent}{name:{width}}  {text}"
