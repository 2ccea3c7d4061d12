"""A painting process: it is given jobs one after another over its standard input, and tells what becomes of them.

`python -m pleinair.serve.painting` ends when its standard input does, be it in the middle of a job. What it prints
before it is ready says why it does not start; later prints could have something of a prompt, and go nowhere.
"""

import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

from PIL import Image, ImageOps

from pleinair.errors import Cancelled, PleinairError, RequestError, ResourceError
from pleinair.files.metadata import save_options
from pleinair.pictures.preparing import PREPARERS
from pleinair.pictures.reading import opaque, open_picture
from pleinair.pictures.upscale import load_upscaler
from pleinair.pipeline import Pipeline, load
from pleinair.preflight import Need, in_words
from pleinair.request.request import resolve
from pleinair.results import Frame, Result
from pleinair.serve import wire
from pleinair.serve.asking import MORPH, PREPARE, RESIZING, UPSCALE, with_pictures
from pleinair.serve.enlarging import check_need, enlarging_need, larger, resized, resizing_need
from pleinair.serve.morphs import morph_frames, morph_keys
from pleinair.serve.naming import Index
from pleinair.serve.refusals import shortage, trouble_of
from pleinair.system.limits import memory_left, room_left

ALPHA = "mask.alpha"  # a picture of a job
INVERTED = "mask.inverted"
PREPARING = 100  # bytes of memory a pixel, as Canny's edges take
PREVIEW_S = 0.1  # seconds between two previews
PREVIEW_QUALITY = 80  # of JPEG
OPENING = ("engine", "device", "threads", "precision", "verify", "fallback", "cache")  # that upscalers have too

Tell = Callable[..., None]  # (event, *blobs, **facts)


class JobPainter:
    """Paints one job at a time, with the pipeline of the last one where that is the same model."""

    def __init__(self, tell: Tell, admit: Callable[[int], None], model: str | None, loading: dict[str, Any]) -> None:
        self._tell = tell
        self._admit = admit
        self._loading = loading
        self._index = Index(model)
        self._name: str | None = None
        self._pipe: Pipeline | None = None

    def paint(self, job: dict[str, Any], pictures: dict[str, bytes], stop: Callable[[], bool]) -> None:
        """Do a job, and tell everything of it, its end too; no error escapes."""
        try:
            if job["task"] == UPSCALE:
                self._upscale(job, pictures, stop)
            elif job["task"] == PREPARE:
                self._prepare(job["model"], pictures["image"])
            elif job["task"] == MORPH:
                self._morph(job, stop)
            else:
                self._generate(job, pictures, stop)
            self._tell("done")
        except Cancelled:
            self._tell("cancelled")
        except PleinairError as error:
            trouble = trouble_of(error)
            self._tell("failed", code=trouble.code, message=trouble.message)
        except MemoryError:
            self.release()
            self._tell("failed", code="out_of_resources", message="out of memory; choose a smaller picture or model")
        except Exception as error:
            self.release()
            if short := shortage(error):
                self._tell("failed", code=short.trouble.code, message=short.trouble.message)
                return
            message = f"a bug stopped the job ({type(error).__name__}); see the server's log, and report it"
            self._tell("failed", code="internal", message=message, trace=places(error))

    def release(self) -> None:
        """Give the memory of the pipeline back."""
        if self._pipe is not None:
            self._pipe.unload()
        self._name = self._pipe = None

    def _generate(self, job: dict[str, Any], pictures: dict[str, bytes], stop: Callable[[], bool]) -> None:
        pipe = self._opened(job["model"])
        if ALPHA in pictures:
            pictures = {**pictures, "mask": where_transparent(pictures[ALPHA])}
        if INVERTED in pictures:
            pictures = {**pictures, "mask": ImageOps.invert(opaque(open_picture(pictures[INVERTED])).convert("L"))}
        options = with_pictures(self._index.paths(job["options"]), pictures)
        request = resolve(pipe.bundle, options.pop("prompt"), options.pop("negative", None), **options, stop=stop)
        self._admit(pipe.memory_needed(request))
        self._walk(pipe.walk(request), -(-len(request.seeds) // request.batch))

    def _morph(self, job: dict[str, Any], stop: Callable[[], bool]) -> None:
        pipe = self._opened(job["model"])
        options = self._index.paths(job["options"])
        shape = options.pop("morph")
        keys = morph_keys(pipe.bundle, shape, {**options, "stop": stop})
        self._admit(pipe.memory_needed(keys[0]))
        self._walk(morph_frames(pipe, keys, shape), shape["frames"])

    def _walk(self, frames: Iterator[Frame], batches: int) -> None:
        """Tell of the steps and pictures of so many batches; those of a morph tell their results later."""
        shown, done, last = -PREVIEW_S, 0, 0
        for frame in frames:
            if frame.result is not None:
                self._finished(frame.result)
                continue
            done, last = done + (frame.step <= last), frame.step
            fresh = time.monotonic() - shown >= PREVIEW_S
            shown = time.monotonic() if fresh else shown
            at = {"step": done * frame.steps + frame.step, "steps": batches * frame.steps}
            self._tell("step", *(preview(frame) if fresh else ()), **at, seeds=list(frame.seeds))

    def _finished(self, result: Result) -> None:
        for warning in result.warnings:
            self._tell("warning", message=warning)
        for picture, seed in zip(result.images, result.seeds, strict=True):
            data = png(picture, **save_options("PNG", result.settings, seed))
            self._tell("image", data, seed=seed, width=picture.width, height=picture.height, settings=result.settings)

    def _upscale(self, job: dict[str, Any], pictures: dict[str, bytes], stop: Callable[[], bool]) -> None:
        """Make a picture larger with an upscaler, if it is one, and bring it to the size that the job says."""
        self.release()
        data, options, axes = pictures["image"], job["options"], job["options"].get("tile") or ""
        if job["model"] == RESIZING:
            self._admit_larger(data, resizing_need(data, options["width"], options["height"]))
            self._drawn(resized(opaque(open_picture(data)), options))
            return
        folder = self._index.paths({"upscale": job["model"]})["upscale"]
        upscaler = load_upscaler(folder, **{name: each for name, each in self._loading.items() if name in OPENING})
        self._admit_larger(data, enlarging_need(upscaler, data, axes))
        self._tell("loading", what=job["model"])

        def check() -> None:
            if stop():
                raise Cancelled("cancelled; nothing is left half done, and the server takes new jobs")

        self._drawn(resized(larger(upscaler, data, axes, check), options))

    def _admit_larger(self, data: bytes, need: Need | None) -> None:
        """Wait until there is room to make a picture larger; ResourceError where there never is."""
        if need is not None and self._loading.get("preflight", True):
            check_need(data, need, room_left())
        self._admit(int(need.memory) if need else 0)

    def _prepare(self, way: str, data: bytes) -> None:
        """Make a picture what a ControlNet sees of it."""
        picture = opaque(open_picture(data))
        need, left = picture.width * picture.height * PREPARING, memory_left()
        if left is not None and need > left:
            takes = f"preparing this picture takes {in_words(need)} of memory, and {in_words(left)} are free"
            raise ResourceError(f"{takes}; send a smaller one")
        self._admit(need)
        self._drawn(PREPARERS[way](picture))

    def _drawn(self, picture: Image.Image) -> None:
        """Tell of a picture that no model has painted."""
        self._tell("image", png(picture), seed=None, width=picture.width, height=picture.height, settings={})

    def _opened(self, name: str) -> Pipeline:
        """The pipeline of a model; one at a time is open, for two seldom fit."""
        name, bundle = self._index.model(name)
        if self._pipe is None or self._name != name:
            self.release()
            self._pipe = load(
                bundle.path,
                **self._loading,
                on_load=lambda what: self._tell("loading", what=what),
                on_news=lambda line: self._tell("warning", message=line),
            )
            self._name = name
        return self._pipe


def where_transparent(data: bytes) -> Image.Image:
    """A mask as OpenAI has it, transparent where the picture is to be painted, as ours: white there."""
    picture = open_picture(data)
    if picture.mode != "RGBA":
        raise RequestError("the mask is nowhere transparent; make it so where the picture is to be painted")
    return picture.getchannel("A").point(lambda level: 255 - level)


def preview(frame: Frame) -> tuple[bytes, ...]:
    """The first picture of a frame as a small JPEG; nothing where a model's latents have no known colours."""
    with suppress(PleinairError):
        stream = BytesIO()
        frame.rough()[0].convert("RGB").save(stream, "JPEG", quality=PREVIEW_QUALITY)
        return (stream.getvalue(),)
    return ()


def png(picture: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def places(error: BaseException) -> list[str]:
    """Where a bug is, without its message and values, which may be a prompt's."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]


class Process:
    """The two pipes of a painting process, and the thread that listens while it paints."""

    def __init__(self, asked: Any, told: Any) -> None:
        self._asked, self._told = asked, told
        self._turn = threading.Lock()
        self._jobs: queue.Queue[wire.Message] = queue.Queue()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[str] = set()
        self._job = ""

    def run(self) -> None:
        """Paint until the server is gone."""
        opening, _ = wire.read(self._asked)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            painter = JobPainter(self._tell, self._admit, opening["model"], opening["loading"])
        except PleinairError as error:
            self._tell("unable", message=str(error))
            return
        self._tell("ready")
        be_silent()
        for job, blobs in self._handed():
            self._job = id = job["job"]
            painter.paint(job, dict(zip(job["pictures"], blobs, strict=True)), lambda id=id: id in self._cancelled)
            self._cancelled.discard(id)

    def _handed(self) -> Iterator[wire.Message]:
        while True:
            yield self._jobs.get()

    def _listen(self) -> None:
        try:
            while True:
                message, blobs = wire.read(self._asked)
                if "cancel" in message:
                    self._cancelled.add(message["cancel"])
                elif "go" in message:
                    self._answers.put(message)
                else:
                    self._jobs.put((message, blobs))
        except (EOFError, OSError):
            os._exit(0)  # nobody waits for what is painted

    def _admit(self, need: int) -> None:
        """Wait until the server has room for a job of this many bytes."""
        self._tell("needs", bytes=need)
        self._answers.get()

    def _tell(self, event: str, *blobs: bytes, **facts: Any) -> None:
        with self._turn:
            self._told.write(wire.packed({"job": self._job, "event": event, **facts}, blobs))
            self._told.flush()


def be_silent() -> None:
    """Let nothing be read of what engines print."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def main() -> None:
    """Take the pipes away from everybody else who might print, and paint."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # the server says when it is over
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with suppress(BrokenPipeError, EOFError):
        Process(sys.stdin.buffer, told).run()


if __name__ == "__main__":
    main()
