"""A server with the page and the shapes of /api/v1; its pictures are shapes, and its steps take as long as a test says.

What a prompt says decides what happens: "fails" fails, "waits" stays in the queue until it is cancelled.
"""

import base64
import gzip
import io
import json
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageDraw, PngImagePlugin

import pleinair
from pleinair.request.options import OPTIONS
from pleinair.sampling.samplers import SAMPLERS
from pleinair.serve.guards import CONTENT

PAGE = Path(pleinair.__file__).parent / "serve" / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STEPS = 4


class Fake(ThreadingHTTPServer):
    """The server and what it has been told; `pace` is in seconds a step; while it is `held`, no job gets past two."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.pace, self.held = 0.01, False
        self.jobs: dict[str, Job] = {}
        self.asked: list[dict[str, Any]] = []
        self.memory = {"free": 9 << 30, "total": 16 << 30}
        self.queue = {"length": 0, "expected_wait_s": None}
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, address) -> None:
        """A browser that goes away is no error."""

    def stop(self) -> None:
        """As a server that is killed: nothing is answered any more, and its jobs are gone."""
        for job in self.jobs.values():
            job.cut = True
        self.shutdown()
        self.server_close()


class Job:
    """One job, whose events are made as it is painted in a thread of its own."""

    def __init__(self, number: int, order: dict[str, Any], fake: Fake) -> None:
        self.id, self.order, self.fake = f"job{number}-{id(fake):x}", order, fake
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pictures: list[tuple[bytes, int | None]] = []
        self.status, self.cancelled, self.cut = "queued", False, False
        threading.Thread(target=self.paint, daemon=True).start()

    def tell(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))

    def paint(self) -> None:
        prompt = self.order.get("prompt", "")
        self.tell("queued", position=3 if "waits" in prompt else 0, expected_wait_s=240 if "waits" in prompt else 0)
        while "waits" in prompt and not self.cancelled:
            time.sleep(0.01)
        self.tell("loading", what="unet")
        seed = self.order.get("seed", 41)
        count = self.order.get("frames", self.order.get("count", 1))
        seeds = seed if isinstance(seed, list) else [seed + k for k in range(count)]
        steps = self.order.get("steps", STEPS)
        for each in seeds:
            for step in range(1, steps + 1):
                if self.cancelled:
                    self.status = "cancelled"
                    return self.tell("cancelled")
                time.sleep(self.fake.pace)
                while self.fake.held and step > 2 and not self.cancelled:
                    time.sleep(0.01)
                self.status = "painting"
                rough = base64.b64encode(painted(each, 16, 16, step, "JPEG")).decode()
                left = (steps - step) * self.fake.pace
                self.tell("step", step=step, steps=steps, eta_s=left, preview=rough)
            if "fails" in prompt:
                self.status = "failed"
                error = {
                    "code": "no_memory",
                    "message": "The picture needs 9 GB and 2 GB are free; choose a smaller size.",
                }
                return self.tell("failed", error=error)
            self.add(each)
        self.status = "done"
        self.tell("done", **self.answer())

    def add(self, seed: int) -> None:
        width, height = self.order.get("width", 128), self.order.get("height", 128)
        data = painted(seed, width, height, STEPS, "PNG", json.dumps({**self.settings(), "seed": seed}))
        self.pictures.append((data, seed))
        index = len(self.pictures) - 1
        self.tell("image", index=index, url=f"/api/v1/jobs/{self.id}/images/{index}", seed=seed)

    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.order.items() if name not in ("image", "mask", "task")}

    def answer(self) -> dict[str, Any]:
        images = [
            {"url": f"/api/v1/jobs/{self.id}/images/{k}", "seed": seed, "type": "image/png"}
            for k, (_, seed) in enumerate(self.pictures)
        ]
        return {"id": self.id, "status": self.status, "images": images, "warnings": [], "error": None}


class Handler(BaseHTTPRequestHandler):
    server: Fake  # its answers are HTTP/1.0's, one a connection, so that nothing is left of it when it stops

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            return self.answer({"status": "ok"})
        if path == "/api/v1/capabilities":
            return self.answer(capabilities(self.server))
        if path.startswith("/api/v1/jobs/"):
            return self.job(path.removeprefix("/api/v1/jobs/").split("/"))
        file = PAGE / (path.removeprefix("/") or "index.html")
        if file.suffix in TYPES and file.is_file():
            packed = gzip.compress(file.read_bytes())
            return self.send(HTTPStatus.OK, packed, TYPES[file.suffix], {"Content-Encoding": "gzip"})
        return self.refuse(HTTPStatus.NOT_FOUND, "not_found", "There is nothing here; open /.")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/v1/jobs":
            return self.accept(json.loads(body))
        if self.path == "/api/v1/tokens":
            return self.answer(tokens(json.loads(body)["prompt"]))
        if self.path == "/api/v1/metadata":
            return self.metadata(body)
        if self.path.endswith("/cancel") and (job := self.server.jobs.get(self.path.split("/")[-2])):
            job.cancelled = True
            return self.answer({"status": "cancelled"})
        return self.refuse(HTTPStatus.NOT_FOUND, "job_unknown", "There is no such job; paint it again.")

    def accept(self, order: dict[str, Any]) -> None:
        if "refused" in order.get("prompt", ""):
            message = "steps is 5000, and at most 1000 are painted; choose fewer"
            return self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message, field="steps")
        if "full" in order.get("prompt", ""):
            message = "8 jobs are waiting already; ask again in 30 s."
            return self.refuse(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", message)
        self.server.asked.append(order)
        job = Job(len(self.server.jobs) + 1, order, self.server)
        self.server.jobs[job.id] = job
        return self.answer({"id": job.id, "status": "queued", "queue_position": 0}, HTTPStatus.ACCEPTED)

    def metadata(self, data: bytes) -> None:
        text = Image.open(io.BytesIO(data)).info.get("settings")
        if not text:
            message = "the picture says nothing of how it was made; take the file as the tool wrote it"
            return self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "no_record", message)
        record = json.loads(text)
        options = {name: value for name, value in record.items() if name in OPTIONS and name != "loras"}
        return self.answer({"settings": options, "record": record, "inputs": [], "from": "pleinair", "warnings": []})

    def job(self, parts: list[str]) -> None:
        job = self.server.jobs.get(parts[0])
        if job is None:
            return self.refuse(HTTPStatus.NOT_FOUND, "job_unknown", "There is no such job; paint it again.")
        if parts[1:] == ["events"]:
            return self.follow(job)
        if parts[1:2] == ["images"]:
            data, _ = job.pictures[int(parts[2])]
            return self.send(HTTPStatus.OK, data, "image/png")
        return self.answer(job.answer())

    def follow(self, job: Job) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        number = int(self.headers.get("Last-Event-ID", 0))
        while not job.cut:
            if number < len(job.events):
                kind, data = job.events[number]
                number += 1
                self.wfile.write(f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
                if kind in ("done", "failed", "cancelled"):
                    return
            else:
                time.sleep(0.005)

    def answer(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def refuse(self, status: HTTPStatus, code: str, message: str, **more: Any) -> None:
        self.answer({"error": {"code": code, "message": message, **more}}, status)

    def send(self, status: HTTPStatus, body: bytes, kind: str, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {"Content-Security-Policy": CONTENT, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def capabilities(fake: Fake) -> dict[str, Any]:
    defaults = {"width": 128, "height": 128, "steps": STEPS, "guidance": 5.0, "sampler": "dpmpp_2m"}
    can = ["text2image", "image2image", "inpaint"]
    small = {"name": "storybook", "family": "sd1", "default": True, "defaults": defaults, "can": can}
    large = {
        **small,
        "name": "big",
        "default": False,
        "trigger": "big style",
        "defaults": {**defaults, "width": 512, "height": 512, "steps": 20},
    }
    return {
        "version": pleinair.__version__,
        "tasks": ["generate", "upscale", "morph"],
        "models": [
            {**small, "sizes": {"multiple": 8, "smallest": 112, "largest": 288}},
            {**large, "sizes": {"multiple": 8, "smallest": None, "largest": None}},
        ],
        "options": [described(name) for name, each in OPTIONS.items() if each.type.json],
        "loras": [{"name": "chalk", "fits": ["storybook"]}, {"name": "xl-only", "fits": ["big"]}],
        "controlnets": [{"name": "edges", "fits": ["storybook", "big"], "preprocessors": ["canny", "invert"]}],
        "upscalers": [{"name": "twice", "scale": 2}, {"name": "four", "scale": 4}],
        "vaes": [{"name": "tiny"}],
        "embeddings": [{"name": "style-1"}],
        "limits": {"max_count": 8, "prompt_chars": 4000},
        "memory": fake.memory,
        "queue": fake.queue,
    }


def described(name: str) -> dict[str, Any]:
    option = OPTIONS[name]
    having = [each for each, info in SAMPLERS.items() if option.by_sampler and option.field in info.options]
    return {
        "name": name,
        "panel": option.panel,
        "help": option.help,
        "schema": option.type.schema(),
        "choices": list(option.type.choices),
        "default": option.default,
        "usual": option.usual,
        "needs": list(option.needs),
        "by_sampler": having,
        "files": name if option.type.file else None,
    }


def tokens(prompt: str) -> dict[str, Any]:
    words = prompt.split()
    unknown = [word for word in words if "zeppelin" in word]
    return {"tokens": len(words), "limit": 75, "chunks": 1 + len(words) // 75, "unknown": unknown}


def painted(seed: int, width: int, height: int, step: int, kind: str, settings: str = "") -> bytes:
    """A hill below a sun, sharper with every step."""
    hue = seed * 47 % 360
    picture = Image.new("RGB", (width, height), f"hsl({hue}, {20 * step}%, 72%)")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((0.6 * width, 0.15 * height, 0.8 * width, 0.35 * height), fill="#f6d9a0")
    draw.polygon(
        [(0, height), (0.4 * width, 0.4 * height), (width, height)], fill=f"hsl({(hue + 140) % 360}, 40%, 35%)"
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("settings", settings)
    file = io.BytesIO()
    picture.save(file, kind, **({"pnginfo": info} if kind == "PNG" else {}))
    return file.getvalue()
