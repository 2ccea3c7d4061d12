"""`pleinair bench`: measure this machine, compare, report."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pleinair.checks import one_of
from pleinair.cli.terminal import data, document, say, warn
from pleinair.errors import Cancelled, QualityError, RequestError
from pleinair_bench import cache, cases, estimates, filling, matrix, models, records, tables
from pleinair_bench.cases import Case
from pleinair_bench.cli_peers import peers
from pleinair_bench.run import Limits, Run
from pleinair_bench.speeds import SPEEDS
from pleinair_bench.statistics import FEWEST_ROUNDS
from pleinair_bench.terminal import RESULTS, Results, TableFormat, listed, passing, prepare, shown

# After `run_s` a case is done with three rounds, as each is with --quick; in all a run waits `wait_s` for a calm
# machine. Rounds that are begun are finished, which makes less than three minutes and less than ten.
QUICK = {"run_s": 130.0, "wait_s": 20.0, "quick": True}
STANDARD = {"run_s": 420.0, "wait_s": 60.0}
WHERE = "the project's issue tracker, as a new issue titled 'benchmark: CPU' with this text attached or pasted"

app = typer.Typer(
    name="bench",
    help="Measure this machine offline: components and whole pictures, with intervals, against its own limits.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ResultFiles = Annotated[list[Path], typer.Argument(help="Results files.", show_default=False)]


@app.command()
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Under three minutes on two cores.")] = False,
    model: listed("storybook, sd15, ... (real sizes are filled with random weights)") = None,
    work: listed(f"Of {', '.join(cases.WORKS)}") = None,
    engine: listed("openvino, onnx") = None,
    device: listed("cpu, gpu, npu, auto, hetero:gpu+cpu (OpenVINO); cpu, dml (ONNX Runtime)") = None,
    weights: listed("How they are stored: fp32, fp16, int8; w8a8 of blocks") = None,
    precision: listed("What to compute in: f32, bf16, f16; auto: pleinair's choice") = None,
    threads: listed("CPU threads; auto: the engine's choice") = None,
    batch: listed("Rows of a UNet's call") = None,
    size: listed("WIDTHxHEIGHT of the picture") = None,
    steps: listed("Of whole pictures") = None,
    sampler: listed("Of whole pictures; A1111's names too") = None,
    speed: listed(f"Of whole pictures: {', '.join(SPEEDS)}") = None,
    memory: listed("Of whole pictures: auto, low, high") = None,
    rounds: Annotated[int | None, typer.Option(help="Processes for each case; 5 by default, 3 of large ones.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds after which a case gets no new round.")] = 120.0,
    results: Results = RESULTS,
    form: TableFormat = "md",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cases, with time and disk.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Use the disk space that real sizes need without asking.")
    ] = False,
) -> None:
    """Measure, print a table, and add the records to a file."""
    form = tables.checked_form(form)
    if rounds is not None and not 1 <= rounds <= 100:
        raise RequestError("rounds must be from 1 to 100; choose another --rounds")
    texts = {"model": model, "work": work, "engine": engine, "device": device, "weights": weights, "size": size}
    texts |= {"precision": precision, "threads": threads, "batch": batch, "steps": steps, "sampler": sampler}
    texts |= {"speed": speed, "memory": memory}
    given = matrix.options(texts)
    wanted = matrix.quick(given) if quick else matrix.cases_of(given)
    for note in matrix.notes(wanted, given, texts):
        say(note)
    disk = cases.disk_bytes(wanted)
    if dry_run:
        shown(plan(wanted, disk, rounds or (FEWEST_ROUNDS if quick else None), form))
        return
    if not os.path.isdir(results.absolute().parent):  # noqa: PTH112, which raises for a name that is too long
        raise RequestError(f"no folder '{results.parent}'; create it, or choose another --results")
    agree(disk, yes)
    prepare(results)
    fill(wanted)
    order = {case: number for number, case in enumerate(wanted)}
    bounds = QUICK if quick else {} if given else STANDARD
    done = measure(Run(wanted, Limits(rounds, case_s=seconds, **bounds)), results)
    done.sort(key=lambda record: order[Case.from_dict(record["case"])])
    shown(tables.table(done, form))
    for line in estimates.lines(done):
        say(line)
    say(f"added to {results}")


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Results files A and B; one with --by.", show_default=False)],
    by: Annotated[str | None, typer.Option(help="Compare inside one file: engine, threads, weights ...")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every stage, memory, and cases that do not differ.")
    ] = False,
    fail_if_slower: Annotated[
        str | None, typer.Option(help="Exit with 7 where B is slower than A by more: 5%.")
    ] = None,
    form: Annotated[str, typer.Option("-o", "--output", help="md or json.")] = "md",
) -> None:
    """Say whether B is faster than A, slower, or whether there is no difference that can be told."""
    from dataclasses import asdict

    from pleinair_bench import compare as comparing

    share = percent(fail_if_slower) if fail_if_slower is not None else None
    form = one_of("form", form.strip().lower(), ("md", "json"))
    if len(files) != (1 if by else 2):
        raise RequestError("give two results files, or one and --by FIELD")
    sides = [existing([file]) for file in files]
    if by:
        by = by.strip().lower()
        a, b, *named = comparing.within(sides[0], by)
        say(f"A: {by} {named[0]}, B: {by} {named[1]}")
    else:
        a, b = sides
        if len({records.machine_key(record) for record in [*a, *b]}) > 1:
            warn("these are of different machines, or there are several machines in a file")
    found = list(comparing.pairs(a, b, everything))
    if form == "json":
        document([asdict(pair) for pair in found])
    else:
        shown(comparing.table(found, everything))
    for advice in filter(None, (comparing.of_the_machine(found), comparing.of_few_rounds(found))):
        warn(f"{advice}")
    if share is not None and (bad := comparing.slower(found, share)):
        worst = max(bad, key=lambda pair: pair.verdict.ratio if pair.verdict else float("inf"))
        how = f"{worst.verdict.ratio - 1:.0%} slower" if worst.verdict else "failing"
        parts = (f"{name} {value}" for name, value in worst.case.items() if value is not None)
        raise QualityError(
            f"{len(bad)} of {len(found)} slower than allowed ({', '.join(parts)}: {how}); find what changed, or allow"
            " more with --fail-if-slower"
        )


@app.command()
def report(
    files: ResultFiles,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("report.html"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write one self-contained page of tables and charts."""
    from pleinair_bench import report as reporting

    page = reporting.page(existing(files))
    reporting.write(page, output, force)
    data(output)


app.command()(peers)


@app.command("table")
def show(files: ResultFiles, form: TableFormat = "md") -> None:
    """Print the newest record of every case in the files as a table."""
    form = tables.checked_form(form)
    shown(tables.table(tables.ordered(records.newest(existing(files))), form))


@app.command()
def clean() -> None:
    """Free the disk space that the models with random weights take."""
    data(f"{cache.clean() / 1e9:.2f} GB freed")


@app.command()
def submit(file: Annotated[Path, typer.Argument(help="Results file.")] = RESULTS) -> None:
    """Print the last run's records and say where to send them; nothing is sent."""
    found = existing([file])
    if not found:
        raise RequestError(f"'{file}' holds no records; make some with: pleinair bench run --quick")
    shown(tables.table([record for record in found if record["run"] == found[-1]["run"]], "jsonl"))
    say("nothing was sent: these lines hold the machine's facts and no name of it or of you; read them, then")
    say(f"give them to {WHERE}")


def plan(wanted: list[Case], disk: int, rounds: int | None, form: str) -> str:
    """What a run would do: cases with about how long they take, and the disk that is needed first."""
    times = [case.seconds * (rounds / case.rounds if rounds else 1) for case in wanted]
    if form in ("json", "jsonl"):
        rows = [case.to_dict() | {"seconds": round(time, 1)} for case, time in zip(wanted, times, strict=True)]
        return json.dumps({"cases": rows, "seconds": round(sum(times), 1), "disk_bytes": disk})
    lines = [
        f"{time:7.0f} s  {case.memory_bytes / 1e9:5.1f} GB  {case.name}"
        for case, time in zip(wanted, times, strict=True)
    ]
    total = (
        f"{len(wanted)} cases, about {sum(times) / 60:.0f} min on a modest laptop, {disk / 1e9:.2f} GB of disk needed"
    )
    return "\n".join(["   time   memory  case", *lines, total])


def agree(disk: int, yes: bool) -> None:
    """Ask for the disk that real sizes take."""
    if disk and not yes:
        if not sys.stdin.isatty():
            raise RequestError(
                f"real sizes take {disk / 1e9:.2f} GB of disk; confirm with --yes, or use --model storybook"
            )
        if not typer.confirm(f"Take {disk / 1e9:.2f} GB of disk (`pleinair bench clean` frees it again)?", err=True):
            raise RequestError("nothing was measured; measure without real sizes with --model storybook")


def fill(wanted: list[Case]) -> None:
    """Make the real sizes' graphs, those that are not there."""
    for case in wanted:
        for each in models.needed(case.model, case.engine, case.weights, case.components):
            for done in filling.fill(each):
                passing(f"filling {each.model} {each.graph} {done / each.size:4.0%}")
            passing("")


def measure(running: Run, results: Path) -> list[records.Record]:
    """Run it, adding each record to the file as it is made; what was done is kept whatever happens."""
    done: list[records.Record] = []
    try:
        for words, record in running.steps():
            records.keep(results, running.unfinished())
            if record is None:
                passing(words)
                continue
            done.append(record)
            records.append(results, [record])
    except KeyboardInterrupt:
        rest = running.unfinished()
        records.append(results, rest)
        shown(tables.table([*done, *rest], "md"))
        raise Cancelled(f"interrupted; {len(done)} cases are complete and {len(rest)} in part in {results}") from None
    except records.ResourceError:
        shown(tables.table(done, "md"))  # at least on the screen
        raise
    finally:
        records.keep(results, [])
        passing("")
    return done


def existing(files: list[Path]) -> list[records.Record]:
    found, warnings = records.read(files)
    for warning in warnings:
        warn(f"{warning}")
    return found


def percent(text: str) -> float:
    """'5%' or '5' -> 0.05."""
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise RequestError(f"'{text[:20]}' is not a percentage; write for example --fail-if-slower 5%")
    return share
