"""One peer paints a picture in a process of its own: a job as JSON on stdin, what came out as JSON on stdout.

Runs in the peer's environment, which need not have pleinair: standard library, NumPy and the peer, nothing else. All
are given the same start noise and DDIM, so that those that follow diffusers paint the same picture.
stable-diffusion.cpp takes no noise from outside; it gets Euler and its own. LCM takes more noise than the start's, of
which each draws its own.
"""

import importlib.util
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

STARTED = perf_counter()


def main() -> None:
    """Do the job on stdin; libraries may print what they like, stdout stays clean."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.modules["openvino_telemetry"] = None  # its import fails, and openvino reports nothing
    job = json.load(sys.stdin)
    try:
        found = {"status": "ok"} | painted(job)
    except MemoryError as error:
        found = {"status": "out of memory", "reason": str(error) or "out of memory"}
    except Exception as error:  # one peer's failure is its row
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = {"status": "failed", "reason": f"{type(error).__name__}: {(lines or [''])[-1][:200]}"}
    json.dump(found, answer)
    answer.close()


def painted(job: dict[str, Any]) -> dict[str, Any]:
    """Samples in seconds by stage.

    `total` and `first_step` are from the start of the process, to the picture and to the end of its first step; `load`
    is all that was loaded meanwhile, `picture` the picture without that, and `step` each step after the first.
    """
    memory = beside("anonymous").Watch()
    begun = job["spawned"] if 0 <= STARTED - job["spawned"] < 60 else STARTED
    peer = beside("peer_painters").PEERS[job["peer"]]
    paint, told = peer.make(job)
    ready, marks = perf_counter(), []
    own = process_time()
    made = paint(marks)
    end = perf_counter()
    spent = process_time() - own
    decode = made.decode_s if made.decode_s is not None else end - marks[-1] if marks else None
    samples = {
        "total": [end - begun],
        "load": [ready - begun + made.load_s],
        "picture": [end - ready - made.load_s],
        "first_step": [marks[0] - begun] if marks else [],
        "step": [after - before for before, after in zip(marks, marks[1:], strict=False)],
        "decode": [decode] if decode is not None else [],
    }
    np.save(job["picture"], np.asarray(made.pixels, np.float32))
    anonymous = memory.peak_mb()
    return {
        "samples": samples,
        "version": installed_version(peer.package),
        "build": beside("peer_builds").BUILDS[peer.library](),
        "cpu_s": spent,
        "peak_rss_mb": peak_rss_mb(),
        "peak_anonymous_mb": None if anonymous is None else round(anonymous, 1),
        "precision": told(),
    }


def beside(name: str) -> Any:
    """A module of this folder, which is no package where a peer lives."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:  # a package without metadata
        return None


def peak_rss_mb() -> float | None:
    """The most memory this process has held, in MB of 2^20 bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10, 1)
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
    except (OSError, ImportError):
        return None


if __name__ == "__main__":
    main()
