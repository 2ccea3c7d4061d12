"""`pleinair pour`: a single file or a diffusers folder made into a bundle, without PyTorch."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.cli.export import FORMATS, WEIGHTS
from pleinair.cli.flags import Json, offered
from pleinair.cli.models import description
from pleinair.cli.terminal import data, document, say
from pleinair.cli.usage import examples
from pleinair.engines.engine import installed
from pleinair.errors import RequestError
from pleinair.pouring.opened import PREDICTIONS
from pleinair.pouring.pour import pour as pour_model
from pleinair.sampling.samplers import SAMPLERS
from pleinair.system.files import CONFIG, read_json
from pleinair.system.home import is_name, models_folder

app = typer.Typer(add_completion=False)
MARK = ".poured.json"  # in a bundle that was made of a file named as a model: which file that was


@app.command(epilog=examples("pour"))
def pour(
    source: Annotated[Path, typer.Argument(help="A .safetensors file or a diffusers folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The bundle to write.", show_default=False)],
    form: Annotated[
        str, typer.Option("--format", help="openvino, onnx or both.", autocompletion=offered(FORMATS))
    ] = "openvino",
    weights: Annotated[
        str, typer.Option(help="fp32, fp16 or int8: how weights are stored.", autocompletion=offered(WEIGHTS))
    ] = "fp16",
    vae: Annotated[
        Path | None,
        typer.Option(help="A file with another VAE.", show_default="the model's own"),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            help="epsilon or v_prediction, where the file does not say.",
            show_default="what the file says",
            autocompletion=offered(PREDICTIONS),
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="What the bundle paints with unless told.",
            show_default="the model's own",
            autocompletion=offered(SAMPLERS),
        ),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Take the weights, and nothing else, out of a .ckpt; needs PyTorch.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a Stable Diffusion checkpoint into a bundle, without PyTorch."""
    formats = FORMATS.get(form)
    if formats is None:
        raise RequestError(f"unknown format '{form}'; choose openvino, onnx or both")
    last = ""
    for progress in pour_model(
        source,
        out,
        formats=formats,
        weights=weights,
        vae=vae,
        prediction=prediction,
        sampler=sampler,
        force=force,
        allow_pickle=allow_pickle,
    ):
        if progress.note or progress.words != last:
            written = "" if progress.note else f"[{progress.done / 1e6:5,.0f} of {progress.total / 1e6:,.0f} MB] "
            say(f"{written}{progress.words}")
        last = progress.words
    if as_json:
        document(description(open_bundle(out)))
    else:
        data(out)


def kept(file: Path, engine: str | None) -> Path:
    """The bundle of a single file among the models, with graphs for an engine; poured at first use, or when it changed.

    Raises what `pour` raises, and RequestError where its name is no name of a model, or that of another one.
    """
    bundle, form = models_folder() / file.stem, "onnx" if engine == "onnx" or not installed("openvino") else "openvino"
    by_hand = f"make a bundle with: pleinair pour '{file}' OUT"
    if not is_name(file.stem):
        raise RequestError(f"no model can be called '{file.stem}'; {by_hand}")
    mark, formats = marked(file), {form}
    if bundle.exists():
        before = read_json(bundle / MARK, CONFIG, RequestError, by_hand) if (bundle / MARK).is_file() else {}
        if before.get("place") != mark["place"]:
            raise RequestError(f"there is another model of the name '{file.stem}' in '{bundle.parent}'; {by_hand}")
        if before == mark:
            there = open_bundle(bundle, verify=False).formats
            if form in there:
                return bundle
            formats |= set(there)
    steps = pour_model(file, bundle, formats=tuple(sorted(formats)), force=True)
    for progress in steps:
        if progress.note:
            say(progress.words)
        elif not progress.done:
            say(f"making a model of {progress.total / 1e9:.2f} GB of '{file.name}' in '{bundle}', this once")
            break
    for _ in steps:
        pass
    (bundle / MARK).write_text(json.dumps(mark), encoding="utf-8")
    return bundle


def marked(file: Path) -> dict[str, str]:
    """What tells a file from others of its name, and from what it was before; no path can be read from it."""
    facts = file.stat()
    told = {"place": str(file.resolve()), "state": f"{facts.st_size} {facts.st_mtime_ns}"}
    return {name: hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for name, text in told.items()}
