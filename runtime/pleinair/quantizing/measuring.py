"""How near a quantized graph is to the one that it was made of."""

from collections.abc import Iterable

import numpy as np

from pleinair.bundle.manifest import Fidelity
from pleinair.bundle.opening import Bundle
from pleinair.engines.graphs import open_graph
from pleinair.errors import QualityError
from pleinair.quantizing.watching import Call

GATE_DB = 30.0
CEILING_DB = 200.0  # what equal arrays are given


def measured(bundle: Bundle, graph: str, form: str, calls: Iterable[Call]) -> Fidelity:
    """The worst PSNR of a graph's answers to calls, against what the wide graph said to them in float32."""
    opened = open_graph(bundle, graph, form, "cpu", max_shapes=1)
    worst = CEILING_DB
    for call in calls:
        answers = opened(**call.inputs)
        worst = min(worst, *(psnr(own, answers[name]) for name, own in call.outputs.items()))
    return Fidelity(round(worst, 2), GATE_DB)


def psnr(expected: np.ndarray, actual: np.ndarray) -> float:
    """10 log10(peak^2 / mean squared error) in dB, where peak is max(expected) - min(expected); 200 at most."""
    error = float(np.mean((expected.astype(np.float64) - actual) ** 2))
    peak = float(np.ptp(expected)) or 1.0
    if not np.isfinite(error):
        return -CEILING_DB
    return float(10 * np.log10(peak**2 / max(error, peak**2 * 10 ** (-CEILING_DB / 10))))


def require(graph: str, form: str, found: Fidelity) -> None:
    """Raise QualityError for a graph below its gate."""
    if found.psnr_db < found.gate_db:
        raise QualityError(
            f"{graph} ({form}, w8a8) is {found.psnr_db:.1f} dB from what it was and the gate is {found.gate_db:.0f} dB;"
            " nothing was written: keep more layers wide with a larger --wide"
        )
