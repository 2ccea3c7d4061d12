"""`pleinair models`: what is kept on this machine, one model in detail, and one removed."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_line, quoted, shown_path
from pleinair.cli.flags import Json
from pleinair.cli.info import description
from pleinair.cli.terminal import aligned, printable, say, sketch, tell
from pleinair.cli.usage import examples
from pleinair.engines.engine import choose_engine
from pleinair.errors import BundleError, Cancelled, PleinairError, RequestError
from pleinair.library.listing import Download, LocalModel, downloads, local_model, local_models, size_on_disk
from pleinair.library.removing import removable, removable_download, remove
from pleinair.library.speed import Speed
from pleinair.pipeline import Pipeline
from pleinair.request.loras import lora_names
from pleinair.request.request import resolve
from pleinair.sources.origins import read_origin
from pleinair.system.home import loras_folder, models_folder

GB = 1e9  # bytes
HEAD = ("name", "on disk", "family", "tasks", "memory", "last picture")
app = typer.Typer(add_completion=False)
models = typer.Typer(add_completion=False)
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True, epilog=examples("models"))
def every(context: typer.Context, as_json: Json = False) -> None:
    """List, show and remove the models on this machine."""
    if context.invoked_subcommand is None:
        list_models(as_json)


@models.command("list")
def list_models(as_json: Json = False) -> None:
    """List the models with the disk, memory and seconds they take."""
    found, unmade, loras = local_models(), downloads(), lora_names()
    facts = {
        "folder": str(models_folder()),
        "models": [facts_of(each) for each in found],
        "downloads": [download_facts(each) for each in unmade],
        "loras": loras,
    }
    tell(facts, *table([HEAD, *map(row, found)]), *map(download_line, unmade), as_json=as_json)
    say(f"models are in {models_folder()}")
    say(f"LoRAs: {', '.join(map(printable, loras)) or 'none'}; their folder is {loras_folder()}")


@models.command("info")
def show_model(
    name: Annotated[str, typer.Argument(help="A model's name.", show_default=False)], as_json: Json = False
) -> None:
    """Show everything that is known about a model."""
    found = local_model(name)
    if found.bundle is None:
        raise BundleError(
            found.problem or f"'{name}' is not a model; remove it with: pleinair models rm {quoted(name)}"
        )
    facts = {**facts_of(found), **description(found.bundle), "name": name}
    tell(facts, *aligned(facts), as_json=as_json)


@models.command("rm")
def remove_model(
    name: Annotated[str, typer.Argument(help="A model's name, or OWNER/NAME of a download.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a model, or a download, from the disk."""
    folder = removable_download(name).folder if "/" in name else removable(name)
    size = size_on_disk(folder)
    if not yes:
        confirm(folder, size)
    remove(folder)
    tell({"removed": str(folder), "bytes": size}, folder, as_json=as_json)


def confirm(folder: Path, size: int) -> None:
    """Ask on a terminal; raises RequestError where there is none, Cancelled for any answer but y or yes."""
    if not sys.stdin.isatty():
        raise RequestError(f"'{shown_path(folder)}' is removed only if you confirm; add --yes")
    what = "link" if folder.is_symlink() else gb(size)
    sketch(printable(f"remove {folder} ({what})? [y/N] "))
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("nothing was removed; answer y, or add --yes")


def row(model: LocalModel) -> tuple[str, ...]:
    """A line of the table for people."""
    if model.bundle is None:
        return (model.name, gb(model.size), "-", one_line(model.reason, 60), "", "")
    manifest, needed = model.bundle.manifest, memory_needed(model.bundle, "auto")
    return (
        model.name,
        gb(model.size),
        manifest.family,
        ", ".join(manifest.tasks),
        "-" if needed is None else f"about {gb(needed)}",
        speed_words(model.speed) if model.speed else "-",
    )


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines of columns as wide as their longest cell."""
    widths = [max(map(len, map(printable, column))) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def download_line(found: Download) -> str:
    """A download that no model is made of yet."""
    state = "downloaded" if found.whole else f"not complete; continue with: pleinair pull {quoted(found.name)}"
    return f"{found.name}  {gb(found.size)}  {state}"


def speed_words(speed: Speed) -> str:
    """What the last picture took, in words."""
    return f"{speed.seconds:.3g} s ({speed.width}x{speed.height}, {speed.steps} steps, {speed.engine} {speed.device})"


def facts_of(model: LocalModel) -> dict[str, Any]:
    """A model for programs; `memory_gb` is predicted, the speed was measured."""
    facts: dict[str, Any] = {"name": model.name, "folder": str(model.folder), "size_gb": in_gb(model.size)}
    if model.bundle is None:
        return {**facts, "problem": model.problem}
    manifest, origin = model.bundle.manifest, read_origin(model.folder)
    return {
        **facts,
        "family": manifest.family,
        "tasks": list(manifest.tasks),
        "formats": list(model.bundle.formats),
        "memory_gb": {
            "estimated": in_gb(memory_needed(model.bundle, "auto")),
            "estimated_low": in_gb(memory_needed(model.bundle, "low")),
        },
        "last_picture": asdict(model.speed) if model.speed else None,
        "pulled": asdict(origin) if origin else None,
    }


def memory_needed(bundle: Bundle, memory: str) -> int | None:
    """Bytes that a picture of the usual size takes here, with `memory` "auto" or "low".

    None where that is not known: the model does not paint by itself, or not here.
    """
    if not bundle.manifest.paints:
        return None
    try:
        pipe = Pipeline(bundle, choose_engine(bundle, None), memory=memory)
        return pipe.memory_needed(resolve(bundle, "a picture"), last=True)
    except PleinairError:
        return None


def download_facts(download: Download) -> dict[str, Any]:
    """A download for programs."""
    origin = asdict(download.origin) if download.origin else None
    folder, size = str(download.folder), in_gb(download.size)
    return {"name": download.name, "folder": folder, "size_gb": size, "pulled": origin, "whole": download.whole}


def gb(size: float) -> str:
    return f"{size / GB:.2g} GB" if size >= GB / 10 else f"{size / 1e6:.0f} MB"


def in_gb(size: int | None) -> float | None:
    """Bytes as billions, to the megabyte; None where they are not known."""
    return None if size is None else round(size / GB, 3)
