"""`pleinair bench peers`: other programs on the same work."""

from pathlib import Path
from typing import Annotated

import typer

from pleinair.checks import one_of
from pleinair.cli.terminal import say, warn
from pleinair.errors import Cancelled, RequestError
from pleinair_bench import matrix, records, tables
from pleinair_bench.peer_rows import PRECISIONS
from pleinair_bench.terminal import RESULTS, Results, TableFormat, listed, passing, prepare, shown


def peers(
    source: Annotated[Path, typer.Argument(help="A diffusers folder.", show_default=False)],
    bundle: Annotated[list[Path], typer.Argument(help="Bundles made of it.", show_default=False)],
    peer: listed("Which programs; all that are installed if not given") = None,
    python: Annotated[
        list[str] | None, typer.Option(help="NAME=PYTHON: a peer in its own environment; repeatable.")
    ] = None,
    precision: listed("auto: each program's own choice; f32") = "auto,f32",
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; the bundle's if not given.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Of each picture in which a step is measured.")] = 3,
    guidance: Annotated[float, typer.Option(help="1 turns it off.")] = 7.5,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Undisturbed rounds of each row.")] = 3,
    pictures: Annotated[int, typer.Option(min=0, help="Rounds of whole pictures of 20 and of 4 steps.")] = 0,
    vae: Annotated[Path | None, typer.Option(help="Bundle of a small VAE, for ours of 4 steps.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds after which a row gets no new round.")] = 120.0,
    results: Results = RESULTS,
    form: TableFormat = "md",
) -> None:
    """Measure other programs on the same work: diffusers, openvino-genai, optimum, stable-diffusion.cpp."""
    from pleinair.request.value_types import parse_size
    from pleinair_bench import peer_rows, peer_tables
    from pleinair_bench import peers as others

    form = tables.checked_form(form)
    own = others.pythons(python or [])
    names = others.chosen(matrix.split("peer", peer) if peer is not None else None, own)
    asked = [one_of("precision", each.lower(), PRECISIONS) for each in matrix.split("precision", precision)]
    opened, small = others.check(source, bundle, vae, names)
    defaults = opened[0].manifest.defaults
    width, height = parse_size(size) if size else (defaults.width, defaults.height)
    work = peer_rows.PeerWork(source, tuple(opened), width, height, steps, guidance, threads, small)
    rows = peer_rows.rows_of(work, names, list(dict.fromkeys(asked)), rounds)
    if pictures:
        rows += peer_rows.pictures_of(work, names, pictures)
    if not rows:
        raise RequestError("nothing is left to measure; choose another --peer or --precision")
    if note := others.stored_differently(rows):
        warn(f"{note}")
    prepare(results)
    found, words = [], ""
    try:
        for words, found in others.measured(work, rows, own, others.PeerLimits(row_s=seconds)):
            records.keep(results, found)
            passing(words)
    except KeyboardInterrupt:
        words = "interrupted"
    passing("")
    records.append(results, found)
    records.keep(results, [])
    if found:
        shown(peer_tables.table(found) if form == "md" else tables.table(found, form))
    if words == "interrupted":
        raise Cancelled(f"interrupted; what was measured is in {results}")
    say(f"added to {results}")
