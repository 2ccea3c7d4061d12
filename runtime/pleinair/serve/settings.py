"""Everything that a server can be told, in one place: where it listens, who may ask, and how much."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pleinair.bundle.manifest import MAX_STEPS
from pleinair.text.syntax import MAX_PROMPT

MB = 1 << 20
KEY = "PLEINAIR_API_KEY"  # in the environment


@dataclass(frozen=True)
class RequestLimits:
    """What one request, and all of them together, may take. What is over a limit is refused before it is read whole."""

    queue: int = 16  # jobs that wait; those that are painted come on top
    body: int = 32 * MB  # bytes of a request
    bodies: int = 512 * MB  # of all requests at a moment; of the pictures of all jobs that wait, too
    body_s: float = 60.0  # seconds that a body may take to arrive
    head: int = 64 << 10  # bytes of a request line and its headers
    head_s: float = 15.0  # seconds that these may take, and that a connection may wait for its next request
    connections: int = 128
    reserved: int = 16  # of these, for /health: so many are never held by other requests
    of_one: int = 64  # requests in progress from one address
    parts: int = 64  # of a multipart form
    depth: int = 32  # of nested JSON
    values: int = 100_000  # in JSON
    input_pixels: int = 16 << 20  # of a picture that is sent
    pixels: int = 4 << 20  # of a picture that is painted, its second pass included
    steps: int = MAX_STEPS  # of a pass
    count: int = 16  # pictures of a job
    frames: int = 240  # of a morph
    pixel_steps: int = 1 << 30  # pixels x steps x pictures of a job: 4096 steps of 512x512
    result: int = 512 * MB  # of a job's pictures before they are compressed
    prompt: int = MAX_PROMPT  # characters


@dataclass(frozen=True)
class Keeping:
    """How long ended jobs are kept with their pictures; what comes first counts."""

    seconds: float = 3600.0
    jobs: int = 200
    bytes: int = 512 * MB
    names: int = 10_000  # ids of jobs that are gone, which are told apart from ids that never were


@dataclass(frozen=True)
class ServeSettings:
    """A server's settings. `loading` are arguments of `pleinair.load`; `model` is the default, by name or by path."""

    host: str = "127.0.0.1"
    port: int = 7860
    key: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()  # names that it may be called by, beside this machine's own
    workers: int = 1  # 0: as many as the cluster paints with
    cluster: str | None = None  # of Ray's that paints, "auto" or HOST:PORT; None: processes of this machine
    grace_s: float = 10.0  # that running jobs have to end when the server is told to
    stall_s: float = 600.0  # without a word, after which a painting process counts as hung
    model: str | None = None
    loading: dict[str, Any] = field(default_factory=dict)
    limits: RequestLimits = RequestLimits()
    keeping: Keeping = Keeping()
    journal: Path | None = None
    log_prompts: bool = False
    metrics: bool = False
