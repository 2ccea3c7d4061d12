"""A model painting while ranges are noted, and what is kept of it, so that an interrupted run goes on where it was."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pleinair.bundle.opening import Bundle, bundle_identity
from pleinair.pipeline import load
from pleinair.quantizing.starting import starting_options
from pleinair.quantizing.watching import Notes, Watching

STEPS = 12  # at most, of a picture: trajectories of more see the same noise levels
KEPT = 2  # calls of a denoiser that are kept of a picture: inputs and answers
JOB, DONE = "job.json", "done.json"


def opened_notes(work: Path, bundle: Bundle, steps: int, job: Mapping[str, Any]) -> tuple[dict[str, Notes], int]:
    """The notes of each graph that is quantized, and how many pictures they are of.

    What an earlier run of the same job has kept in the folder is taken up; all else there is removed.
    """
    job = {**job, "bundle": bundle_identity(bundle)["sha256"]}
    manifest = bundle.manifest
    # an odd stride, so that other steps are kept of each picture
    strides = {manifest.denoiser.graph: (steps // KEPT) | 1, manifest.vae.decoder: 1}
    if (work / JOB).is_file():
        with suppress(OSError, ValueError):
            if json.loads((work / JOB).read_text(encoding="utf-8")) == json.loads(json.dumps(job)):
                notes = {graph: Notes(work / graph, stride) for graph, stride in strides.items()}
                for each in notes.values():
                    each.load()
                return notes, done_before(work, notes)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / JOB).write_text(json.dumps(job), encoding="utf-8")
    return {graph: Notes(work / graph, stride) for graph, stride in strides.items()}, 0


def done_before(work: Path, notes: dict[str, Notes]) -> int:
    """How many pictures the notes of an earlier run are of; raises OSError or ValueError where that is damaged."""
    done = json.loads((work / DONE).read_text(encoding="utf-8")) if (work / DONE).exists() else 0
    if type(done) is not int or done < 0 or (done and any(each.ranges is None for each in notes.values())):
        raise ValueError(f"'{work}' is damaged")
    return done


def paint(
    work: Path,
    bundle: Bundle,
    notes: dict[str, Notes],
    prompts: tuple[str, ...],
    pictures: range,
    options: Mapping[str, Any],
) -> Iterator[int]:
    """Paint pictures, one prompt after the other, and note; yields how many are done before each."""
    pipe = load(bundle.path, engine=Watching(notes), verify=bundle.files.hashed)
    with pipe:
        for place in pictures:
            yield place
            start = starting_options(bundle.manifest.tasks, place)
            pipe.generate(prompts[place % len(prompts)], seed=place, **options, **start)
            for each in notes.values():
                each.save()
            (work / DONE).write_text(json.dumps(place + 1), encoding="utf-8")
