"""The fidelity gate: every graph, read back from disk by the runtime's own engines, must answer like torch does."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pleinair.bundle.manifest import FORMAT, Fidelity, GraphInfo, Manifest, Origin, Placed, Port
from pleinair.bundle.opening import Bundle
from pleinair.bundle.verifying import BundleFiles, file_info
from pleinair.checks import one_line
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError, EngineError, QualityError
from pleinair_export.progress import ExportProgress
from pleinair_export.quiet import quiet
from pleinair_export.trials import Arrays, Trial, read_trial, trial_file


@dataclass(frozen=True)
class Converted:
    """A graph on disk, as bundle.json describes it."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    files: dict[str, tuple[str, ...]]
    weights: dict[str, dict[str, Placed]]  # layer path -> format -> where its weight lies


class Gate(NamedTuple):
    """What a graph must reach: PSNR in dB, the relative error of its worst channel, and PSNR of a whole picture."""

    psnr_db: float
    channel: float
    picture_db: float


GATES = {"fp32": Gate(60.0, 0.001, 55.0), "fp16": Gate(68.0, 0.01, 50.0), "int8": Gate(35.0, 0.3, 30.0)}
NEAR_DB = 20.0  # for inputs on which no rounding is small
CEILING_DB = 200.0  # what equal arrays are given, because JSON has no infinity
QUIET = 0.5  # of the median channel: what is quieter is measured against this, not against next to nothing


def psnr(expected: np.ndarray, actual: np.ndarray) -> float:
    """10 log10(peak^2 / mean squared error) in dB, where peak is max(expected) - min(expected).

    -200 dB for another shape or a number that is not finite, 200 dB at most.
    """
    if expected.shape != actual.shape or not np.isfinite(actual).all():
        return -CEILING_DB
    error = np.mean((expected.astype(np.float64) - actual) ** 2)
    peak = float(np.ptp(expected)) or 1.0
    return float(10 * np.log10(peak**2 / max(error, peak**2 * 10 ** (-CEILING_DB / 10))))


def channel_error(expected: np.ndarray, actual: np.ndarray) -> float:
    """The largest |actual - expected| / |expected| of a channel, in Euclidean norms; 1 is a channel that is not there.

    Channels are axis 1 of pictures (B, C, H, W), else the last axis. PSNR is blind where one channel is far louder than
    the others. Infinite for another shape or a number that is not finite.
    """
    if expected.shape != actual.shape or not np.isfinite(actual).all():
        return float("inf")
    others = tuple(axis for axis in range(expected.ndim) if axis != (1 if expected.ndim == 4 else expected.ndim - 1))
    wanted = np.sqrt(np.sum(expected.astype(np.float64) ** 2, axis=others))  # (C,)
    missed = np.sqrt(np.sum((expected.astype(np.float64) - actual) ** 2, axis=others))
    floor = max(QUIET * float(np.median(wanted)), 1e-6)
    return float(np.max(missed / np.maximum(wanted, floor)))


def check_form(stage: Path, graph: str, info: GraphInfo, form: str) -> Generator[ExportProgress, None, Fidelity]:
    """Hold a graph on disk against torch's answers; raises QualityError, naming it, where it is below the gate."""
    yield ExportProgress(graph, f"{form}: compare with torch")
    measured = measure(stage, graph, info, form, read_trial(trial_file(stage, graph)))
    require(graph, form, info.weights, measured)
    return measured


def measure(stage: Path, graph: str, info: GraphInfo, form: str, trial: Trial) -> Fidelity:
    """Open a graph below `stage` as the runtime does, run its trial on the CPU, and compare with torch's answers.

    Raises QualityError, naming the graph, where it cannot be opened or run, or is nowhere near torch on the unsteady
    cases.
    """
    bundle = lone_bundle(stage, graph, info, form)
    try:
        with quiet():
            opened = open_graph(bundle, graph, form, "cpu", max_shapes=1)
            actual = [opened(**case) for case in trial.cases]
            del opened  # and the memory with it
    except (BundleError, EngineError) as error:
        raise QualityError(
            f"{graph} ({form}, {info.weights}) cannot be run ({one_line(error, 160)}); nothing was written:"
            f" {remedy(info.weights)}"
        ) from error
    count, expected = trial.unsteady, trial.answers
    if expected[count:] and fidelity(info.weights, expected[count:], actual[count:]).psnr_db < NEAR_DB:
        raise QualityError(
            f"{graph} ({form}, {info.weights}) is nowhere near torch at the default size; nothing was written:"
            f" {remedy(info.weights)}"
        )
    return fidelity(info.weights, expected[:count], actual[:count])


def lone_bundle(stage: Path, graph: str, info: GraphInfo, form: str) -> Bundle:
    """A bundle of one graph in one format, which is all that an engine asks for."""
    files = {name: file_info(stage / name) for name in info.files[form]}
    manifest = Manifest(
        format=FORMAT,
        name=stage.name,
        family="",
        tasks=(),
        graphs={graph: info},
        files=files,
        origin=Origin("", None, None, "", {}),
    )
    return Bundle(stage, manifest, BundleFiles(stage, files, hashed=False), {})


def fidelity(weights: str, expected: Iterable[Arrays], actual: Iterable[Arrays]) -> Fidelity:
    """The worst PSNR and the worst channel over all cases and all outputs, beside the gate for these weights."""
    pairs = [(want[name], got[name]) for want, got in zip(expected, actual, strict=True) for name in want]
    worst = min(psnr(want, got) for want, got in pairs)
    channel = max(channel_error(want, got) for want, got in pairs)
    return Fidelity(round(worst, 2), GATES[weights].psnr_db, round(channel, 6))


def require(graph: str, form: str, weights: str, measured: Fidelity) -> None:
    """Raise QualityError, naming the graph, when it is below its gate."""
    if measured.psnr_db < measured.gate_db:
        raise QualityError(
            f"{graph} ({form}, {weights}) is {measured.psnr_db:.1f} dB from torch and the gate is"
            f" {measured.gate_db:.0f} dB; nothing was written: {remedy(weights)}"
        )
    most = GATES[weights].channel
    if measured.worst_channel is not None and measured.worst_channel > most:
        raise QualityError(
            f"{graph} ({form}, {weights}) has a channel that is {measured.worst_channel:.0%} away from torch's and the"
            f" gate is {most:.0%}; nothing was written: {remedy(weights)}"
        )


def remedy(weights: str) -> str:
    """What to do about a graph that is not good enough."""
    wider = {"int8": "fp16", "fp16": "fp32"}.get(weights)
    return f"export with --weights {wider}" if wider else "check that the source's weights are not damaged"
