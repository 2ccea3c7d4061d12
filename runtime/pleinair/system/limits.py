"""How much memory this process may still take: what the system has left, and what a group or a ulimit allows."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60  # bytes; version 1 of cgroups writes a number like this where there is no limit
CACHED = re.compile(r"^(?:total_)?(?:active|inactive)_file (\d+)$", re.M)  # pages of files, which can be taken back


@dataclass(frozen=True)
class Room:
    """Bytes that this process may still take; None where nothing tells.

    Of the memory, pages of files that the system can take back count as left. `address_space`, which `ulimit -v`
    limits, is taken by mapped files and reserved blocks as well.
    """

    memory: int | None
    address_space: int | None = None


def room_left() -> Room:
    """What is left now."""
    if sys.platform == "win32":
        return Room(_windows_left())
    found = [int(kb) * 1024 for kb in re.findall(r"^MemAvailable:\s*(\d+) kB", _text(PROC / "meminfo"), re.M)]
    status = _text(PROC / "self/status")
    data, space = (_under_ulimit(name, field, status) for name, field in (("DATA", "VmData"), ("AS", "VmSize")))
    found += [*_under_groups(), *([] if data is None else [data])]
    return Room(max(0, min(found)) if found else None, space)


def memory_left() -> int | None:
    """Bytes that this process can still have without swapping; None where the system does not say."""
    return room_left().memory


def _under_groups() -> Iterator[int]:
    """What each memory cgroup that this process is in, of either version, leaves of its limit."""
    for line in _text(PROC / "self/cgroup").splitlines():
        number, kinds, path = (line.split(":", 2) + ["", ""])[:3]
        if number == "0":
            root, limit, used = GROUPS, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            root, limit, used = GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        here = root / path.lstrip("/")
        for folder in (here, *here.parents):  # in a container the path can be that outside it, and the root is ours
            if folder.is_relative_to(root):
                yield from _left_in(folder, limit, used)


def _left_in(folder: Path, limit: str, used: str) -> Iterator[int]:
    most, taken = _text(folder / limit).strip(), _text(folder / used).strip()
    if most.isdigit() and taken.isdigit() and int(most) < NO_LIMIT:
        stat = _text(folder / "memory.stat")
        totals = "total_inactive_file" in stat  # version 1 says those of a group alone, too
        cached = sum(int(each[1]) for each in CACHED.finditer(stat) if each[0].startswith("total_") == totals)
        yield int(most) - max(0, int(taken) - cached)


def _under_ulimit(name: str, field: str, status: str) -> int | None:
    """What a soft limit leaves of what this process holds by a field of its /proc/self/status."""
    import resource

    soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    held = re.search(rf"^{field}:\s*(\d+) kB", status, re.M)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(0, soft - (int(held[1]) * 1024 if held else 0))


def _windows_left() -> int:
    import ctypes

    numbers = (ctypes.c_ulonglong * 8)()
    ctypes.cast(numbers, ctypes.POINTER(ctypes.c_ulong))[0] = ctypes.sizeof(numbers)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(numbers))
    return numbers[2]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
