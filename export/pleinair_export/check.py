"""The fidelity gate: every graph, read back from disk, must answer like torch does."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pleinair.bundle import Fidelity
from pleinair.errors import QualityError
from pleinair_export.graphs import Arrays
from pleinair_export.quiet import quiet

GATES_DB = {"fp32": 60.0, "fp16": 50.0, "int8": 35.0}
CEILING_DB = 200.0  # what equal arrays are given, because JSON has no infinity


def psnr(expected: np.ndarray, actual: np.ndarray) -> float:
    """10 log10(peak^2 / mean squared error) in dB, where peak is max(expected) - min(expected).

    -200 dB for another shape or a number that is not finite, 200 dB at most.
    """
    if expected.shape != actual.shape or not np.isfinite(actual).all():
        return -CEILING_DB
    error = np.mean((expected.astype(np.float64) - actual) ** 2)
    peak = float(np.ptp(expected)) or 1.0
    return float(10 * np.log10(peak**2 / max(error, peak**2 * 10 ** (-CEILING_DB / 10))))


def measure(path: Path, form: str, weights: str, cases: list[Arrays], expected: list[Arrays]) -> Fidelity:
    """Open a graph file, run `cases` in float32 on the CPU, and compare with what torch answered."""
    run = (open_openvino if form == "openvino" else open_onnx)(path)
    return fidelity(weights, expected, map(run, cases))


def fidelity(weights: str, expected: Iterable[Arrays], actual: Iterable[Arrays]) -> Fidelity:
    """The worst PSNR over all cases and all outputs, beside the gate for these weights."""
    pairs = zip(expected, actual, strict=True)
    worst = min(psnr(want[name], got[name]) for want, got in pairs for name in want)
    return Fidelity(round(worst, 2), GATES_DB[weights])


def require(graph: str, form: str, weights: str, measured: Fidelity) -> None:
    """Raise QualityError, naming the graph, when it is below its gate."""
    if measured.psnr_db < measured.gate_db:
        wider = {"int8": "fp16", "fp16": "fp32"}.get(weights)
        remedy = f"export with --weights {wider}" if wider else "check that the source's weights are not damaged"
        raise QualityError(
            f"{graph} ({form}, {weights}) is {measured.psnr_db:.1f} dB from torch and the gate is"
            f" {measured.gate_db:.0f} dB; nothing was written: {remedy}"
        )


def open_openvino(path: Path) -> Callable[[Arrays], Arrays]:
    """Compile as the runtime does; INFERENCE_PRECISION_HINT f32, so that a CPU with bf16 measures the same."""
    with quiet():
        import openvino

        from pleinair.engines.openvino import widen_timestep

        core = openvino.Core()
        model = core.read_model(path)
        widen_timestep(model)
        names = [port.get_any_name() for port in model.outputs]  # compiling may add others
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(case: Arrays) -> Arrays:
        return dict(zip(names, compiled(case).values(), strict=True))

    return run


def open_onnx(path: Path) -> Callable[[Arrays], Arrays]:
    """Open with ONNX Runtime on the CPU, as it comes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(case: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, case), strict=True))

    return run
