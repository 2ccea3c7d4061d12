"""Records as people and programs want to read them: Markdown for a forum, CSV, JSON, JSON lines."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from pleinair.checks import one_of
from pleinair_bench.records import Record, machine_key, main_measure
from pleinair_bench.speeds import EXACT

ENGINE_NAMES = {"openvino": "OpenVINO", "onnx": "ONNX Runtime"}
IN_ORDER = ("cold", "warm", "text_encoder", "unet", "vae_decoder", "blocks")  # pictures before their parts
CORES = ("physical", "performance", "efficiency", "logical", "usable")
STAGES = ("import", "load", "compile", "first", "text", "first_step", "step", "decode", "run", "picture", "total")
HEAD = (
    "model",
    "work",
    "size",
    "engine",
    "weights",
    "computed in",
    "median",
    "95 % interval",
    "load",
    "per second",
    "of limit",
    "peak RSS",
    "notes",
)


def table(records: list[Record], form: str) -> str:
    """The records as md, csv, json or jsonl."""
    return FORMS[form](records)


def checked_form(form: str) -> str:
    """One of FORMS in any case, or RequestError with the nearest."""
    return one_of("form", form.strip().lower(), FORMS)


def markdown(records: list[Record]) -> str:
    """One table for each machine, narrow enough for a forum."""
    machines: dict[str, list[Record]] = {}
    for record in records:
        machines.setdefault(machine_key(record), []).append(record)
    return "\n\n".join("\n".join([*about(group), "", *rows(HEAD, map(cells, group))]) for group in machines.values())


def ordered(records: list[Record]) -> list[Record]:
    """By model, what ships whole first, then by work and size, with the engines side by side."""

    def place(record: Record) -> tuple:
        case = record["case"]
        work = (IN_ORDER.index(case["work"]), case["batch"], case["width"] * case["height"], case["steps"] or 0)
        how = (case["weights"], case["precision"], case["engine"], str(case))
        return (case["model"] != "storybook", case["model"], *work, *how)

    return sorted(records, key=place)


def about(records: list[Record], versions: bool = True) -> Iterator[str]:
    """A machine in a few lines of Markdown; `versions` of the engines as well."""
    facts = records[-1]["machine"]
    cores, memory = facts["cores"], facts["memory"]
    kinds = f" ({cores['performance']}P + {cores['efficiency']}E)" if cores["efficiency"] else ""
    ram = " ".join(str(part) for part in (memory["kind"], f"{memory['mts']} MT/s" if memory["mts"] else None) if part)
    state = [facts["power"]["source"] and f"on {facts['power']['source']}", facts["power"]["governor"]]
    state.append({"yes": "virtual machine", "container": "container"}.get(facts["virtualised"]))
    engines = {r["case"]["engine"]: r["engine"]["version"] for r in records}
    threads = f"{cores['usable']} of {cores['logical']} threads{kinds}"
    yield f"- **{facts['cpu']}**, {threads}, {memory['gib']} GiB {ram}".rstrip()
    known = [f"{ENGINE_NAMES.get(name, name)} {version or ''}".strip() for name, version in engines.items()]
    ours = f"pleinair {records[-1]['pleinair']}{_commit(records[-1])}"
    used = ["Python " + facts["python"], ours, *(known if versions else [])]
    yield f"- {facts['os']}, {', '.join(used)}"
    yield "- " + ", ".join(filter(None, [*state, " ".join(facts["isa"])]))
    limits: dict[str, float] = {}
    for record in records:
        for each in record["limits"].values():
            for kind, value in each.items():
                limits[kind] = max(limits.get(kind, 0), value or 0)
    if limits:
        named = (f"{kind.replace('_', ' ')} {value:.0f}" for kind, value in limits.items() if value)
        yield f"- limits in GFLOP/s (int8: Gop/s): {', '.join(named)}"


def cells(record: Record) -> list[str]:
    """One row."""
    case, speed, main = record["case"], record["speed"], main_measure(record)
    measure = record["measures"].get(main or "")
    size = f"{case['width']}x{case['height']}" if case["work"] != "text_encoder" else ""
    work = f"{case['work']}, {case['steps']} steps" if case["steps"] else f"{case['work']} b{case['batch']}"
    work += f", {case['speed']}" if case["speed"] != EXACT else ""
    work += f", memory {case['memory']}" if case["memory"] != "auto" else ""
    where = case["engine"] + (f" {case['device']}" if case["device"] != "cpu" else "")
    where += f" {case['threads']}t" if case["threads"] else ""
    notes = [*record["flags"], *([f"**{record['status']}**: {record['reason']}"] if record["status"] != "ok" else [])]
    if record["left_out"]:
        notes.append(f"{len(record['left_out'])} disturbed rounds left out")
    picture = record["picture"] or {}
    if picture.get("same"):
        notes.append("picture exact")
    elif picture.get("psnr_db") is not None:
        notes.append(f"picture {picture['psnr_db']:.0f} dB")
    load, memory = record["measures"].get("load"), record["usage"].get("peak_rss_mb")
    return [
        case["model"],
        work,
        size,
        where,
        case["weights"],
        computed(record),
        seconds(measure["median"]) if measure else "-",
        interval(measure),
        seconds(load["median"]) if load else "-",
        f"{speed['per_second']:.3g}" if speed["per_second"] else "-",
        f"{speed['percent_of_limit']:.0f} %" if speed["percent_of_limit"] else "-",
        f"{memory['median']:.0f} MB" if memory else "-",
        ", ".join(notes),
    ]


def computed(record: Record) -> str:
    """What a case was computed in: as the engine says, or as was asked where it says nothing."""
    told, asked = record["engine"]["precision"], record["case"]["precision"]
    return told or ("-" if asked == "auto" else f"{asked} (asked)")


def interval(measure: dict[str, Any] | None) -> str:
    """The ends of a measure's 95 % interval, where it has one."""
    if measure is None or measure["low"] is None or measure["high"] is None:
        return "-"
    return f"{seconds(measure['low'])} .. {seconds(measure['high'])}"


def seconds(value: float) -> str:
    """Three digits, in the unit that has few of them before the point."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def rows(head: tuple[str, ...], body: Any) -> list[str]:
    """A Markdown table that is readable as it stands."""
    lines = [list(head), *([cell.replace("|", "/") for cell in row] for row in body)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return [text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]]


def flat(record: Record) -> dict[str, Any]:
    """A record as one row of a spreadsheet: figures, no samples."""
    facts = record["machine"]
    row = {name: record[name] for name in ("run", "time", "pleinair", "commit", "status", "reason")} | record["case"]
    row |= {f"engine_{name}": record["engine"][name] for name in ("version", "precision")} | record["speed"]
    for name in STAGES:
        measure = record["measures"].get(name, {})
        row |= {f"{name}_{figure}": measure.get(figure) for figure in ("median", "mad", "low", "high")}
    for name in ("peak_rss_mb", "peak_anonymous_mb", "pss_mb", "disk_mb", "cpu_s", "joules"):
        row[name] = record["usage"].get(name, {}).get("median")
    row |= {f"picture_{name}": (record["picture"] or {}).get(name) for name in ("sha256", "psnr_db", "ssim")}
    row |= {"rounds_left_out": len(record["left_out"])}
    row |= {"flags": " ".join(flag.replace(" ", "-") for flag in record["flags"]), "cpu": facts["cpu"]}
    row |= {f"cores_{name}": facts["cores"][name] for name in CORES}
    return row | {"memory_gib": facts["memory"]["gib"], "os": facts["os"], "isa": " ".join(facts["isa"])}


def as_csv(records: list[Record]) -> str:
    lines = [{name: _harmless(value) for name, value in flat(record).items()} for record in records]
    out = io.StringIO()
    if lines:
        writer = csv.DictWriter(out, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return out.getvalue().rstrip("\n")


def as_json(records: list[Record]) -> str:
    return json.dumps(records, indent=1)


def as_jsonl(records: list[Record]) -> str:
    return "\n".join(map(json.dumps, records))


def _harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _commit(record: Record) -> str:
    """The commit as people write it, after a version."""
    found, _, changed = (record["commit"] or "").partition("-")
    return f" ({found[:10]}{' with changes' if changed else ''})" if found else ""


FORMS: dict[str, Callable[[list[Record]], str]] = {
    "md": markdown,
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_jsonl,
}
