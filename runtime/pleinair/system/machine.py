"""What this machine is and what runs on it, for `pleinair doctor` and for peak memory."""

import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from pleinair.engines.engine import Engine, engine_named, installed
from pleinair.engines.precision import F32, FASTEST
from pleinair.errors import EngineError
from pleinair.system import install
from pleinair.version import __version__

INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni",
                    "amx_int8", "amx_bf16", "neon", "asimd", "asimddp", "i8mm", "bf16", "sve")  # fmt: skip
EXPORT = ("torch", "diffusers", "transformers", "safetensors", "onnx", "onnxruntime", "openvino_tokenizers", "nncf")
PARTS = {  # what for -> (the modules it needs, the line that installs them)
    "OpenVINO engine": (("openvino",), "pip install openvino"),
    "ONNX Runtime engine": (("onnxruntime",), "pip install onnxruntime"),
    "model export": (EXPORT, install.line("export")),
    "MP4 films": (("av",), "pip install av"),
}
NEWEST_PYTHON = {"model export": (3, 13)}  # torch's script tracer ends with 3.14


def missing(modules: tuple[str, ...]) -> list[str]:
    """Those of the modules that are not installed, without importing any."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def need(purpose: str) -> None:
    """Raise EngineError with the line that installs what `purpose` lacks."""
    modules, line = PARTS[purpose]
    newest = NEWEST_PYTHON.get(purpose, sys.version_info)
    if sys.version_info[:2] > newest:
        raise EngineError(f"{purpose} needs Python {newest[0]}.{newest[1]} or older; install pleinair there")
    if absent := missing(modules):
        raise EngineError(f"{purpose} needs {', '.join(absent)}, not installed; install with: {line}")


def peak_rss_mb() -> float:
    """The most memory this process has held at once, in MB of 2^20 bytes."""
    if sys.platform == "win32":
        return _windows_peak() / 2**20
    if match := re.search(r"^VmHWM:\s*(\d+) kB", _read("/proc/self/status"), re.M):
        return int(match[1]) / 2**10  # getrusage counts what the parent held before exec, too
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def report() -> dict[str, Any]:
    """CPU, memory, engines with their versions and devices, and what is missing with the line that installs it."""
    engines: dict[str, Any] = {}
    for name in ("openvino", "onnx"):
        if installed(name):
            try:
                engine = engine_named(name)
                engines[name] = {"version": engine.version, "devices": engine.devices(), **computing(engine)}
            except EngineError as error:
                engines[name] = {"error": str(error)}
    return {
        "pleinair": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "instruction_sets": instruction_sets(),
        "memory_gb": round(memory_bytes() / 2**30, 1),
        "engines": engines,
        "missing": {purpose: line for purpose, (modules, line) in PARTS.items() if missing(modules)},
    }


def computing(engine: Engine) -> dict[str, str]:
    """What `--precision auto` means for an engine on the CPU, and why."""
    offered = engine.offered(None)
    row = next((row for (device, kind), row in FASTEST.items() if device == "CPU" and kind in offered), {})
    if engine.name == "openvino" and row:
        parts = ", ".join(f"{part} in {kind}" for part, kind in row.items())
        return {"precision": f"{parts}, text in {F32}: this CPU computes in {' and '.join(offered)}"}
    faster = [kind for kind in offered if kind != F32]
    why = f"nobody has measured {' and '.join(faster)} yet" if faster else "it is all that is offered here"
    return {"precision": f"{F32}: {why}"}


def cpu_name() -> str:
    if sys.platform == "linux":
        match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.M)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores this process may run on, which a container or taskset can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_sets() -> list[str]:
    """Vector instruction sets that matter to the engines, where the system tells (Linux); empty elsewhere."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.M)
    flags = set(match[1].split()) if match else set()
    return [name for name in INSTRUCTION_SETS if name in flags]


def memory_bytes() -> int:
    """Physical memory, or 0 where the system does not say."""
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong) for name in ("total", "free", "page", "page_free", "virtual", "vfree", "ext")
            ]

        status = Status(length=ctypes.sizeof(Status))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.total
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def memory_left() -> int | None:
    """Bytes that this process can still have without swapping; None where the system does not say."""
    if sys.platform == "win32":
        import ctypes

        numbers = (ctypes.c_ulonglong * 8)()
        ctypes.cast(numbers, ctypes.POINTER(ctypes.c_ulong))[0] = ctypes.sizeof(numbers)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(numbers))
        return numbers[2]
    free = [int(kb) * 1024 for kb in re.findall(r"^MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"), re.M)]
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free.append(int(limit) - int(used))
    return min(free, default=None)


def _windows_peak() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = [("size", wintypes.DWORD), ("faults", wintypes.DWORD)] + [
            (name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "pagefile", "peak_pagefile")
        ]

    counters = Counters(size=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo.argtypes = [wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD]
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size)
    return counters.peak


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
