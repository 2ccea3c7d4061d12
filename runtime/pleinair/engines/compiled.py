"""Networks as earlier processes compiled them, kept in a folder of pleinair's own.

Reading one takes half as long as compiling it. A file that is damaged, or that cannot be written, is as one that is not
there.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pleinair.bundle.typed import build
from pleinair.errors import BundleError
from pleinair.system.files import read_file
from pleinair.system.home import home
from pleinair.system.machine import cpu_name, instruction_sets, usable_cores

SMALLEST, LARGEST = 4 << 20, 256 << 20  # bytes of graphs that take long to compile, and not much longer to paint
MOST = 512 << 20  # bytes of all files; those used last stay
LONGEST_HEAD = 1 << 16


@dataclass(frozen=True)
class KeptNetwork:
    """A compiled network as its engine writes it, with its outputs by name, and how many tokens it knows."""

    outputs: tuple[str, ...]
    tokens: int | None
    sha256: str
    content: bytes = b""


def folder() -> Path:
    """Where they are kept."""
    return home() / "compiled"


def pays(size: int) -> bool:
    """Whether a graph of so many bytes is worth keeping."""
    return SMALLEST <= size <= LARGEST


def key(**facts: Any) -> str:
    """The name of what was compiled of these facts on this machine."""
    machine = (cpu_name(), instruction_sets(), usable_cores(), os.environ.get("ONEDNN_MAX_CPU_ISA"))
    return hashlib.sha256(json.dumps([facts, machine], sort_keys=True, default=str).encode()).hexdigest()


def found(name: str) -> KeptNetwork | None:
    """What was kept under a name, which counts as used now."""
    file = folder() / name
    try:
        head, _, content = read_file(file, LARGEST + LONGEST_HEAD, BundleError, "").partition(b"\n")
        kept = build(KeptNetwork, {**json.loads(head[:LONGEST_HEAD]), "content": content}, name)
    except (BundleError, ValueError, TypeError):
        return None
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    return kept


def keep(name: str, outputs: tuple[str, ...], tokens: int | None, content: bytes) -> None:
    """Keep a compiled network, and no more than MOST bytes of all."""
    facts = asdict(KeptNetwork(outputs, tokens, hashlib.sha256(content).hexdigest()))
    del facts["content"]
    part = folder() / f"{name}.{os.getpid()}"
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(json.dumps(facts).encode() + b"\n" + content)
            part.replace(folder() / name)
        finally:
            part.unlink(missing_ok=True)
        prune()


def prune() -> None:
    """Remove the files that were used longest ago, until MOST bytes are left."""
    files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder().iterdir())
    left = sum(size for _, size, _ in files)
    for _, size, file in files:
        if left <= MOST:
            return
        file.unlink(missing_ok=True)
        left -= size
