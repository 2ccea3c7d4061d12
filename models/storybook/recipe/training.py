"""The loop that trains every part: counts steps, averages the weights, and goes on from its last state after a stop."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from recipe.settings import Settings

WARMUP_STEPS = 100
FINAL_RATE = 0.01
STEPS_BETWEEN_LINES = 100
STEPS_BETWEEN_STATES = 100


@dataclass
class Training:
    """What is trained and for how long: `loss` takes the step's number, `show` the averaged model now and then."""

    name: str
    model: nn.Module
    loss: Callable[[int], Tensor]
    steps: int
    rate: float
    ema: float
    decay_from: float = 0.5
    show: Callable[[nn.Module], str] | None = None
    shows: int = 6


def train(training: Training, work: Path) -> nn.Module:
    """Train up to the last step, from the last state if there is one, and return the averaged model."""
    model, file = training.model.train(), state_file(work, training.name)
    averages = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), training.rate, (0.9, 0.99), weight_decay=0.01, fused=True)
    first = restore(file, model, averages, optimizer)
    losses, steps_between_shows = [], max(1, training.steps // training.shows)
    for step in range(first, training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.rate * rate_factor(step, training.steps, training.decay_from)
        loss = training.loss(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        follow(averages, model, min(training.ema, (1 + step) / (10 + step)))
        losses.append(loss.detach())
        done = step + 1
        if done % STEPS_BETWEEN_LINES == 0 or done == training.steps:
            print(f"{training.name} {done}/{training.steps} loss {torch.stack(losses).mean():.4f}", flush=True)
            losses = []
        if done % STEPS_BETWEEN_STATES == 0 or done == training.steps:
            save(file, model, averages, optimizer, done)
        if training.show and (done % steps_between_shows == 0 or done == training.steps):
            print(f"{training.name} {done}/{training.steps} {training.show(averages)}", flush=True)
    return averages


def rate_factor(step: int, steps: int, decay_from: float) -> float:
    """Warm up, stay, and fall along half a cosine at the end."""
    fallen = max(0.0, (step / steps - decay_from) / (1 - decay_from))
    cosine = 0.5 * (1 + math.cos(math.pi * fallen))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


@torch.no_grad()
def follow(averages: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averages, which make better pictures than the last weights, a little towards the present ones."""
    torch._foreach_lerp_(list(averages.parameters()), list(model.parameters()), 1 - decay)


def state_file(work: Path, name: str) -> Path:
    """Where a training keeps its state."""
    return work / f"{name}-state.pt"


def save(file: Path, model: nn.Module, averages: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write all that is needed to go on, so that the file is always whole."""
    content = {"model": model.state_dict(), "averages": averages.state_dict()}
    partial = file.with_suffix(".partial")
    torch.save(content | {"optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.replace(file)


def restore(file: Path, model: nn.Module, averages: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Read the last state, if there is one, and return the number of steps that were made."""
    if not file.exists():
        return 0
    state = torch.load(file, map_location=next(model.parameters()).device, weights_only=True, mmap=True)
    model.load_state_dict(state["model"])
    averages.load_state_dict(state["averages"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def averaged_weights(work: Path, name: str) -> dict[str, Tensor]:
    """The averaged weights of a training's last state."""
    return torch.load(state_file(work, name), map_location="cpu", weights_only=True)["averages"]


def autocast(settings: Settings) -> AbstractContextManager:
    """Half precision for the heavy operations, where the preset wants it."""
    return torch.autocast(settings.device, torch.bfloat16, enabled=settings.bfloat16)
