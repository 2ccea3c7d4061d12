"""Renders all pictures with their captions and keeps them on disk."""

import json
import os
from multiprocessing import Process
from pathlib import Path
from random import Random

import numpy as np

from recipe.captions import caption
from recipe.pictures import paint
from recipe.scenes import labels_of, random_scene, training_scene
from recipe.settings import Settings

SEED_STRIDE = 7919
HELD_OUT_SEED = 10_000_000
JUDGE_SEED = 30_000_000
TRAINING_SETS = ("train", "addons")


def render_share(share: int, shares: int, pictures: Path, count: int, first_seed: int, settings: Settings) -> None:
    """Render every so-many-th picture and note its captions and labels; those of training lack the held-out pairs."""
    size = settings.size
    array = np.memmap(pictures, np.uint8, "r+", shape=(count, size, size, 3))
    with pictures.with_suffix(f".{share}.jsonl").open("w") as notes:
        for index in range(share, count, shares):
            random = Random((first_seed + index) * SEED_STRIDE)
            scene = training_scene(random) if pictures.stem in TRAINING_SETS else random_scene(random)
            array[index] = np.asarray(paint(scene, first_seed + index, size))
            captions = [caption(scene, random) for _ in range(settings.captions)]
            note = {"index": index, "labels": labels_of(scene), "captions": captions}
            notes.write(json.dumps(note) + "\n")
    array.flush()


def render_set(work: Path, name: str, count: int, first_seed: int, settings: Settings) -> None:
    """Render one set of pictures on all cores, unless it is there."""
    if (work / f"{name}.json").exists():
        return
    partial = work / f"{name}.partial"
    np.memmap(partial, np.uint8, "w+", shape=(count, settings.size, settings.size, 3)).flush()
    cores = os.cpu_count() or 1
    workers = [
        Process(target=render_share, args=(share, cores, partial, count, first_seed, settings))
        for share in range(cores)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"rendering {name} failed")
    shares = [partial.with_suffix(f".{share}.jsonl") for share in range(cores)]
    notes = sorted((json.loads(line) for share in shares for line in share.open()), key=lambda note: note["index"])
    partial.rename(work / f"{name}.u8")
    (work / f"{name}.json").write_text(json.dumps(notes))
    for share in shares:
        share.unlink()
    print(f"{name}: {count} pictures", flush=True)


def render(work: Path, settings: Settings) -> None:
    """Render the held-out pictures, those to train on, and those for the judge, who must know all pairs."""
    render_set(work, "held-out", settings.held_out_renders, HELD_OUT_SEED, settings)
    render_set(work, "train", settings.renders, 0, settings)
    render_set(work, "judge", settings.renders // 3, JUDGE_SEED, settings)
