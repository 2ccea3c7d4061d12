"""A hub on the loopback interface that speaks the routes which a download needs, and misbehaves on request.

GET /api/models/OWNER/NAME/revision/REVISION     the commit, and the files with sizes and digests
HEAD, GET /OWNER/NAME/resolve/COMMIT/FILE        ETag, X-Repo-Commit, Range; a redirect to /cdn/... for large files
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

LARGE = 1000  # bytes: from here on a file is one of LFS, which has a SHA-256 and lies elsewhere
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """Files by name; `refused` is a status and an X-Error-Code, `token` who may read."""

    files: dict[str, bytes]
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main",)
    refused: tuple[int, str] | None = None
    token: str | None = None
    sent: dict[str, bytes] = field(default_factory=dict)  # what is sent instead of the listed content

    def entry(self, name):
        content = self.files[name]
        facts = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
        if len(content) >= LARGE:
            facts["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return facts


def git_digest(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """One that does not tell on stderr, which tests look at, that a client has gone."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class Hub:
    """A running server: `repos` by id, `cuts` (bytes after which a connection ends, one for each request for a large
    file), `statuses` (answers to come before any other), `requests` that came: (method, path, range, authorization)."""

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.requests: list[tuple[str, str, str | None, str | None]] = []
        self.stuck: Event | None = None  # set when a large file has been sent in half, which then waits
        self._servers = [Server(("127.0.0.1", 0), self._handler()) for _ in range(2)]
        for server in self._servers:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def asked(self, part):
        """The requests whose path has a part."""
        return [request for request in self.requests if part in request[1]]

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer()

            def do_GET(self):
                self.answer()

            def answer(self):
                path = unquote(urlsplit(self.path).path)
                hub.requests.append((self.command, path, self.headers["Range"], self.headers["Authorization"]))
                if hub.statuses:
                    return self.send(hub.statuses.pop(0), b"")
                if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
                    return self.list(*found.groups())
                if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                    return self.resolve(*found.groups())
                if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
                    id, name = found.groups()
                    repo = hub.repos[id]
                    return self.content(repo.sent.get(name, repo.files[name]))
                return self.send(404, b"")

            def allowed(self, id):
                repo = hub.repos.get(id)
                if repo is None:
                    self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
                elif repo.refused:
                    status, code = repo.refused
                    self.send(status, b"", {"X-Error-Code": code} if code else {})
                elif repo.token and self.headers["Authorization"] != f"Bearer {repo.token}":
                    self.send(401, b"")
                else:
                    return repo
                return None

            def list(self, id, revision):
                repo = self.allowed(id)
                if repo is None:
                    return
                if revision not in (*repo.revisions, repo.commit):
                    return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                facts = {"id": id, "sha": repo.commit, "siblings": [repo.entry(name) for name in repo.files]}
                self.send(200, json.dumps(facts).encode())

            def resolve(self, id, commit, name):
                repo = self.allowed(id)
                if repo is None:
                    return
                if commit != repo.commit or name not in repo.files:
                    return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
                entry = repo.entry(name)
                headers = {"X-Repo-Commit": commit, "ETag": f'"{entry["blobId"]}"'}
                if "lfs" not in entry:
                    return self.content(repo.sent.get(name, repo.files[name]), headers)
                linked = {"X-Linked-Etag": f'"{entry["lfs"]["sha256"]}"', "X-Linked-Size": str(entry["size"])}
                self.send(302, b"", {**headers, **linked, "Location": f"{hub.cdn}/cdn/{id}/{name}"})

            def content(self, content, headers=None):
                start = int(self.headers["Range"][6:-1]) if self.headers["Range"] else 0
                headers = {"Accept-Ranges": "bytes", **(headers or {})}
                if start:
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send(206 if start else 200, content[start:], headers)

            def send(self, status, content, headers=None):
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                large = len(content) >= LARGE and "/cdn/" in self.path
                if large and hub.stuck:
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    hub.stuck.set()
                    hub.stuck = None
                    Event().wait(20)
                    self.close_connection = True
                elif large and hub.cuts:
                    self.wfile.write(content[: hub.cuts.pop(0)])
                    self.close_connection = True
                else:
                    self.wfile.write(content)

        return Handler


def is_the_hub(hub, folder, monkeypatch):
    """Let huggingface_hub, in this process, talk to a hub, without a token and with its cache in `folder`."""
    from huggingface_hub import constants

    from pleinair.library import hub as client

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(constants, name, str(folder / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "PAUSES", (0, 0))


def diffusers_files(weights=bytes(range(256)) * 1200):
    """The files of a diffusers folder as a hub has them, with what nobody needs."""
    unet = "unet/diffusion_pytorch_model"
    return {
        "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}).encode(),
        "README.md": b"---\nlicense: mit\n---\n",
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "text_encoder/config.json": b"{}",
        "text_encoder/model.safetensors": b"text" * 500,
        "unet/config.json": b"{}",
        f"{unet}.fp16.safetensors": weights,
        f"{unet}.safetensors": b"x" * 5000,
        f"{unet}.bin": b"pickle" * 500,
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": b"vae" * 500,
        "safety_checker/model.safetensors": b"x" * 5000,
        "picture.png": b"x" * 5000,
        "turbo.ckpt": b"x" * 5000,
    }
