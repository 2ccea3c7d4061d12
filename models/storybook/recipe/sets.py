"""The rendered sets as the networks take them."""

import json
from pathlib import Path

import numpy as np
import torch

from recipe.settings import Settings


def pictures_of(work: Path, name: str, settings: Settings) -> np.memmap:
    """All pictures of a set."""
    return np.memmap(work / f"{name}.u8", np.uint8, "r").reshape(-1, settings.size, settings.size, 3)


def notes_of(work: Path, name: str) -> tuple[torch.Tensor, list[list[str]]]:
    """The labels of a set's pictures, and the captions of each."""
    notes = json.loads((work / f"{name}.json").read_text())
    return torch.tensor([note["labels"] for note in notes]), [note["captions"] for note in notes]


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as the networks take them, from -1 to 1."""
    tensor = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2)  # [n, 3, size, size]
    return (tensor / 127.5 - 1).contiguous(memory_format=torch.channels_last)
