"""The command line: data on stdout, everything else on stderr, one line for every error."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import typer
from PIL.Image import Image
from typer.main import get_command

from pleinair import film as films
from pleinair import jobs, machine
from pleinair import morph as walks
from pleinair.bundle import Bundle, damaged_files, open_bundle
from pleinair.checks import number
from pleinair.errors import BundleError, EngineError, PleinairError, QualityError, RequestError, ResourceError
from pleinair.metadata import read
from pleinair.morph import EASES, EVEN
from pleinair.options import LARGER, MASKING, painting, parse_list
from pleinair.output import ARRAYS, PICTURES, planned_files, write
from pleinair.pipeline import Frame, Pipeline, Result, load, merged
from pleinair.request import resolve
from pleinair.sampling import SAMPLERS
from pleinair.schedule import SPACINGS
from pleinair.version import __version__

NOT_IN_MORPHS = {"seed", "count", "batch", *walks.ONE_FOR_ALL, *MASKING, *LARGER} - {"upscale"}
IMPORT_S = process_time()  # nothing but starting Python and importing has happened yet
INTERRUPTED = 130
BAR = 30

app = typer.Typer(
    name="pleinair",
    help="Stable Diffusion pictures on machines without CUDA, offline and without PyTorch.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="FILE.png, .jpg, .webp or .npz.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Write nothing but the picture.")]


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a console's code page need not know every letter of a prompt
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code and lets only bugs escape as exceptions."""
    command = get_command(app)
    try:
        code = command.main(arguments, prog_name="pleinair", standalone_mode=False) or 0
        sys.stdout.flush()
    except PleinairError as error:
        return complain(str(error), error.exit_code)
    except MemoryError:
        return complain("out of memory; choose a smaller --size or --batch, or a model with int8 weights", 4)
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        return complain(f"{error.strerror or error}{where}; check the path and the disk", ResourceError.exit_code)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what the command line parser raises; all else is a bug
            raise
        command_path = error.ctx.command_path if getattr(error, "ctx", None) else "pleinair"
        message = error.format_message().rstrip(".")  # empty when help was asked for by giving nothing
        if not message:
            return RequestError.exit_code
        return complain(f"{message}; see: {command_path} --help", RequestError.exit_code)
    return complain("interrupted; only complete files were kept", code) if code == INTERRUPTED else code


def complain(message: str, code: int) -> int:
    print(f"pleinair: {' '.join(message.split())}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)


@app.command()
@painting()
def generate(
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
    pipe = load(loading.pop("model"), **loading)
    if prompts is not None:
        if film is not None:
            raise RequestError("--film is for a single prompt; leave it out, or name the prompt")
        paint_list(pipe, prompts, options, output, force, as_json, metadata=not no_metadata)
        return
    request = resolve(pipe.bundle, prompt, **options)
    frames = pipe.walk(request)
    files = planned_files(output, prompt, request.seeds, force)
    if film is not None and film in files:
        raise RequestError(f"the picture and the film cannot both be '{film}'; name one of them differently")
    results, written, said, write_s, waiting = [], [], [], 0.0, iter(files)
    filmed: list[Path] = []
    if film is not None:
        into = films.planned_films(film, request.seeds, force)
        told = {"metadata": not no_metadata, "written": filmed, "warnings": said}
        frames = films.recorded(frames, into, overwrite=force, **told)
    together = files[0].suffix.lower() == ARRAYS
    for frame in progress_bar(frames, pipe.bundle.manifest.name):
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
        print(f"pleinair: warning: {warning}", file=sys.stderr)
    if as_json:
        facts = summary(result, written, write_s, perf_counter() - started)
        if film is not None:
            facts["films"] = [
                {"path": str(each), "seed": seed} for each, seed in zip(filmed, result.seeds, strict=True)
            ]
        print(json.dumps(facts))
    else:
        print(*written, sep="\n")


def paint_list(
    pipe: Pipeline,
    source: Path,
    common: dict[str, Any],
    folder: Path | None,
    force: bool = False,
    as_json: bool = False,
    metadata: bool = True,
) -> None:
    """Paint every line of a list ("-": stdin) into a folder; `common` options hold where a line says nothing.

    Prints the file (or a JSON object) of each picture as it is done. Raises QualityError at the end where lines could
    not be painted, each of which has been named on stderr.
    """
    folder, piped = folder or Path(), str(source) == "-"
    if folder.suffix.lower() in {*PICTURES, ARRAYS} and not folder.is_dir():
        raise RequestError(f"'{folder}' is the name of a picture, and a list needs a folder; name one with -o")
    if not folder.is_dir() and (folder.exists() or not folder.parent.is_dir()):
        raise ResourceError(f"'{folder}' cannot be made a folder for the pictures of a list; choose another -o")
    folder.mkdir(exist_ok=True)
    lines = jobs.read(jobs.binary(sys.stdin) if piped else source, pipe.bundle, common)
    bad, before, told = [], 0, set()
    watch = partial(progress_bar, name=pipe.bundle.manifest.name)
    ledger = jobs.ledger_of(None if piped else source, folder)
    for report in jobs.run(
        lines, pipe, folder, ledger=ledger, overwrite=force, watch=watch, save=partial(write, metadata=metadata)
    ):
        if isinstance(report, jobs.BadLine):
            bad.append(report.line)
            complain(f"line {report.line}: {report.reason}", QualityError.exit_code)
            facts = {"line": report.line, "error": report.reason}
        else:
            before += report.result is None
            facts = {"line": report.line, "path": str(report.file), "seed": report.seed}
            facts |= {"painted": report.result is not None}
            if report.result:
                facts |= {"settings": report.result.settings, "warnings": list(report.result.warnings)}
            for warning in [] if report.result is None else report.result.warnings:
                if (report.line, warning) not in told:
                    told.add((report.line, warning))
                    print(f"pleinair: warning: line {report.line}: {warning}", file=sys.stderr)
        if as_json:
            print(json.dumps(facts), flush=True)
        elif "path" in facts and facts["painted"]:
            print(facts["path"], flush=True)
    if before:
        print(f"pleinair: already there: {before}", file=sys.stderr)
    if bad:
        shown = ", ".join(map(str, bad[:10])) + ("..." if len(bad) > 10 else "")
        raise QualityError(
            f"not painted: {len(bad)} of the lines ({shown}); correct them and run the list again: what is done stays"
        )


@app.command()
@painting(without=NOT_IN_MORPHS)
def morph(
    prompts: Annotated[list[str], typer.Argument(help="What to paint at each keyframe.", show_default=False)],
    *,
    seeds: Annotated[str | None, typer.Option(help="A seed for each keyframe, or one: 1,2; random.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to start a keyframe from; once for each.")] = None,
    frames: Annotated[int, typer.Option(help="How many pictures.")] = 24,
    seconds: Annotated[float, typer.Option(help="How long the film is.")] = 4.0,
    ease: Annotated[str, typer.Option(help=f"How frames are set out: {', '.join([EVEN, *EASES])}.")] = EVEN,
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
    seconds = number("seconds", seconds, films.SHORTEST, 3600)
    pipe = load(loading.pop("model"), **loading)
    keys = parse_list("seeds", seeds, int) if seeds else None
    requests = walks.keyframes(pipe, prompts, options.pop("negative", ""), keys, image or (), options)
    steps_and_pictures = walks.between(pipe, requests, frames=frames, ease=ease, loop=loop)
    shape = {"frames": frames, "seconds": seconds, "ease": ease, "loop": loop, "ping_pong": ping_pong}
    settings = None if no_metadata else walks.record(pipe, requests, **shape)
    results: list[Result] = []

    def pictures() -> Iterator[Image]:
        for frame in progress_bar(steps_and_pictures, pipe.bundle.manifest.name):
            if frame.result:
                small = frame.result.pixels[:0], frame.result.latents[:0]
                results.append(replace(frame.result, images=[], pixels=small[0].copy(), latents=small[1].copy()))
                yield frame.result.images[0]

    shown = films.ping_pong(pictures()) if ping_pong else pictures()
    total = 2 * frames - 2 if ping_pong else frames
    file = films.save(shown, output, max(seconds / total, films.SHORTEST), overwrite=force, settings=settings)
    warnings = list(dict.fromkeys(warning for result in results for warning in result.warnings))
    for warning in warnings:
        print(f"pleinair: warning: {warning}", file=sys.stderr)
    if as_json:
        facts = {"path": str(file), "frames": total, "seconds": seconds, "ease": ease, "loop": loop}
        ends = [dict(result.settings) for result in (results[0], results[-1])]
        print(
            json.dumps({**facts, "settings": ends, "total_s": round(perf_counter() - started, 4), "warnings": warnings})
        )
    else:
        print(file)


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


def progress_bar(frames: Iterable[Frame], name: str) -> Iterator[Frame]:
    """The frames, with a bar on stderr while it is a terminal."""
    shown = sys.stderr.isatty()
    try:
        for frame in frames:
            if shown:
                done = BAR * frame.step // frame.steps
                bar = "#" * done + "-" * (BAR - done)
                print(f"\r{name} [{bar}] {frame.step}/{frame.steps} seed {frame.seeds[0]} ", end="", file=sys.stderr)
                sys.stderr.flush()
            yield frame
    finally:
        if shown:
            print(file=sys.stderr)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A diffusers folder, or an upscaler's file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="openvino, onnx or both.")] = "openvino",
    weights: Annotated[str, typer.Option(help="fp32, fp16 or int8: how weights are stored.")] = "fp16",
    sampler: Annotated[
        str | None, typer.Option(help="What the bundle paints with unless told; its model's own when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a diffusers model or an ESRGAN upscaler into a bundle; needs the `export` extra."""
    formats = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}.get(form)
    if formats is None:
        raise RequestError(f"unknown format '{form}'; choose openvino, onnx or both")
    machine.need("model export")
    from pleinair_export import export as export_model

    for progress in export_model(source, out, formats=formats, weights=weights, sampler=sampler, force=force):
        found = f"  {progress.fidelity.psnr_db:.1f} dB" if progress.fidelity else ""
        print(f"[{progress.done:2}/{progress.total}] {progress.graph:12} {progress.stage}{found}", file=sys.stderr)
    print(json.dumps(description(open_bundle(out))) if as_json else out)


@app.command()
def info(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle folder; storybook when not given.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its SHA-256.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a bundle is and what it can do."""
    opened = open_bundle(bundle)
    damaged = damaged_files(opened) if verify else []
    facts = description(opened)
    if verify:
        facts["verified"] = not damaged
        facts["damaged"] = damaged
    print(json.dumps(facts) if as_json else "\n".join(aligned(facts)))
    if damaged:
        raise BundleError(f"damaged: {'; '.join(damaged)}; restore the files or export the model again")


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
        "tasks": list(bundle.tasks),
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
    }


@app.command("prompt")
def show_prompt(
    text: Annotated[str, typer.Argument(help="The prompt.", show_default=False)],
    negative: Annotated[str, typer.Option(help="The negative prompt.")] = "",
    model: Annotated[Path | None, typer.Option(help="Bundle folder; storybook when not given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps that schedules count in.")] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="A textual inversion; may be repeated.")] = None,
    clip_skip: Annotated[int, typer.Option(help="1 is none.")] = 1,
    as_json: Json = False,
) -> None:
    """Show how a prompt is read: chunks, tokens, weights, steps, parts and embeddings."""
    from pleinair.text import Reader, report_lines

    bundle = open_bundle(model)
    if bundle.upscales:
        bundle.require("text2image")
    request = resolve(bundle, text, negative, steps=steps)
    reader = Reader(bundle, clip_skip=clip_skip, embeddings=embedding or ())
    report = reader.report(request.prompt, request.negative, request.walk.steps)
    if as_json:
        print(json.dumps(report))
        return
    print(*report_lines(report), sep="\n")
    for warning in report["warnings"]:
        print(f"pleinair: warning: {warning}", file=sys.stderr)


@app.command()
def metadata(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP picture, or a film.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what a picture says of how it was made: ours, A1111's, stable-diffusion.cpp's, InvokeAI's, ComfyUI's."""
    found = read(file)
    if as_json:
        facts = {name: value for name, value in asdict(found).items() if name != "arguments"}
        print(json.dumps({**facts, "options": found.options(), "inputs": list(found.inputs)}))
        return
    facts = {"tool": found.tool, "version": found.version, "prompt": found.prompt, "negative": found.negative}
    facts["settings"] = {name: value for name, value in found.settings.items() if name not in facts}
    print(*map(printable, aligned(facts)), sep="\n")
    for warning in found.warnings:
        print(f"pleinair: warning: {warning}", file=sys.stderr)


def printable(line: str) -> str:
    """A line out of a file from anywhere, without what would command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


@app.command()
def rerun(
    file: Annotated[Path, typer.Argument(help="A picture that holds its record.", show_default=False)],
    model: Annotated[Path | None, typer.Option(help="Bundle folder; storybook when not given.")] = None,
    engine: Annotated[str | None, typer.Option(help="openvino or onnx; the recorded one when not given.")] = None,
    device: Annotated[str | None, typer.Option(help="As for generate; the recorded one when not given.")] = None,
    image: Annotated[Path | None, typer.Option(help="The picture it was made of, if there was one.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask it was painted through.")] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="An embedding its prompt names; repeatable.")] = None,
    upscaler: Annotated[Path | None, typer.Option(help="The upscaler bundle that enlarged it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the new picture to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Make a picture again from its record, and tell how far the two are apart."""
    from pleinair.rerun import plan

    inputs = {"image": image, "mask": mask, "embeddings": embedding or (), "upscaler": upscaler}
    planned = plan(file, model, engine=engine, device=device, **inputs)
    files = planned_files(output, "", (0,), force) if output else []
    shown = progress_bar(planned.frames(), planned.pipe.bundle.manifest.name)
    again = planned.finish(merged([frame.result for frame in shown if frame.result]))
    warnings = list(again.warnings)
    written = write(again.result, files, force, warnings=warnings) if files else []
    for warning in warnings:
        print(f"pleinair: warning: {warning}", file=sys.stderr)
    apart = asdict(again.difference) if again.difference else None
    if as_json:
        facts = {"difference": apart, "image": str(written[0]) if written else None, "settings": again.result.settings}
        print(json.dumps({**facts, "warnings": warnings}))
        return
    if apart:
        psnr = "infinite" if apart["psnr_db"] is None else f"{apart['psnr_db']:.1f} dB"
        equal = f"{100 * apart['equal_share']:.4g} % of the pixels are equal"
        print(f"largest difference {apart['max_abs']} of 255, PSNR {psnr}, {equal}")
    print(*written, sep="\n", end="\n" if written else "")


@app.command()
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
        print(json.dumps({"samplers": rows, "spacings": list(SPACINGS)}))
        return
    for name, row in rows.items():
        kind = "stochastic" if row["stochastic"] else "deterministic"
        calls = f"{row['evaluations']} call{'s' if row['evaluations'] > 1 else ''} a step"
        print(f"{name:12} order {row['order']}  {calls:14}  {kind:14} {row['a1111']:12} {row['diffusers']}")
    print(f"\nspacings: {', '.join(SPACINGS)}")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> int:
    """Measure this machine, compare and report: see `pleinair bench --help`."""
    try:
        from pleinair_bench.cli import app as benchmarks
    except ModuleNotFoundError as error:
        line = 'pip install "pleinair[bench]"'
        raise EngineError(f"the benchmark suite is not installed ({error.name}); install with: {line}") from None
    return get_command(benchmarks).main(context.args, prog_name="pleinair bench", standalone_mode=False) or 0


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what this machine is, which engines and devices it has, and what to install for what is missing."""
    facts = machine.report()
    print(json.dumps(facts) if as_json else "\n".join(aligned(facts)))


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
