"""Others on the same work in the same run: one diffusers folder, bundles made of it, equal size, steps and noise.

Each peer is measured computing in what it chooses by itself, and in float32. Peers that exclude each other live in
environments of their own: `--python optimum-onnx=/path/to/python`.
"""

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from pleinair.bundle.opening import Bundle, open_bundle
from pleinair.checks import one_line, one_of
from pleinair.errors import EngineError, RequestError
from pleinair.system.machine import usable_cores
from pleinair_bench import machine, run, speeds, yardstick
from pleinair_bench.peer_painters import PEERS
from pleinair_bench.peer_rows import READS, W8A8, PeerWork, Row, case_of, disk_mb
from pleinair_bench.records import Record
from pleinair_bench.reference import psnr, ssim

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
REFERENCE = ("diffusers", "pleinair openvino", "pleinair onnx")  # whose picture the others' are held against
PROMPT = "a red house on a snowy hill at night"
SPARE_ROUNDS = 2  # of a row, to make up for disturbed ones
PATIENCE_S = 3600.0  # with one process


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
            raise RequestError(f"--python {name}: '{path}' is not a program; give an environment's python")
        found[name] = program
    return found


def chosen(names: list[str] | None, pythons: dict[str, str]) -> list[str]:
    """The peers of these names, or all that can be imported here or have a Python of their own.

    RequestError for an unknown name, EngineError for a peer that is not installed and where none is.
    """
    there = [name for name in PEERS if name in pythons or importable(MODULES[name])]
    if names is None:
        if not there:
            raise EngineError(f"no other program is installed; install one with: pip install {INSTALL['diffusers']}")
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


def check(source: Path, folders: list[Path], vae: Path | None, peers: list[str]) -> tuple[list[Bundle], Bundle | None]:
    """The bundles and the small VAE, after looking whether all that these peers read is there."""
    if not (source / "model_index.json").is_file():
        raise RequestError(f"'{source}' is not a diffusers folder; give one with unet, vae and text_encoder")
    bundles = [open_bundle(folder) for folder in folders]
    for form in ("openvino", "onnx"):
        if set(READS[form]) & set(peers) and not any(form in bundle.formats for bundle in bundles):
            raise RequestError(
                f"no bundle has {form} graphs; make them with: pleinair export SOURCE OUT --format both, or name peers"
                " that need none with --peer"
            )
    return bundles, open_bundle(vae) if vae else None


def stored_differently(rows: list[Row]) -> str | None:
    """What to do where not all read weights of the same kind, beside those that compute in int8."""
    kinds = {row.weights for row in rows} - {"unknown", W8A8}
    if len(kinds) < 2:
        return None
    return (
        f"weights are not stored alike, but as {' and '.join(sorted(kinds))}, and only rows that are can be compared;"
        " export the bundles with --weights as the diffusers folder has them"
    )


@dataclass(frozen=True)
class PeerLimits:
    """Seconds: after `row_s` a row has no new round, and `wait_s` in all is waited for a calm machine."""

    row_s: float = 120.0
    wait_s: float = 60.0


def measured(
    work: PeerWork, rows: list[Row], pythons: dict[str, str], limits: PeerLimits = PeerLimits()
) -> Iterator[tuple[str, list[Record]]]:
    """What is going to be done, in words, and the records so far, flagged as interrupted.

    Rows take turns, back and forth, until each has its calm rounds. The last words are "done", or "interrupted" after
    Ctrl-C, with the records as they stay.
    """
    facts, progress = machine.facts(), {row: run.CaseProgress(case_of(work, row)) for row in rows}
    calm = yardstick.Calm(limits.wait_s)
    number, cut = run.new_id(), "interrupted"

    def records() -> list[Record]:
        done = [(row, each) for row, each in progress.items() if each.outcomes]
        usual = yardstick.usual(calm.paces)
        return [run.make_record(each, number, facts, told_of(row, each), {}, cut, usual) for row, each in done]

    with tempfile.TemporaryDirectory() as scratch:
        noise = Path(scratch) / "noise.npy"
        save_noise(work, noise)
        pictures = {row: Path(scratch) / f"{place}.npy" for place, row in enumerate(rows)}
        turn = 0
        try:
            while waiting := [row for row in rows if not is_done(row, progress[row], limits, calm)]:
                for row in waiting if turn % 2 == 0 else reversed(waiting):
                    yield f"round {turn + 1}: {row}", records()
                    job = job_of(work, row) | {"noise": str(noise), "picture": str(pictures[row])}
                    mark = perf_counter()
                    outcome = _round(job, pythons.get(row.peer), calm)
                    progress[row].spent_s += perf_counter() - mark
                    progress[row].outcomes.append(outcome | {"disk_mb": disk_mb(row)})
                turn += 1
            cut = None
        except KeyboardInterrupt:
            pass
        seen = {row: _seen(pictures[row]) if row.like_diffusers else None for row in rows}
    first = _reference(seen)
    for row, picture in seen.items():
        if picture is not None and progress[row].good:
            progress[row].good[0]["picture"] = _difference(picture, first)
    yield cut or "done", records()


def is_done(row: Row, progress: run.CaseProgress, limits: PeerLimits, calm: yardstick.Calm) -> bool:
    """Failed, measured as often as asked on a calm machine, or out of patience with it or with the row."""
    count = len(progress.outcomes)
    if progress.failure or count >= row.rounds + SPARE_ROUNDS:
        return True
    if len(progress.calm(yardstick.usual(calm.paces))) >= row.rounds:
        return True
    return count > 0 and progress.spent_s > limits.row_s


def told_of(row: Row, progress: run.CaseProgress) -> dict[str, dict[str, Any]]:
    """What a peer said of itself, as a record has it of an engine."""
    last = next((each for each in reversed(progress.outcomes) if each.get("version")), {})
    build = last.get("build")
    safe = one_line(machine.without_paths(build), 300) if build else None
    return {row.peer: {"version": last.get("version"), "build": safe}}


def save_noise(work: PeerWork, file: Path) -> None:
    """The noise that everybody starts from."""
    info = work.bundles[0].manifest
    sides = (work.height // info.vae.downsample, work.width // info.vae.downsample)
    np.save(file, np.random.default_rng(0).standard_normal((1, info.latents.channels, *sides), np.float32))


def job_of(work: PeerWork, row: Row) -> dict[str, Any]:
    """A row as its process is told it."""
    sizes = {"width": work.width, "height": work.height, "steps": row.steps, "guidance": row.guidance}
    read = {"folder": str(row.folder.absolute()), "weights": row.weights, "vae": row.vae and str(row.vae.absolute())}
    asked = {"precision": row.precision, "sampler": row.sampler, "options": speeds.asked(row.speed, row.steps)}
    return {"peer": row.peer, "prompt": PROMPT, "threads": work.threads} | sizes | read | asked


def _round(job: dict[str, Any], python: str | None, calm: yardstick.Calm) -> dict[str, Any]:
    """One process of one peer, with the yardstick before and after it and what others did meanwhile."""
    # without this folder and what is meant for ours, which would lie before the peer's own packages
    command = (python or sys.executable, "-I" if python else "-P", str(SCRIPT))
    before, busy, mark = calm.pace(), _busy(), perf_counter()
    outcome = run.answer(job, PATIENCE_S, spawned=True, command=command)
    if busy is not None:
        outcome["others"] = max(0.0, _busy() - busy) / (perf_counter() - mark) / usable_cores()
    outcome["pace"] = [before, yardstick.pace()]
    calm.paces.append(outcome["pace"])
    return outcome


def _reference(seen: dict[Row, np.ndarray | None]) -> np.ndarray | None:
    """The picture that the others are held against: in float32 where somebody was asked for that."""
    there = [row for row, picture in seen.items() if picture is not None and row.weights != W8A8]
    order = [(peer, precision) for precision in ("f32", "auto") for peer in REFERENCE]
    return next((seen[row] for key in order for row in there if (row.peer, row.precision) == key), None)


def _seen(file: Path) -> np.ndarray | None:
    return np.round(np.load(file).clip(0, 1) * 255).astype(np.uint8) if file.exists() else None


def _difference(picture: np.ndarray, reference: np.ndarray | None) -> dict[str, Any]:
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
