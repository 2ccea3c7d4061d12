"""Others on the same work in the same run: one diffusers folder, one bundle made of it, equal size, steps and noise.

Peers that exclude each other live in environments of their own: `--python optimum-onnx=/path/to/python`.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.bundle import Bundle, open_bundle
from pleinair.errors import EngineError, RequestError
from pleinair.machine import usable_cores
from pleinair_bench import machine, run, tables, yardstick
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
REFERENCE = ("diffusers", "pleinair openvino", "pleinair onnx")  # whose picture the others' are held against
OWN_NOISE = ("stable-diffusion.cpp",)  # paints another picture, which is neither right nor wrong
PROMPT = "a red house on a snowy hill at night"
HEAD = ("painted with", "step", "95 % interval", "decode", "picture", "cold start", "peak RSS", "PSNR", "notes")


@dataclass(frozen=True)
class Work:
    """What everybody paints."""

    source: Path
    bundle: Bundle
    width: int
    height: int
    steps: int
    guidance: float
    threads: int | None


def available(pythons: dict[str, str]) -> list[str]:
    """Those that can be imported here, or have a Python of their own."""
    if unknown := set(pythons) - set(PEERS):
        raise RequestError(f"unknown peer '{min(unknown)}'; choose from {', '.join(PEERS)}")
    return [name for name in PEERS if name in pythons or _importable(MODULES[name])]


def check(source: Path, folder: Path, peers: list[str]) -> Bundle:
    """The bundle, after looking whether it and the diffusers folder are there for these peers."""
    if not (source / "model_index.json").is_file():
        raise RequestError(f"'{source}' is not a diffusers folder; give one with unet, vae and text_encoder")
    bundle = open_bundle(folder)
    needs = {
        "onnx": {"pleinair onnx", "optimum-onnx"},
        "openvino": {"pleinair openvino", "openvino-genai", "optimum-intel"},
    }
    for form, who in needs.items():
        if form not in bundle.formats and who & set(peers):
            raise RequestError(
                f"the bundle has no {form} graphs; make it with: pleinair export SOURCE OUT --format both"
            )
    if not peers:
        raise EngineError('no peer is installed; install them with: pip install "pleinair[peers]"')
    return bundle


def measured(work: Work, peers: list[str], pythons: dict[str, str], rounds: int) -> Iterator[tuple[str, list[Record]]]:
    """What is going to be done, in words, and in the end the records of all peers; they take turns, back and forth.

    The last words are "done", or "interrupted" after Ctrl-C.
    """
    facts, progress = machine.facts(), {name: run.Progress(_case(work, name)) for name in peers}
    versions: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        noise, info = Path(scratch) / "noise.npy", work.bundle.manifest.latents
        shape = (1, info.channels, work.height // info.downsample, work.width // info.downsample)
        np.save(noise, np.random.default_rng(0).standard_normal(shape, np.float32))
        cut = None
        turns = [(n, name) for n in range(rounds) for name in (peers if n % 2 == 0 else reversed(peers))]
        for number, name in turns:
            if progress[name].failure:
                continue
            yield f"round {number + 1}: {name}", []
            picture = Path(scratch) / f"{name}.npy"
            job = {"peer": name, "noise": str(noise), "picture": str(picture)}
            command = (pythons.get(name, sys.executable), *(() if name in pythons else ("-P",)), str(SCRIPT))
            before, busy, mark = yardstick.pace(), _busy(), perf_counter()
            try:
                outcome = run.answer(job | _plain(work), 3600, spawned=True, command=command)
            except KeyboardInterrupt:
                cut = "interrupted"
                break
            if busy is not None:
                outcome["others"] = max(0.0, _busy() - busy) / (perf_counter() - mark) / usable_cores()
            outcome["pace"] = [before, yardstick.pace()]
            versions[name] = {"version": outcome.pop("version", None)}
            progress[name].outcomes.append(outcome)
        seen = {name: None if name in OWN_NOISE else _seen(Path(scratch) / f"{name}.npy") for name in peers}
    first = next((name for name in REFERENCE if seen.get(name) is not None), None)
    for name in peers:
        good = [outcome for outcome in progress[name].outcomes if outcome["status"] == "ok"]
        if seen[name] is not None and good:
            good[0]["picture"] = _difference(seen[name], seen[first] if first else None)
    done = [each for each in progress.values() if each.outcomes]
    number = run.new_id()
    usual = yardstick.usual([outcome["pace"] for each in done for outcome in each.outcomes])
    yield cut or "done", [run.make_record(each, number, facts, versions, {}, cut, usual) for each in done]


def table(records: list[Record]) -> str:
    """The peers beside each other, as Markdown."""
    return "\n".join([*tables.about(records, versions=False), "", *tables.rows(HEAD, map(_cells, records))])


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

    step = measures.get("step")
    level = picture.get("psnr_db")
    return [
        f"{record['case']['engine']} {record['engine']['version'] or ''}".strip(),
        median("step"),
        f"{tables.seconds(step['low'])} .. {tables.seconds(step['high'])}" if step else "-",
        median("decode"),
        median("again"),
        median("total"),
        f"{memory['median']:.0f} MB" if memory else "-",
        "equal" if picture.get("same") else f"{level:.1f} dB" if level is not None else "-",
        (record["reason"] or "")[:80] or ", ".join(record["flags"]),
    ]


def _case(work: Work, peer: str) -> Case:
    graph = work.bundle.manifest.graphs["unet"].weights if not peer.startswith(("diffusers", "stable")) else "fp32"
    size = {"width": work.width, "height": work.height}
    name = MARK + work.bundle.manifest.name
    where = {"engine": peer, "device": "cpu", "precision": graph, "threads": work.threads}
    sampler = "euler" if peer == "stable-diffusion.cpp" else "ddim"
    return Case(model=name, work="cold", batch=1, steps=work.steps, sampler=sampler, **where, **size)


def _plain(work: Work) -> dict[str, Any]:
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


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package above it is absent
        return False
