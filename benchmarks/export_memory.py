"""Prove that a real-size export stays within a limit of memory: random weights, both formats, every graph compared.

    python benchmarks/export_memory.py sd15 6e9 WORK         # bytes; 6 GB of disk in WORK, half an hour on two cores
    python benchmarks/export_memory.py sdxl 17GiB WORK       # 20 GB of disk, an hour or two

WORK/MODEL is made by `random_model.py` where it is not there; the bundle is removed again. The export and all that it
starts run in a memory cgroup of that limit where one can be made (Linux, as root), which counts cached pages of files
too; where none can, whatever holds more anonymous memory, all processes together, is killed. Prints one line of JSON,
and ends with 0 where the export was accepted.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, sleep

EVERY_S = 0.1
KB = 1 << 10
UNITS = {"": 1, "GB": 10**9, "GiB": 1 << 30}
CGROUPS = {  # of either version: where groups are made, and the file of one that has its limit
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}


@dataclass
class Memory:
    """The most that was held at once, in bytes."""

    anonymous: int = 0  # of all processes together
    largest: int = 0  # of one of them
    resident: int = 0  # of one of them, with the pages of files that it has mapped

    def note(self, processes: list[tuple[int, int]]) -> None:
        """Take in what processes hold now: (anonymous, resident) of each."""
        self.anonymous = max(self.anonymous, sum(anonymous for anonymous, _ in processes))
        self.largest = max(self.largest, *(anonymous for anonymous, _ in processes))
        self.resident = max(self.resident, *(resident for _, resident in processes))


@dataclass(frozen=True)
class Outcome:
    """How a command fared."""

    code: int
    held_by: str  # what would have stopped it: "cgroup" or "watch"
    seconds: float
    most: Memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("limit", type=in_bytes, help="such as 6e9, 6GB or 17GiB")
    parser.add_argument("work", type=Path)
    asked = parser.parse_args()
    source, bundle = asked.work / asked.model, asked.work / f"{asked.model}-bundle"
    if not source.exists():
        script = Path(__file__).with_name("random_model.py")
        subprocess.run([sys.executable, str(script), asked.model, str(source)], check=True)
    formats = ("--format", "both", "--weights", "fp16", "--force")
    command = [sys.executable, "-m", "pleinair", "export", str(source), str(bundle), *formats]
    try:
        outcome = limited(command, asked.limit)
    finally:
        shutil.rmtree(bundle, ignore_errors=True)
    print(json.dumps({"model": asked.model, "limit": asked.limit, **asdict(outcome)}))
    return outcome.code


def in_bytes(text: str) -> int:
    """'6e9', '6GB' or '17GiB' as a number."""
    number, unit = re.fullmatch(r"([\d.]+(?:e\d+)?)(\D*)", text).groups()
    return int(float(number) * UNITS[unit])


def limited(command: list[str], limit: int) -> Outcome:
    """Run a command, which is killed with all that it has started where these together hold more than `limit` bytes."""
    started, most = perf_counter(), Memory()
    with cgroup(limit) as group:
        inside = f"echo $$ > '{group}/cgroup.procs' && " if group else ""
        shell = ["sh", "-c", f'{inside}exec "$@"', "sh", *command]
        with subprocess.Popen(shell, start_new_session=True) as process:
            try:
                while process.poll() is None and most.anonymous <= limit:
                    most.note([held(each) for each in family(process.pid)])
                    sleep(EVERY_S)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    held_by = "cgroup" if group else "watch"
    return Outcome(process.returncode, held_by, round(perf_counter() - started, 1), most)


@contextmanager
def cgroup(limit: int) -> Iterator[Path | None]:
    """A memory cgroup of its own, or None where this process may not make one."""
    group = next(filter(None, (made_group(root, file, limit) for root, file in CGROUPS.items())), None)
    try:
        yield group
    finally:
        while group and read(group / "cgroup.procs"):  # what was killed takes a while to give its memory back
            sleep(EVERY_S)
        if group:
            group.rmdir()


def made_group(root: Path, file: str, limit: int) -> Path | None:
    try:
        group = Path(tempfile.mkdtemp(prefix="pleinair-", dir=root))
    except OSError:
        return None
    try:
        if not (group / file).exists():
            raise OSError(file)
        (group / file).write_text(str(limit), encoding="ascii")
    except OSError:
        group.rmdir()
        return None
    return group


def family(root: int) -> list[int]:
    """A process and all that came of it, by the parents that /proc names."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with_parent = read(stat).rpartition(")")[2].split()
        if with_parent:
            children.setdefault(int(with_parent[1]), []).append(int(stat.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def held(process: int) -> tuple[int, int]:
    """Anonymous and resident bytes of a process; nothing of one that has ended."""
    status = read(Path(f"/proc/{process}/status"))
    sizes = dict(re.findall(r"^(RssAnon|VmRSS):\s*(\d+) kB", status, re.M))
    return int(sizes.get("RssAnon", 0)) * KB, int(sizes.get("VmRSS", 0)) * KB


def read(file: Path) -> str:
    """A file of /proc, empty where its process has ended."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
