"""The command line: data on stdout, everything else on stderr, one line for every error."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import typer
from typer.main import get_command

from pleinair import machine
from pleinair.bundle import Bundle, damaged_files, open_bundle
from pleinair.errors import BundleError, EngineError, PleinairError, RequestError, ResourceError
from pleinair.output import ARRAYS, planned_files, write
from pleinair.pipeline import Frame, Result, load, merged
from pleinair.request import resolve
from pleinair.sampling import SAMPLERS
from pleinair.schedule import SPACINGS
from pleinair.version import __version__

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
def generate(
    prompt: Annotated[str, typer.Argument(help="What to paint.", show_default=False)],
    negative: Annotated[str, typer.Option(help="What to keep out of the picture.")] = "",
    model: Annotated[Path | None, typer.Option(help="Bundle folder; storybook when not given.")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"One of: {', '.join(SAMPLERS)}.")] = None,
    spacing: Annotated[str | None, typer.Option(help=f"Any of: {', '.join(SPACINGS)}; comma-separated.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly to follow the prompt; 1 turns it off.")] = None,
    seed: Annotated[int | None, typer.Option(help="First seed; random when not given.")] = None,
    count: Annotated[int, typer.Option(help="How many pictures, with consecutive seeds.")] = 1,
    batch: Annotated[int, typer.Option(help="Pictures in one network call.")] = 1,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels.")] = None,
    engine: Annotated[str | None, typer.Option(help="openvino or onnx.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu, npu (OpenVINO); cpu, dml (ONNX Runtime).")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; the engine's choice when not given.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="FILE.png, .jpg, .webp or .npz.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: Json = False,
) -> None:
    """Paint a picture of PROMPT."""
    started = perf_counter()
    width, height = parse_size(size)
    wanted = dict(
        width=width, height=height, sampler=sampler, spacing=spacing, steps=steps, guidance=guidance, batch=batch
    )
    pipe = load(model, engine=engine, device=device, threads=threads)
    seeds = resolve(pipe.bundle, prompt, negative, **wanted, seed=seed, count=count).seeds
    frames = pipe.stream(prompt, negative, **wanted, seed=seeds)
    files = planned_files(output, prompt, seeds, force)
    results, written, write_s, waiting = [], [], 0.0, iter(files)
    together = files[0].suffix.lower() == ARRAYS
    for frame in progress_bar(frames, pipe.bundle.manifest.name):
        if frame.result and together:
            results.append(frame.result)
        elif frame.result:  # a picture is on disk as soon as it is done, and leaves memory
            mark = perf_counter()
            written += write(frame.result, [next(waiting) for _ in frame.seeds], force)
            write_s += perf_counter() - mark
            none = frame.result.pixels[:0].copy(), frame.result.latents[:0].copy()
            results.append(replace(frame.result, images=[], pixels=none[0], latents=none[1]))
    result = merged(results)
    if together:
        mark = perf_counter()
        written = write(result, files, force)
        write_s += perf_counter() - mark
    for warning in result.warnings:
        print(f"pleinair: warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary(result, written, write_s, perf_counter() - started)))
    else:
        print(*written, sep="\n")


def parse_size(size: str | None) -> tuple[int | None, int | None]:
    """'512x768' -> (512, 768); (None, None) where no size is asked for."""
    if size is None:
        return None, None
    width, _, height = size.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(size) < 20):
        raise RequestError(f"size '{size}' is not WIDTHxHEIGHT; write for example 512x512")
    return int(width), int(height)


def summary(result: Result, files: list[Path], write_s: float, spent_s: float) -> dict[str, Any]:
    """What `generate --json` prints: pictures, settings, seconds by stage, peak memory, warnings."""
    timings = result.timings
    if len(files) == 1:
        files = files * len(result.seeds)
    return {
        "images": [
            {"path": str(file), "seed": seed, "width": result.settings["width"], "height": result.settings["height"]}
            for file, seed in zip(files, result.seeds, strict=True)
        ],
        "settings": result.settings,
        "timings": {
            "import_s": round(IMPORT_S, 4),
            "load_s": round(timings.load, 4),
            "text_s": round(timings.text, 4),
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
    source: Annotated[Path, typer.Argument(help="A diffusers folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="openvino, onnx or both.")] = "openvino",
    weights: Annotated[str, typer.Option(help="fp32, fp16 or int8: how weights are stored.")] = "fp16",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a diffusers model into a bundle; needs the `export` extra."""
    formats = {"openvino": ("openvino",), "onnx": ("onnx",), "both": ("openvino", "onnx")}.get(form)
    if formats is None:
        raise RequestError(f"unknown format '{form}'; choose openvino, onnx or both")
    need("model export")
    from pleinair_export import export as export_model

    for progress in export_model(source, out, formats=formats, weights=weights, force=force):
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
        "tasks": list(manifest.tasks),
        "formats": list(bundle.formats),
        "prediction_type": bundle.scheduler_config.get("prediction_type", "epsilon"),
        "scheduler": bundle.scheduler_config.get("_class_name"),
        "defaults": asdict(manifest.defaults),
        "graphs": graphs,
        "origin": asdict(manifest.origin),
    }


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
        print(f"{name:10} order {row['order']}  {calls:14}  {kind:14} {row['a1111']:10} {row['diffusers']}")
    print(f"\nspacings: {', '.join(SPACINGS)}")


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


def need(purpose: str) -> None:
    """Raise EngineError with the line that installs what `purpose` lacks."""
    modules, line = machine.PARTS[purpose]
    if absent := machine.missing(modules):
        raise EngineError(f"{purpose} needs {', '.join(absent)}, not installed; install with: {line}")
