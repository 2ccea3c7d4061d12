"""The rendered sets as the networks take them."""

import json
from pathlib import Path

import numpy as np
import torch

from recipe.settings import Settings


def pictures_of(work: Path, name: str, settings: Settings) -> torch.Tensor:
    """All pictures of a set as bytes [n, size, size, 3], in a GPU's memory or still on the disk."""
    pictures = np.memmap(work / f"{name}.u8", np.uint8, "c").reshape(-1, settings.size, settings.size, 3)
    return torch.from_numpy(pictures).to(settings.device)


def latents_of(work: Path, name: str, settings: Settings) -> torch.Tensor:
    """The scaled latents of all training pictures, "small" or "large" [n, 4, side, side], likewise."""
    return torch.from_numpy(np.load(work / f"latents-{name}.npy", mmap_mode="c")).to(settings.device)


def notes_of(work: Path, name: str) -> tuple[torch.Tensor, list[list[str]]]:
    """The labels of a set's pictures, and the captions of each."""
    notes = json.loads((work / f"{name}.json").read_text())
    return torch.tensor([note["labels"] for note in notes]), [note["captions"] for note in notes]


def as_tensor(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as the networks take them, from -1 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1  # [n, 3, size, size], channels last


def generator_for(step: int, device: torch.device) -> torch.Generator:
    """The random numbers of a step, made where they are used."""
    return torch.Generator(device).manual_seed(step)


def random_below(end: int, count: int, generator: torch.Generator, start: int = 0) -> torch.Tensor:
    """Random whole numbers from start up to, but without, end."""
    return torch.randint(start, end, (count,), generator=generator, device=generator.device)
