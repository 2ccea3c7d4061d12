"""How far the pictures are, on stderr while that is a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean
from time import perf_counter
from types import TracebackType
from typing import Any

import typer

from pleinair.cli.given import at_hand
from pleinair.cli.terminal import printable, warn
from pleinair.pipeline import Pipeline, load
from pleinair.results import Frame

RECENT = 10  # steps whose mean tells how fast it goes


class ProgressBar:
    """What is loading, then a bar with steps, pictures and the time left; nothing where stderr is no terminal.

    It is off the screen whenever a picture is handed over, and when it is left.
    """

    def __init__(self, things: str = "picture") -> None:
        self.things = things
        self.done = 0
        self._told: set[str] = set()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()

    def loading(self, what: str) -> None:
        """Say that something is being loaded."""
        self.show(f"loading {what} ...", None, None)

    def news(self, line: str) -> None:
        """Say in a line of its own, once, what runs otherwise than was asked for."""
        if line not in self._told:
            self._told.add(line)
            self.hide()
            warn(line)

    def untold(self, warnings: Iterable[str]) -> list[str]:
        """Those that have not been said yet."""
        return [each for each in warnings if each not in self._told]

    def frames(self, frames: Iterable[Frame], count: int | None = None) -> Iterator[Frame]:
        """The same frames; `count` is how many pictures they become, where that is known."""
        seconds: list[float] = []
        mark = None
        try:
            for frame in frames:
                if frame.result:  # a morph hands its pictures over in another order than it paints them
                    self.hide()
                else:
                    if mark is not None:
                        seconds = [*seconds[1 - RECENT :], perf_counter() - mark]
                    self.show(self._words(frame, count, seconds), frame.step, frame.steps)
                    mark = perf_counter()
                    if frame.step == frame.steps:
                        self.done += len(frame.seeds)
                        mark = None
                yield frame
        finally:
            self.hide()

    def hide(self) -> None:
        """Take it off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _words(self, frame: Frame, count: int | None, seconds: list[float]) -> str:
        first, together = self.done + 1, len(frame.seeds)
        which = f"{first}" if together == 1 else f"{first}-{first + together - 1}"
        words = f"step {frame.step} of {frame.steps}  {self.things} {which}"
        if count is not None:
            words += f" of {count}"
        if seconds:
            words += f"  {fmean(seconds):.2f} s a step"
            if count is not None:
                later = -(-(count - self.done - together) // together) * frame.steps
                words += f"  {clock(fmean(seconds) * (frame.steps - frame.step + later))} left"
        return words

    def show(self, words: str, done: int | None, total: int | None) -> None:
        """Put words and a bar on the screen; None where there is no telling how far it is."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar, self._task = _drawn(words)
        self._bar.update(self._task, description=printable(words), completed=done or 0, total=total)


def loaded(progress: ProgressBar, model: Path | None, check: Callable[[], None], **options: Any) -> Pipeline:
    """An open model that says what it is loading, and what has to be made first, after a `check` of all else."""
    model = at_hand(model, options.get("engine"), check)
    progress.loading("the model")
    return load(model, **options, on_load=progress.loading, on_news=progress.news)


def kept_to_the_end(context: typer.Context, pipe: Pipeline) -> Pipeline:
    """The model, held by the process as it ends: letting go of it first takes the engines 0.3 s."""
    if context.obj is not None:
        context.obj.append(pipe)
    return pipe


def clock(seconds: float) -> str:
    """74 -> '1:14', 3700 -> '1:01:40'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _drawn(words: str) -> tuple[Any, Any]:
    """A bar on the screen, and its one task; rich is imported where there is somebody to see it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
    # stdout is for data and may lead into a file; this bar leaves the streams alone
    bar = Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task(printable(words), total=None)
    bar.start()
    return bar, task
