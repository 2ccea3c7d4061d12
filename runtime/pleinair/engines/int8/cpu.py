"""Which vector instructions this CPU has, on every system."""

import os

from pleinair.engines.int8.forms import AUTO, FORBIDDEN, ChosenForm, chosen_form
from pleinair.system.machine import instruction_sets

NUMPY_NAMES = {"SSE42": "sse4_2", "AVX2": "avx2", "AVX512F": "avx512f", "AVX512_CLX": "avx512_vnni"}


def form_here(asked: str = AUTO) -> ChosenForm:
    """The form that a W8A8 graph takes on this CPU, as far as OpenVINO may use what it has."""
    return chosen_form(asked, cpu_flags(), os.environ.get("ONEDNN_MAX_CPU_ISA", ""))


def flags_in_use() -> set[str]:
    """What of this CPU OpenVINO may use."""
    return {*cpu_flags()}.difference(FORBIDDEN.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), ()))


def avx512_forbidden() -> bool:
    """Whether this CPU has AVX-512 and OpenVINO is told not to use it."""
    return "avx512f" in {*cpu_flags()} - flags_in_use()


def cpu_flags() -> list[str]:
    """As /proc/cpuinfo calls them; where there is none, what NumPy has found, which knows nothing of AVX-VNNI."""
    return instruction_sets() or [flag for name, flag in NUMPY_NAMES.items() if numpy_features().get(name)]


def numpy_features() -> dict[str, bool]:
    """What NumPy has found when it was imported, by its own names."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:  # before NumPy 2
        from numpy.core._multiarray_umath import __cpu_features__ as features
    return features
