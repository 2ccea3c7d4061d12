"""Others on the same work in the same run: one diffusers folder, one bundle made of it, equal size, steps and noise.

All are measured twice: computing in what they choose by themselves, and in float32. Peers that exclude each other live
in environments of their own: `--python optimum-onnx=/path/to/python`.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_of
from pleinair.errors import EngineError, RequestError
from pleinair.system.machine import usable_cores
from pleinair_bench import machine, run, stored, tables, yardstick
from pleinair_bench.cases import Case
from pleinair_bench.peer_worker import PEERS
from pleinair_bench.records import Record
from pleinair_bench.reference import psnr, ssim

MARK = "peers: "  # of the models' names in records
SCRIPT = Path(__file__).with_name("peer_worker.py")
MODULES = {
    "pleinair openvino": "openvino",
    "pleinair onnx": "onnxruntime",
    "diffusers": "diffusers",
    "diffusers channels-last": "diffusers",
    "openvino-genai": "openvino_genai",
    "optimum-intel": "optimum.intel",
    "optimum-onnx": "optimum.onnxruntime",
    "stable-diffusion.cpp": "stable_diffusion_cpp",
}
INSTALL = {
    "pleinair openvino": "openvino",
    "pleinair onnx": "onnxruntime",
    "diffusers": "diffusers transformers torch",
    "diffusers channels-last": "diffusers transformers torch",
    "openvino-genai": "openvino-genai",
    "optimum-intel": "optimum-intel diffusers torch",
    "optimum-onnx": "optimum-onnx onnxruntime diffusers torch",
    "stable-diffusion.cpp": "stable-diffusion-cpp-python",
}
ALONE = ("optimum-intel", "optimum-onnx", "stable-diffusion.cpp")  # best installed where nothing else is
LOADS = {  # what each reads: the diffusers folder, or the bundle's graphs in one format
    "diffusers": {"diffusers", "diffusers channels-last", "stable-diffusion.cpp"},
    "openvino": {"pleinair openvino", "openvino-genai", "optimum-intel"},
    "onnx": {"pleinair onnx", "optimum-onnx"},
}
PRECISIONS = ("auto", "f32")
TITLES = {"auto": "Computing in what each chooses by itself", "f32": "All asked to compute in float32"}
REFERENCE = ("diffusers", "pleinair openvino", "pleinair onnx")  # whose picture the others' are held against
OWN_NOISE = ("stable-diffusion.cpp",)  # paints another picture, which is neither right nor wrong
PROMPT = "a red house on a snowy hill at night"
HEAD = ("painted with", "weights", "computed in", "step", "95 % interval", "decode", "picture", "cold start",
        "peak RSS", "PSNR", "notes")  # fmt: skip


@dataclass(frozen=True)
class PeerJob:
    """What everybody paints."""

    source: Path
    bundle: Bundle
    width: int
    height: int
    steps: int
    guidance: float
    threads: int | None


class Row(NamedTuple):
    """A peer and what it is asked to compute in, of PRECISIONS."""

    peer: str
    precision: str


def pythons(given: list[str]) -> dict[str, str]:
    """["optimum-onnx=/venv/bin/python"] -> each peer's interpreter; RequestError for what is no peer or no program."""
    found = {}
    for each in given:
        name, _, path = each.partition("=")
        if not path:
            raise RequestError("--python is not NAME=PYTHON; write for example --python optimum-onnx=/venv/bin/python")
        name = _peer(name)
        program = shutil.which(str(Path(path).expanduser()))
        if program is None:
            raise RequestError(f"--python {name}: '{path}' is no program; give an environment's python")
        found[name] = program
    return found


def chosen(names: list[str] | None, pythons: dict[str, str]) -> list[str]:
    """The peers of these names, or all that can be imported here or have a Python of their own.

    RequestError for an unknown name, EngineError for a peer that is not installed and where none is.
    """
    there = [name for name in PEERS if name in pythons or importable(MODULES[name])]
    if names is None:
        if not there:
            raise EngineError(f"no peer is installed; install one with: pip install {INSTALL['diffusers']}")
        return there
    wanted = list(dict.fromkeys(map(_peer, names)))
    for name in wanted:
        if name not in there:
            where = f", where --python {name}=PYTHON finds it" if name in ALONE else ""
            raise EngineError(f"peer '{name}' is not installed; install it with: pip install {INSTALL[name]}{where}")
    if idle := [name for name in pythons if name not in wanted]:
        raise RequestError(f"--python names '{idle[0]}', which --peer leaves out; name it there too")
    return wanted


def _peer(name: str) -> str:
    """A peer's name as it is here, from any case and spaces."""
    return one_of("peer", " ".join(name.lower().split()), PEERS)


def check(source: Path, folder: Path, peers: list[str]) -> Bundle:
    """The bundle, after looking whether it and the diffusers folder are there for these peers."""
    if not (source / "model_index.json").is_file():
        raise RequestError(f"'{source}' is not a diffusers folder; give one with unet, vae and text_encoder")
    bundle = open_bundle(folder)
    for form in ("openvino", "onnx"):
        if form not in bundle.formats and LOADS[form] & set(peers):
            raise RequestError(
                f"the bundle has no {form} graphs; make it with: pleinair export SOURCE OUT --format both"
            )
    return bundle


def weights_of(work: PeerJob, peer: str) -> str:
    """How the UNet that a peer reads is stored: fp32, fp16, bf16, int8, or unknown."""
    if peer in LOADS["diffusers"]:
        return stored.of_diffusers(work.source / "unet")
    form = "openvino" if peer in LOADS["openvino"] else "onnx"
    return stored.of_graph(work.bundle.graph_file("unet", form))


def stored_differently(work: PeerJob, rows: list[Row]) -> str | None:
    """What to do where not all read weights of the same kind."""
    kinds = {weights_of(work, row.peer) for row in rows} - {stored.UNKNOWN}
    if len(kinds) < 2:
        return None
    source = stored.of_diffusers(work.source / "unet")
    remedy = f"; for equal work export the bundle with --weights {source}" if source in ("fp32", "fp16") else ""
    return f"weights are not stored alike, but as {' and '.join(sorted(kinds))}, as each row says{remedy}"


def measured(
    work: PeerJob, rows: list[Row], pythons: dict[str, str], rounds: int
) -> Iterator[tuple[str, list[Record]]]:
    """What is going to be done, in words, and the records so far, flagged as interrupted.

    Rows take turns, back and forth. The last words are "done", or "interrupted" after Ctrl-C, with the records as they
    stay.
    """
    facts, progress = machine.facts(), {row: run.CaseProgress(_case(work, row)) for row in rows}
    versions: dict[str, dict[str, Any]] = {}
    number, cut = run.new_id(), "interrupted"

    def records() -> list[Record]:
        done = [each for each in progress.values() if each.outcomes]
        usual = yardstick.usual([outcome["pace"] for each in done for outcome in each.outcomes])
        return [run.make_record(each, number, facts, versions, {}, cut, usual) for each in done]

    with tempfile.TemporaryDirectory() as scratch:
        noise, info = Path(scratch) / "noise.npy", work.bundle.manifest
        shape = (1, info.latents.channels, work.height // info.vae.downsample, work.width // info.vae.downsample)
        np.save(noise, np.random.default_rng(0).standard_normal(shape, np.float32))
        pictures = {row: Path(scratch) / f"{place}.npy" for place, row in enumerate(rows)}
        turns = [(n, row) for n in range(rounds) for row in (rows if n % 2 == 0 else reversed(rows))]
        for turn, row in turns:
            if progress[row].failure:
                continue
            yield f"round {turn + 1}: {row.peer}, {row.precision}", records()
            job = {"peer": row.peer, "precision": row.precision, "weights": progress[row].case.weights}
            job |= {"noise": str(noise), "picture": str(pictures[row])} | _plain(work)
            try:
                outcome = _round(job, pythons.get(row.peer))
            except KeyboardInterrupt:
                break
            versions[row.peer] = {"version": outcome.pop("version", None)}
            progress[row].outcomes.append(outcome)
        else:
            cut = None
        seen = {row: None if row.peer in OWN_NOISE else _seen(pictures[row]) for row in rows}
    first = _reference(seen)
    for row, picture in seen.items():
        if picture is not None and progress[row].good:
            progress[row].good[0]["picture"] = _difference(picture, first)
    yield cut or "done", records()


def _round(job: dict[str, Any], python: str | None) -> dict[str, Any]:
    """One process of one peer, with the yardstick before and after it and what others did meanwhile."""
    command = (python or sys.executable, *(() if python else ("-P",)), str(SCRIPT))
    before, busy, mark = yardstick.pace(), _busy(), perf_counter()
    outcome = run.answer(job, 3600, spawned=True, command=command)
    if busy is not None:
        outcome["others"] = max(0.0, _busy() - busy) / (perf_counter() - mark) / usable_cores()
    return outcome | {"pace": [before, yardstick.pace()]}


def _reference(seen: dict[Row, np.ndarray | None]) -> np.ndarray | None:
    """The picture that the others are held against: in float32 where somebody was asked for that."""
    order = [Row(peer, precision) for precision in reversed(PRECISIONS) for peer in REFERENCE]
    return next((seen[row] for row in order if seen.get(row) is not None), None)


def table(records: list[Record]) -> str:
    """The peers beside each other, as Markdown: a table for what each chooses by itself and one for float32."""
    parts = ["\n".join(tables.about(records, versions=False))]
    for precision, title in TITLES.items():
        group = [record for record in records if record["case"]["precision"] == precision]
        if group:
            parts += [f"{title}:", "\n".join(tables.rows(HEAD, map(_cells, group)))]
    return "\n\n".join(parts)


def is_of_peers(record: Record) -> bool:
    """Whether a record is of this comparison and not of a case of our own."""
    return record["case"]["model"].startswith(MARK)


def work_of(record: Record) -> str:
    """What the peers painted, for people."""
    case = record["case"]
    return f"{case['model'].removeprefix(MARK)} at {case['width']}x{case['height']}, {case['steps']} steps"


def _cells(record: Record) -> list[str]:
    measures, memory, picture = record["measures"], record["usage"].get("peak_rss_mb"), record["picture"] or {}

    def median(name: str) -> str:
        return tables.seconds(measures[name]["median"]) if name in measures else "-"

    level = picture.get("psnr_db")
    return [
        f"{record['case']['engine']} {record['engine']['version'] or ''}".strip(),
        record["case"]["weights"],
        tables.computed(record),
        median("step"),
        tables.interval(measures.get("step")),
        median("decode"),
        median("again"),
        median("total"),
        f"{memory['median']:.0f} MB" if memory else "-",
        "equal" if picture.get("same") else f"{level:.1f} dB" if level is not None else "-",
        (record["reason"] or "")[:80] or ", ".join(record["flags"]),
    ]


def _case(work: PeerJob, row: Row) -> Case:
    size = {"width": work.width, "height": work.height}
    name = MARK + work.bundle.manifest.name
    where = {"engine": row.peer, "device": "cpu", "threads": work.threads}
    how = {"weights": weights_of(work, row.peer), "precision": row.precision}
    sampler = "euler" if row.peer in OWN_NOISE else "ddim"
    return Case(model=name, work="cold", batch=1, steps=work.steps, sampler=sampler, **where, **how, **size)


def _plain(work: PeerJob) -> dict[str, Any]:
    sizes = {"width": work.width, "height": work.height, "steps": work.steps, "guidance": work.guidance}
    folders = {"source": str(work.source.absolute()), "bundle": str(work.bundle.path.absolute())}
    return sizes | folders | {"threads": work.threads, "prompt": PROMPT}


def _seen(file: Path) -> np.ndarray | None:
    return np.round(np.load(file).clip(0, 1) * 255).astype(np.uint8) if file.exists() else None


def _difference(picture: np.ndarray, reference: np.ndarray | None) -> dict[str, Any]:
    import hashlib

    found = {"sha256": hashlib.sha256(picture.tobytes()).hexdigest(), "same": None, "psnr_db": None, "ssim": None}
    if reference is None or reference.shape != picture.shape:
        return found
    level = psnr(picture, reference)
    exact = not np.isfinite(level)
    near = None if exact else round(level, 2)
    return found | {"same": exact, "psnr_db": near, "ssim": round(ssim(picture, reference), 5)}


def _busy() -> float | None:
    """Seconds of processor time that others than us and our workers had since the machine started."""
    total, own = machine.busy_seconds(), os.times()
    workers = own.children_user + own.children_system  # none on Windows, where this would count them as others
    return total - sum(own[:2]) - workers if total is not None and os.name == "posix" else None


def importable(module: str) -> bool:
    """Whether a module is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package above it is absent
        return False
