"""500 requests of all kinds with faults between them, and what is left of them.

    python tests/serve/soak.py [REQUESTS]

Clients that leave, painting processes that are killed, jobs that are cancelled, a full queue, hostile bodies and, in
the middle, a restart of the server. Every accepted job must end, and the server's memory and open files must not grow:
the last line says so, and the exit code. It takes some minutes.
"""

import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "helpers"
sys.path[:0] = [str(HELPERS)]

from serving import running  # noqa: E402
from sketch import sketch  # noqa: E402

CLIENTS = 4
SLACK_MB, SLACK_FILES = 20, 8
ENDED = ("done", "failed", "cancelled", 410)  # 410: before the restart, with which its pictures went
HOSTILE = [
    b"{",
    b"[" * 1000,
    b'{"prompt": "x", "model": "../x"}',
    b'{"image": "/etc/passwd"}',
    b'{"steps": -1}',
    b"\xff",
]


class Soak:
    """A server, what was asked of it, and what came of that."""

    def __init__(self, server, seed):
        self.server, self.random = server, random.Random(seed)
        self.asked, self.accepted = Counter(), []

    def requests(self, count):
        """Ask as several clients do."""
        turn = threading.Lock()
        left = [count]

        def client():
            while True:
                with turn:
                    if not left[0]:
                        return
                    left[0] -= 1
                    kind = self.random.choice(
                        (self.job, self.job, self.waiting, self.leave, self.cancel, self.crash, self.hostile)
                    )
                try:
                    kind()
                except (OSError, ValueError) as error:
                    self.asked[f"{kind.__name__}: {type(error).__name__}"] += 1

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def job(self, **body):
        status, found = self.server.ask("/api/v1/jobs", {"prompt": "a house", "size": "64x64", "steps": 2, **body})
        self.asked[f"job: {status}"] += 1
        if status == 429:
            time.sleep(0.2)
        if status != 202:
            return None
        self.accepted.append(found["id"])
        return found["id"]

    def waiting(self):
        status, _ = self.server.ask("/api/v1/jobs?wait=true", {"prompt": "a boat", "size": "64x64", "steps": 2})
        self.asked[f"waiting: {status}"] += 1

    def leave(self):
        body = json.dumps({"prompt": "a house", "size": "512x512", "steps": 200, "sampler": "euler"}).encode()
        head = f"POST /api/v1/jobs?wait=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            time.sleep(self.random.uniform(0, 0.3))
        self.asked["leave"] += 1

    def cancel(self):
        if id := self.job(steps=200, size="256x256", sampler="euler"):
            status, _ = self.server.ask(f"/api/v1/jobs/{id}/cancel", {})
            self.asked[f"cancel: {status}"] += 1

    def crash(self):
        if self.random.random() < 0.2 and (found := self.server.painting):
            os.kill(found[0], signal.SIGKILL)
            self.asked["crash"] += 1

    def hostile(self):
        body = self.random.choice(HOSTILE)
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            self.asked[f"hostile: {client.makefile('rb').readline().split()[1].decode()}"] += 1

    def rest(self):
        """Wait until nothing is left to do; what became of what was accepted."""
        while sum(self.server.ask("/api/v1/capabilities")[1]["queue"][name] for name in ("length", "running")):
            time.sleep(0.1)
        found = [self.server.ask(f"/api/v1/jobs/{id}") for id in self.accepted]
        return Counter(job["status"] if status == 200 else status for status, job in found)


def held(server):
    """MB of memory and open files of the server alone."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return memory / 1024, len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def main(count):
    """Ask this often, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return soaked(count, Path(folder))


def soaked(count, folder):
    model, log = sketch(folder / "sketch"), folder / "log"
    flags = ("--model", model, "--engine", "onnx", "--threads", 1, "--max-queue", 8, "--grace", 0.5)
    with running(folder, log, *flags) as server:
        soak = Soak(server, 1)
        soak.requests(count // 4)
        first = soak.rest()
        before = held(server)
        soak.accepted = []
        soak.requests(count // 2 - count // 4)
        left = soak.rest()
        after = held(server)
        soak.accepted = [id for id in (soak.job(steps=50) for _ in range(6)) if id]
        server.end()
    with running(folder, log, *flags) as server:
        soak.server, restarted = server, len(soak.accepted)
        survived = soak.rest()
        soak.accepted = []
        soak.requests(count - count // 2)
        last = soak.rest()
    for name, value in {"asked": soak.asked, "first": first, "second": left, "restart": survived, "last": last}.items():
        print(f"{name:8}", ", ".join(f"{kind} {number}" for kind, number in sorted(value.items(), key=str)))
    print(f"memory   {before[0]:.0f} MB, then {after[0]:.0f}; open files {before[1]}, then {after[1]}")
    lost = sum(
        number for counted in (first, left, survived, last) for kind, number in counted.items() if kind not in ENDED
    )
    flat = after[0] - before[0] < SLACK_MB and after[1] - before[1] < SLACK_FILES
    fine = (
        flat
        and not lost
        and not any(" 5" in kind and "503" not in kind for kind in soak.asked if "waiting" not in kind)
    )
    print(f"{restarted} jobs outlived the restart, {lost} were lost:", "fine" if fine else "NOT FINE")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
