"""500 requests of all kinds and all interfaces with faults between them, and what is left of them.

    python tests/serve/soak.py [REQUESTS]

Clients that leave, painting processes that are killed, jobs that are cancelled, a full queue, hostile bodies, a full
disk, a clock that jumps and, in the middle, a restart and a server that is killed. Every accepted job must end, and the
server's memory and open files must not grow: the last line says so, and the exit code. An answer that no fault excuses
is shown with the server's lines about it. Linux; it takes some minutes.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "helpers"
sys.path[:0] = [str(HELPERS)]

from askers import Asker  # noqa: E402
from bundles import light_upscaler  # noqa: E402
from faults import Clock, full_disk  # noqa: E402
from serving import running  # noqa: E402
from sketch import sketch  # noqa: E402

CLIENTS = 4
SLACK_MB, SLACK_FILES = 20, 8
PAUSE_S = 0.05  # between two looks at /health
OVER = ("done", "failed", "cancelled", 410)  # 410: before the restart, with which its pictures went


def requests(asker, count):
    """Ask this often, as several clients do."""
    turn, left = threading.Lock(), iter(range(count))

    def client():
        while True:
            with turn:
                if next(left, None) is None:
                    return
            asker.ask()

    together([client] * CLIENTS)


def together(works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rest(asker):
    """Wait until nothing is left to do; what became of what was accepted."""
    queue = {"length": 1}
    while queue["length"] or queue["running"]:
        time.sleep(0.1)
        queue = asker.server.ask("/api/v1/capabilities")[1]["queue"]
    found = [asker.server.ask(f"/api/v1/jobs/{id}") for id in asker.accepted]
    asker.accepted = []
    for _, job in found:
        if job["error"] and job["error"]["code"] == "internal":
            asker.breaks("job internal", json.dumps(job))
    return Counter(job["status"] if status == 200 else status for status, job in found)


class Log:
    """What servers write into a pipe, `file`, by lines: a disk that is full takes none of them."""

    def __init__(self, file):
        os.mkfifo(file)
        self.file, self._lines = file, []
        self._end = os.open(file, os.O_RDWR)  # so that it does not end with a server
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self):
        """Those so far."""
        return self._lines[:]

    def _read(self):
        with self.file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                self._lines.append(line.rstrip())


def held(server):
    """MB of memory and open files of the server alone."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return memory / 1024, len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


class Health:
    """How long /health takes, in milliseconds, all the while."""

    def __init__(self, asker):
        self._asker, self._over, self.taken = asker, threading.Event(), []
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(PAUSE_S):
            since = time.perf_counter()
            assert self._asker.server.ask("/health")[0] == 200
            self.taken.append(1000 * (time.perf_counter() - since))

    def at(self, share):
        return sorted(self.taken)[min(len(self.taken) - 1, int(share * len(self.taken)))]


def main(count):
    """Ask this often, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return soaked(count, Path(folder))


def soaked(count, folder):
    model, log, became, taken, holding = sketch(folder / "sketch"), Log(folder / "log"), {}, [], []
    (folder / "models").mkdir()
    light_upscaler(folder / "models" / "twice")  # whose graph no engine opens
    clock = Clock(folder)
    flags = ("--model", model, "--engine", "onnx", "--threads", 1, "--max-queue", 8, "--grace", 0.5)
    asker = Asker(None, clock, full_disk, random.Random(1), log.lines)

    def life(name, requests_in_it, ending):
        """One server: a quarter of the requests to warm up, the rest, and jobs that wait when it ends."""
        with running(folder, log.file, *flags, **clock.environment) as server:
            asker.server = server
            became[f"{name} taken up"] = rest(asker)
            with Health(asker) as health:
                requests(asker, requests_in_it // 4)
                became[f"{name} first"], before = rest(asker), held(server)
                requests(asker, requests_in_it - requests_in_it // 4)
                became[f"{name} later"], after = rest(asker), held(server)
            taken.append(health)
            holding.append((before, after))
            for _ in range(6):
                asker.job(steps=50)
            server.end(ending)

    life("1", count // 2, signal.SIGTERM)
    life("2", count - count // 2, signal.SIGKILL)
    with running(folder, log.file, *flags) as server:
        asker.server = server
        became["3 taken up"] = rest(asker)
    for kind, number in sorted(asker.asked.items()):
        print(f"{number:5}  {kind}")
    for name, found in became.items():
        print(f"{name:12}", ", ".join(f"{kind} {number}" for kind, number in sorted(found.items(), key=str)))
    for before, after in holding:
        print(f"memory {before[0]:.1f} MB, then {after[0]:.1f}; open files {before[1]}, then {after[1]}")
    for health in taken:
        told = (len(health.taken), *(health.at(share) for share in (0.5, 0.99, 1)))
        print("/health {} times: median {:.1f} ms, 99 % within {:.1f}, longest {:.1f}".format(*told))
    return judged(asker.asked, asker.broken, became, holding)


def judged(asked, broken, became, holding):
    """The exit code, and why."""
    lost = sum(number for found in became.values() for kind, number in found.items() if kind not in OVER)
    flat = all(b[0] - a[0] < SLACK_MB and b[1] - a[1] < SLACK_FILES for a, b in holding)
    for each in broken:
        print(each)
    fine = flat and not lost and not broken
    accepted = sum(number for found in became.values() for number in found.values())
    full = [sum(number for kind, number in asked.items() if word in kind) for word in ("queue_full", "journal_full")]
    print("{} met a full queue, {} a full disk".format(*full))
    print(f"{accepted} accepted, {lost} lost, {len(broken)} answers broken:", "fine" if fine else "NOT FINE")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
