"""A server for tests: in this process with a painter of one colour, or as a process of its own."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import uvicorn
from PIL import Image

from pleinair.files.metadata import save_options
from pleinair.serve.app import build
from pleinair.serve.job import CANCELLED, DONE, ENDED, FinishedPicture, JobSpec
from pleinair.serve.jobs import Jobs
from pleinair.serve.serving import Server, listening
from pleinair.serve.settings import Keeping, RequestLimits, ServeSettings

KEEPING, LIMITS = Keeping(), RequestLimits()
PATIENCE = 60  # seconds until a test gives up
JSON = {"Content-Type": "application/json"}


def png(size=(8, 8), colour="red", mode="RGB"):
    """The bytes of a picture."""
    stream = BytesIO()
    Image.new(mode, size, colour).save(stream, "PNG")
    return stream.getvalue()


def jpeg():
    """A preview, in base64."""
    stream = BytesIO()
    Image.new("RGB", (8, 8), "blue").save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


PREVIEW = jpeg()
AROUND = {"width": 8, "height": 8, "sampler": "euler_a", "guidance": 7.0, "batch": 1, "pleinair": "0.1.0", "model": "m"}
RECORD = {"format": 1, "prompt": "a house", "negative": "", "seeds": [7], "steps": 4, **AROUND}


def recorded():
    """The bytes of a picture that says how it was made."""
    stream = BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG", **save_options("PNG", RECORD, 7))
    return stream.getvalue()


async def paint_recorded(jobs, specs):
    """`paint` with such pictures; `specs` collects the jobs."""
    while True:
        job = await jobs.next()
        specs.append(job.spec)
        for n in range(job.spec.options.get("count", 1)):
            job.add(FinishedPicture(recorded(), 7 + n, 8, 8, RECORD))
        await jobs.end(job, DONE)


def sdapi(http, path, payload):
    """Pictures and info of A1111's answer, and the job that it was made of."""
    answer = http.post(f"/sdapi/v1/{path}", json=payload)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["images"], json.loads(found["info"]), http.specs.pop()


def spec(prompt="a red house", kept=True, work=1000, **options):
    """A job that was checked."""
    return JobSpec("generate", "storybook", {"prompt": prompt, "seed": 7, **options}, {}, work, kept)


async def paint(jobs, steps=2, pause=0.0):
    """In place of painting processes: every job is done in some steps, and gives one red picture."""
    while True:
        job = await jobs.next()
        for step in range(1, steps + 1):
            await asyncio.sleep(pause)
            if job.cancelling:
                break
            job.advance(step, steps, seeds=[7], preview=PREVIEW)
        else:
            job.add(FinishedPicture(png(), 7, 8, 8, {}))
        await jobs.end(job, CANCELLED if job.cancelling else DONE)


def application(index, painter=paint, **settings):
    """An ASGI application whose jobs `painter(jobs)` paints, and its jobs."""
    told = ServeSettings(**settings)
    jobs = Jobs(told)
    inner = build(told, jobs, index)

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            task = asyncio.create_task(painter(jobs))
            await inner(scope, receive, send)
            task.cancel()
        else:
            await inner(scope, receive, send)

    return app, jobs


@contextlib.contextmanager
def at_a_port(index, painter=paint, **settings):
    """The address of a server in a thread of this process, and its jobs."""
    app, jobs = application(index, painter, **settings)
    place = listening("127.0.0.1", 0)
    server = Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}", jobs
    finally:
        server.should_exit = True
        thread.join()


class Asking:
    """What tests ask of a server at `url`."""

    def __init__(self, url):
        self.url = url

    def ask(self, path, body=None, **headers):
        """Status and JSON of a request; POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, JSON | headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def job(self, **body):
        """The id of a new job of tiny pictures."""
        status, found = self.ask("/api/v1/jobs", {"prompt": "a house", "size": "64x64", "seed": 1, **body})
        assert status == 202, found
        return found["id"]

    def when(self, id, *statuses):
        """A job when it has one of these."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            _, found = self.ask(f"/api/v1/jobs/{id}")
            if found["status"] in statuses:
                return found
            assert found["status"] not in ENDED, found
            time.sleep(0.02)
        raise AssertionError(f"the job is {found['status']} still")


class Running(Asking):
    """`pleinair serve` in a process of its own; `log` is a file that its lines go to."""

    def __init__(self, home, log, *arguments, **environment):
        self.log = log
        self._home = home
        command = [sys.executable, "-m", "pleinair", "serve", "--port", "0", *map(str, arguments)]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, "PLEINAIR_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            )
        super().__init__(self.process.stdout.readline().decode().strip().rstrip("/"))
        assert self.url, log.read_text()
        self.port = int(self.url.rpartition(":")[2])

    @property
    def painting(self):
        """The process ids of its painting processes (Linux)."""
        id = self.process.pid
        return [int(each) for each in Path(f"/proc/{id}/task/{id}/children").read_text().split()]

    def end(self, number=signal.SIGTERM):
        """Its exit code after a signal."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(home, log, *arguments, **environment):
    """A server for the body of a `with`."""
    server = Running(home, log, *arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)
