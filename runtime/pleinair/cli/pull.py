"""`pleinair pull`: a model fetched from the Hugging Face hub, where the hub extra is installed."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from pleinair.bundle.opening import open_bundle
from pleinair.checks import one_of, quoted, shown_path
from pleinair.cli.flags import FORMATS, WEIGHTS, Json, formats_of, offered
from pleinair.cli.progress import ProgressBar, clock
from pleinair.cli.terminal import say, tell
from pleinair.cli.usage import examples
from pleinair.errors import BundleError, Cancelled, PleinairError, RequestError
from pleinair.sources.hub_ids import on_hub
from pleinair.system import install
from pleinair.system.home import models_folder

if TYPE_CHECKING:
    from pleinair.library.pulling import Brought, Step

SLOW_START_S = 1.0  # before that there is no telling how fast it comes
BETWEEN_S = 0.1  # two changes of what a terminal shows
app = typer.Typer(add_completion=False)


@app.command(epilog=examples("pull"))
def pull(
    id: Annotated[str, typer.Argument(help="OWNER/NAME on the hub, or its address.", show_default=False)],
    to: Annotated[Path | None, typer.Option(help="The model's folder.", show_default="among the models")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.", show_default="main")] = None,
    file: Annotated[str | None, typer.Option(help="One .safetensors file instead of a folder.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="openvino, onnx or both.",
            show_default="what is installed",
            autocompletion=offered(FORMATS),
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 or int8: how to store the weights of safetensors.",
            show_default="fp16",
            autocompletion=offered(WEIGHTS),
        ),
    ] = None,
    only_download: Annotated[bool, typer.Option("--only-download", help="Download only; do not make a model.")] = False,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle", help="Fetch .bin and .ckpt too, and read their weights; nothing in them is run."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Download a model and make it ready to paint, without PyTorch; needs the `hub` extra.

    Bundles are ready as they come, OpenVINO and ONNX graphs are adopted, and safetensors of models, VAEs and
    ControlNets are poured.
    """
    install.need("downloads from the hub")
    formats = None if form is None else formats_of(form)
    weights = None if weights is None else one_of("weights", weights, WEIGHTS)
    from pleinair.library import choosing
    from pleinair.library.pulling import pull as steps

    if named := on_hub(id):  # else told by `pull`
        id, revision, file = named.id, revision or named.revision, file or named.file
    kinds = tuple(kind for kind in choosing.KINDS if formats is None or kind not in choosing.GRAPHS or kind in formats)
    how = {"to": to, "revision": revision, "file": file, "kinds": kinds, "only_download": only_download}
    how |= {"formats": formats, "weights": weights, "allow_pickle": allow_pickle}
    found = followed(id, steps(id, **how))
    if only_download:
        ended(found, found.folder, next_command(found, file), as_json)
        return
    made(found, file, formats, weights, allow_pickle)
    if found.folder != found.model and not as_json:
        say(f"the download stays in '{found.folder}'; remove it with: pleinair models rm {download_name(found)}")
    ended(found, found.model, paint_command(found), as_json)


def ended(found: "Brought", folder: Path, command: str, as_json: bool) -> None:
    """Say what is here, and what to type next."""
    facts = {**asdict(found.origin), "kind": found.kind, "folder": str(folder), "bytes": found.size}
    tell({**facts, "before": found.before, "next": command}, folder, as_json=as_json)
    if not as_json:
        say(f"{'it was here already' if found.before else 'all is here'}; continue with: {command}")


def made(
    found: "Brought", file: str | None, formats: tuple[str, ...] | None, weights: str | None, allow_pickle: bool
) -> None:
    """Make what was fetched ready to paint; raises BundleError, with what leads on, where it cannot be so."""
    from pleinair.library.preparing import prepare

    notes, last = [], ""
    try:
        with ProgressBar() as progress, resumable(found.origin.id):
            for step in prepare(found, file, formats, weights, allow_pickle):
                if step.note:
                    notes.append(step.words)
                elif step.total:
                    if not sys.stderr.isatty() and step.words != last:
                        say(f"[{megabytes(step.done)} of {megabytes(step.total)}] {step.words}")
                    last = step.words
                    progress.show(step.words, step.done, step.total)
    except (BundleError, RequestError) as error:
        where = f"'{found.origin.id}' is in '{shown_path(found.folder)}'"
        raise BundleError(f"{where}, but {leading_on(found, file, error)}") from error
    finally:
        for words in notes:
            say(words)


def leading_on(found: "Brought", file: str | None, error: PleinairError) -> str:
    """Why what was fetched cannot paint yet, and what to type then."""
    if error.option is not None:
        source = quoted(found.folder / file if file else found.folder)
        return f"{error}: pleinair pour {source} {quoted(found.model)} {error.option}"
    if found.kind == "diffusers":
        missing = install.missing(install.EXPORT)
        needs = f" (needs PyTorch, once: {install.line('export')})" if missing else ""
        return f"{error.reason}; continue with: {next_command(found, file)}{needs}"
    return str(error)


def followed(id: str, steps: "Iterable[Step]") -> "Brought":
    """Do the steps of a download and show how far it is; raises Cancelled, with how to go on, at a Ctrl-C."""
    begun, shown, first, last = monotonic(), 0.0, None, ""
    with resumable(id), ProgressBar() as progress, closing(steps) as running:
        for step in running:
            if step.result:
                return step.result
            first = step.done if first is None else first
            if not sys.stderr.isatty() and step.file != last:
                say(f"[{megabytes(step.done)} of {megabytes(step.total)}] {step.file}")
            if step.file != last or monotonic() - shown > BETWEEN_S:
                shown, last = monotonic(), step.file
                progress.show(words(step, step.done - first, shown - begun), step.done, step.total)
    raise AssertionError("a download ends with its result")


@contextmanager
def resumable(id: str) -> Iterator[None]:
    """Turn a Ctrl-C into Cancelled, with how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Cancelled(
            f"interrupted; what was downloaded of '{id}' is kept, and the same command continues from there"
        ) from None


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
    """What to type to get from what was fetched to a picture."""
    if found.kind == "bundle":
        return paint_command(found)
    return {
        "openvino": f"pleinair adopt {quoted(found.folder)}",
        "onnx": f"pleinair adopt {quoted(found.folder)}",
        "diffusers": f"pleinair export {quoted(found.folder)}",
        "component": f"pleinair pour {quoted(found.folder)}",
        "file": f"pleinair pour {quoted(found.folder / (file or ''))} {quoted(found.model)}",
    }[found.kind]


def paint_command(found: "Brought") -> str:
    """Where a model is given, or what helps models."""
    bundle, name = open_bundle(found.model, verify=False), name_or_folder(found.model)
    given = f"--model {name}"
    if bundle.manifest.control:
        given = f"--control {name}:edges.png"
    elif bundle.manifest.is_vae:
        given = f"--vae {name}"
    return f'pleinair generate "a red house" {given}'


def download_name(found: "Brought") -> str:
    """What `pleinair models` calls a folder among the downloads."""
    return quoted(f"{found.folder.parent.name}/{found.folder.name}")


def name_or_folder(folder: Path) -> str:
    return quoted(folder.name if folder.parent == models_folder() else folder)
