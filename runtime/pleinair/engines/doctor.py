"""What this machine is and what runs on it, for `pleinair doctor`."""

import platform
from typing import Any

from pleinair.engines.engine import Engine, engine_named, installed
from pleinair.engines.int8.cpu import form_here
from pleinair.engines.int8.forms import WORDS
from pleinair.engines.precision import F32, FASTEST
from pleinair.errors import EngineError
from pleinair.system import install
from pleinair.system.machine import cpu_name, instruction_sets, memory_bytes, usable_cores
from pleinair.version import __version__


def diagnosis() -> dict[str, Any]:
    """CPU, memory, engines with their versions and devices, and what is missing with the line that installs it."""
    engines: dict[str, Any] = {}
    for name in ("openvino", "onnx"):
        if installed(name):
            try:
                engine = engine_named(name)
                names = {device: called for device, called in engine.device_names().items() if called}
                devices = {"devices": engine.devices()} | ({"names": names} if names else {})
                engines[name] = {"version": engine.version, **devices, **computing(engine)}
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
        "missing": {purpose: line for purpose, (modules, line) in install.PARTS.items() if install.missing(modules)},
    }


def computing(engine: Engine) -> dict[str, str]:
    """What `--precision auto` and `--int8 auto` mean for an engine on the CPU, and why."""
    return {"precision": precision_here(engine), "int8": int8_here(engine)}


def int8_here(engine: Engine) -> str:
    """How an engine computes W8A8 graphs on this CPU, and why."""
    if engine.name != "openvino":
        return "W8A8 graphs as they are stored"
    form, why = form_here()
    return f"W8A8 graphs {WORDS[form]}: {why}"


def precision_here(engine: Engine) -> str:
    """What an engine computes in on the CPU, and why."""
    offered = engine.offered(None)
    row = next((row for (device, kind), row in FASTEST.items() if device == "CPU" and kind in offered), {})
    if engine.name == "openvino" and row:
        parts = ", ".join(f"{part} in {kind}" for part, kind in row.items())
        return f"{parts}, text in {F32}: this CPU computes in {' and '.join(offered)}"
    faster = [kind for kind in offered if kind != F32]
    why = f"nobody has measured {' and '.join(faster)} yet" if faster else "it is all that is offered here"
    return f"{F32}: {why}"
