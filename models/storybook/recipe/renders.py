"""Renders all pictures with their captions and keeps them on disk."""

import json
import time
from multiprocessing import Process
from pathlib import Path
from random import Random

import numpy as np
import torch

from recipe.captions import caption
from recipe.pictures import paint
from recipe.scenes import labels_of, random_scene, training_scene
from recipe.settings import Settings

WORKERS = 2
SEED_STRIDE = 7919
HELD_OUT_SEED = 10_000_000
JUDGE_SEED = 30_000_000


def render_share(share: int, pictures: Path, count: int, first_seed: int, settings: Settings, training: bool) -> None:
    """Render every WORKERS-th picture and note its captions and labels."""
    size = settings.size
    array = np.memmap(pictures, np.uint8, "r+", shape=(count, size, size, 3))
    with pictures.with_suffix(f".{share}.jsonl").open("w") as notes:
        for index in range(share, count, WORKERS):
            random = Random((first_seed + index) * SEED_STRIDE)
            scene = training_scene(random) if training else random_scene(random)
            array[index] = np.asarray(paint(scene, first_seed + index, size))
            captions = [caption(scene, random) for _ in range(settings.captions)]
            note = {"index": index, "labels": labels_of(scene), "captions": captions}
            notes.write(json.dumps(note) + "\n")
    array.flush()


def render_set(work: Path, name: str, count: int, first_seed: int, settings: Settings) -> None:
    """Render one set of pictures, unless it is there."""
    if (work / f"{name}.json").exists():
        return
    started = time.time()
    partial = work / f"{name}.partial"
    np.memmap(partial, np.uint8, "w+", shape=(count, settings.size, settings.size, 3)).flush()
    arguments = (partial, count, first_seed, settings, name == "train")
    workers = [Process(target=render_share, args=(share, *arguments)) for share in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"rendering {name} failed")
    shares = [partial.with_suffix(f".{share}.jsonl") for share in range(WORKERS)]
    notes = sorted((json.loads(line) for share in shares for line in share.open()), key=lambda note: note["index"])
    partial.rename(work / f"{name}.u8")
    (work / f"{name}.json").write_text(json.dumps(notes))
    for share in shares:
        share.unlink()
    print(f"{name}: {count} pictures in {time.time() - started:.0f} s", flush=True)


def render(work: Path, settings: Settings) -> None:
    """Render the held-out pictures, those for the judge, who must know all pairs, and the training pictures."""
    render_set(work, "held-out", settings.held_out_renders, HELD_OUT_SEED, settings)
    render_set(work, "judge", settings.renders // 3, JUDGE_SEED, settings)
    render_set(work, "train", settings.renders, 0, settings)


def pictures_of(work: Path, name: str, settings: Settings) -> np.memmap:
    """All pictures of a set."""
    return np.memmap(work / f"{name}.u8", np.uint8, "r").reshape(-1, settings.size, settings.size, 3)


def labels_of_set(work: Path, name: str) -> torch.Tensor:
    """The labels of a set."""
    return torch.tensor([note["labels"] for note in json.loads((work / f"{name}.json").read_text())])


def captions_of(work: Path, name: str) -> list[list[str]]:
    """The captions of a set, some per picture."""
    return [note["captions"] for note in json.loads((work / f"{name}.json").read_text())]


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as the networks take them, from -1 to 1."""
    tensor = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2)  # [n, 3, size, size]
    return (tensor / 127.5 - 1).contiguous(memory_format=torch.channels_last)
