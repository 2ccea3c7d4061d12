"""Clients of a server in a process of its own, through each of its interfaces, and what came of their requests."""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import time
import traceback
import urllib.error
import urllib.request
from collections import Counter

from serving import JSON, PATIENCE, png

TINY = {"prompt": "a house", "size": "64x64", "steps": 2}
LONG = {"prompt": "a house", "size": "512x512", "steps": 200, "sampler": "euler"}
HOUR = 3600
KILLED = 0.5  # share of the tries that are one
ID = re.compile(r"\b[0-9a-f]{16,32}\b")  # of a request or a job, as messages name it
HOSTILE = [
    b"{",
    b"[" * 1000,
    b"[" + b"[]," * 100_000 + b"1]",
    b'{"prompt": "x", "model": "../x"}',
    b'{"prompt": "x", "more": "\\ud800"}',
    b'{"image": "/etc/passwd"}',
    b'{"steps": -1}',
    b"\xff",
]


class Asker:
    """Asks at random; `asked` counts kinds of requests with their answers, `accepted` are jobs to be looked after.

    `log()` are the server's lines so far. `broken` says of each answer that no fault excuses what it was, and which
    lines belong to it.
    """

    def __init__(self, server, clock, full_disk, random, log):
        self.server, self.clock, self.full_disk, self.random, self.log = server, clock, full_disk, random, log
        self.asked, self.accepted, self.broken = Counter(), [], []
        self.picture = base64.b64encode(png((64, 64))).decode()
        self.kinds = [
            *[self.job] * 4,
            *[self.waiting, self.leave, self.cancel, self.follow, self.repeat, self.upscale],
            *[self.openai, self.openai_edit, self.openai_stream, self.a1111, self.a1111_img2img, self.a1111_interrupt],
            *[self.mcp, self.hostile, self.kill, self.fill, self.jump],
        ]

    def ask(self):
        """One request, or one fault."""
        kind, before = self.random.choice(self.kinds), len(self.log())
        try:
            kind()
        except Exception as error:
            self.breaks(f"{kind.__name__} BROKEN {type(error).__name__}", traceback.format_exc(), before)

    def breaks(self, kind, why, before=None):
        """Count what must not be; its log is the lines that name what `why` names, or all since `before`."""
        self.asked[kind] += 1
        lines, ids = self.log(), ID.findall(why)
        own = [line for line in lines if any(id in line for id in ids)]
        self.broken.append("\n  ".join([kind, *why.strip().splitlines(), *(own or lines[before:])]))

    def posted(self, kind, path, body, **headers):
        """Count a request by its answer, which is returned where it was followed."""
        status, found = self.server.ask(path, body, **headers)
        self.note(kind, status, found)
        return found if status < 300 else None

    def note(self, kind, status, found=None):
        error = found.get("error") if isinstance(found, dict) else None
        code = error.get("code", "") if isinstance(error, dict) else error or ""
        told = " ".join(filter(None, (kind, str(status), code)))
        if code == "internal":
            self.breaks(told, json.dumps(found))
        else:
            self.asked[told] += 1
        if status == 429:
            time.sleep(0.2)

    def job(self, **body):
        return self.promised("job", {**TINY, **body})

    def promised(self, kind, body):
        """The id of a job that the server has to see to now; None where it was refused."""
        found = self.posted(kind, "/api/v1/jobs", body)
        if found is not None:
            self.accepted.append(found["id"])
        return found and found["id"]

    def waiting(self):
        self.posted("waiting", "/api/v1/jobs?wait=true", TINY)

    def upscale(self):
        self.promised("upscale", {"task": "upscale", "image": self.picture})

    def repeat(self):
        """The same request twice, of which one is accepted."""
        key = {"Idempotency-Key": str(self.random.random())}
        found = [self.posted("repeat", "/api/v1/jobs", TINY, **key) for _ in range(2)]
        ids = {each["id"] for each in found if each}
        self.accepted.extend(ids)
        if len(ids) > 1:
            self.breaks("repeat BROKEN twice", " ".join(ids))

    def cancel(self):
        if id := self.job(**LONG):
            self.posted("cancel", f"/api/v1/jobs/{id}/cancel", {})

    def follow(self):
        """Some events of a job, and away."""
        if id := self.job():
            url = f"{self.server.url}/api/v1/jobs/{id}/events"
            with urllib.request.urlopen(url, timeout=PATIENCE) as stream:
                for _ in range(self.random.randrange(9)):
                    stream.readline()
            self.note("follow", 200)

    def leave(self):
        """A client that waits, and leaves before it is answered."""
        path = self.random.choice(("/api/v1/jobs?wait=1", "/v1/images/generations", "/sdapi/v1/txt2img"))
        with self.sent(path, json.dumps(LONG).encode()):
            time.sleep(self.random.uniform(0, 0.3))
        self.note("leave", 0)

    def hostile(self):
        path = self.random.choice(("/api/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/mcp"))
        with self.sent(path, self.random.choice(HOSTILE)) as client:
            self.note("hostile", int(client.makefile("rb").readline().split()[1]))

    def sent(self, path, body):
        """A connection over which a body was sent, and closed where the answer ends."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        client = socket.create_connection(("127.0.0.1", self.server.port))
        client.settimeout(PATIENCE)
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        return client

    def openai(self):
        self.posted("openai", "/v1/images/generations", {**TINY, "n": 2})

    def openai_edit(self):
        part = "--b\r\nContent-Disposition: form-data; name="
        fields = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in TINY.items())
        file = f'{part}"image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        body = (fields + file).encode() + png((64, 64)) + b"\r\n--b--"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        request = urllib.request.Request(f"{self.server.url}/v1/images/edits", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                self.note("openai_edit", answer.status, json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            self.note("openai_edit", error.code, json.loads(error.read()))

    def openai_stream(self):
        body = json.dumps({**TINY, "stream": True, "partial_images": 1}).encode()
        request = urllib.request.Request(f"{self.server.url}/v1/images/generations", body, JSON)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                text = answer.read().decode()
            if '"code": "internal"' in text:
                self.breaks("openai_stream internal", text)
            else:
                self.note("openai_stream" if "completed" in text else "openai_stream without a picture", answer.status)
        except urllib.error.HTTPError as error:
            self.note("openai_stream", error.code, json.loads(error.read()))

    def a1111(self):
        self.posted("a1111", "/sdapi/v1/txt2img", {"prompt": "a boat", "width": 64, "height": 64, "steps": 2})

    def a1111_img2img(self):
        size = {"width": 64, "height": 64, "steps": 2}
        self.posted("a1111_img2img", "/sdapi/v1/img2img", {"prompt": "", "init_images": [self.picture], **size})

    def a1111_interrupt(self):
        self.note("a1111_progress", *self.server.ask("/sdapi/v1/progress"))
        self.posted("a1111_interrupt", "/sdapi/v1/interrupt", {})

    def mcp(self):
        import mcp

        async def talk():
            async with mcp.Client(f"{self.server.url}/mcp") as client:
                return await client.call_tool("generate", dict(TINY))

        found = asyncio.run(talk())
        self.note("mcp error" if found.is_error else "mcp", 200)

    def kill(self):
        """The painting process."""
        if self.random.random() < KILLED and (found := self.server.painting):
            with contextlib.suppress(ProcessLookupError):  # another client has killed it
                os.kill(found[0], signal.SIGKILL)
                self.note("kill", 0)

    def fill(self):
        """The disk, for a moment in which nothing may be accepted."""
        with self.full_disk(self.server.process.pid):
            if found := self.posted("fill", "/api/v1/jobs", TINY):
                self.breaks("fill BROKEN accepted", found["id"])

    def jump(self):
        """The clock, by up to a day to either side."""
        self.clock.at(self.random.randrange(-24 * HOUR, 24 * HOUR))
        self.note("jump", 0)
