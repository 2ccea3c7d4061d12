"""What paints lines of a list on a machine of a Ray cluster: an actor that holds one open model."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pleinair.cluster.models import SharedModel
from pleinair.errors import PleinairError
from pleinair.pipeline import Pipeline, load
from pleinair.results import Result
from pleinair.system.machine import peak_rss_mb
from pleinair.tasks.worker_messages import JobFailed, StepDone


@dataclass(frozen=True)
class Delivered:
    """A result with its pictures, without the arrays that they were made of; `peak_mb` is what its process has held."""

    result: Result
    peak_mb: float


class LinePainter:
    """Opens its model with the first call, and keeps it. No error that a user can cause escapes: it is the answer."""

    def __init__(self, model: SharedModel, how: dict[str, Any]) -> None:
        self._model, self._how = model, how
        self._pipe: Pipeline | None = None

    def open(self) -> JobFailed | None:
        """Open the model; says why that does not go."""
        try:
            self._pipe = load(self._model.here(), **self._how)
        except (PleinairError, MemoryError) as error:
            return JobFailed(error)
        return None

    def paint(
        self, prompt: str, negative: str | None, options: dict[str, Any], seeds: tuple[int, ...]
    ) -> Iterator[StepDone | Delivered | JobFailed]:
        """Paint one batch."""
        try:
            for frame in self._pipe.stream(prompt, negative, **options | {"seed": list(seeds)}):
                if frame.result is None:
                    yield StepDone(frame.step, frame.steps)
                else:
                    bare = replace(frame.result.without_pixels(), images=frame.result.images)
                    yield Delivered(bare, peak_rss_mb())
        except (PleinairError, MemoryError) as error:
            yield JobFailed(error)
        except Exception:
            yield JobFailed(RuntimeError(f"in a worker: {traceback.format_exc()}"))
