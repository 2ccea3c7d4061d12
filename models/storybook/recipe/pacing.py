"""Training by the clock: rates, averaged weights, and states from which a run goes on."""

import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn

from recipe.settings import Settings

WARMUP_STEPS = 100
FINAL_RATE = 0.01
SECONDS_BETWEEN_STATES = 150
STEPS_BETWEEN_LINES = 100


@dataclass
class Training:
    """What is trained and how: the loss of a step, its rates, and what is shown now and then."""

    name: str
    model: nn.Module
    loss: Callable[[int], Tensor]
    rate: float
    minutes: float
    ema: float
    decay_from: float = 0.0
    until: datetime | None = None
    show: Callable[[nn.Module], str] | None = None
    seconds_between_shows: float = 600.0


def autocast(settings: Settings) -> AbstractContextManager:
    """Half precision for the heavy operations, where the preset wants it."""
    return torch.autocast(settings.device, torch.bfloat16, enabled=settings.bfloat16)


def clock_time(text: str) -> datetime:
    """The next moment when the clock shows HH:MM."""
    hour, minute = map(int, text.split(":"))
    now = datetime.now()
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def rate_factor(step: int, progress: float, decay_from: float) -> float:
    """Warm up, stay, and fall along half a cosine at the end."""
    fallen = max(0.0, min(1.0, (progress - decay_from) / (1 - decay_from)))
    cosine = 0.5 * (1 + math.cos(math.pi * fallen))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def save_atomically(content: object, path: Path) -> None:
    """Write a file so that it is always whole."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


class Averages:
    """Exponentially averaged weights, which make better pictures than the last ones."""

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Move a little towards the present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


def average_gradients(model: nn.Module, spent: float) -> float:
    """Share gradients and the first worker's clock between all workers, and return that clock."""
    if not distributed.is_initialized():
        return spent
    gradients = [weight.grad for weight in model.parameters()]
    clock = gradients[0].new_full((1,), spent if distributed.get_rank() == 0 else 0.0)
    flat = torch.cat([clock, *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(flat)
    spent, flat = flat[0].item(), flat[1:] / distributed.get_world_size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts):
        gradient.copy_(part.view_as(gradient))
    return spent


def run_training(training: Training, work: Path, settings: Settings) -> None:
    """Train until the time is up, from the last state if there is one."""
    model = training.model.train()
    averages = Averages(model, training.ema)
    optimizer = torch.optim.AdamW(model.parameters(), training.rate, (0.9, 0.99), weight_decay=0.01, fused=True)
    path = state_path(work, training.name)
    step, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, map_location=settings.device, weights_only=True)
        model.load_state_dict(state["model"])
        averages.model.load_state_dict(state["averages"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    first = not distributed.is_initialized() or distributed.get_rank() == 0

    def save() -> None:
        content = {"model": model.state_dict(), "averages": averages.model.state_dict()}
        content |= {"optimizer": optimizer.state_dict(), "step": step, "spent": spent}
        save_atomically(content, path)

    def tell(text: str) -> None:
        print(f"{training.name} {spent:.0f}/{budget:.0f} s step {step} {text}", flush=True)

    budget = training.minutes * 60
    if training.until is not None:
        budget = spent + (training.until - datetime.now()).total_seconds()
    last_line = last_state = last_show = last = time.time()
    running = torch.zeros((), device=settings.device)
    while spent < budget:
        rate = training.rate * rate_factor(step, spent / budget, training.decay_from)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = training.loss(step)
        optimizer.zero_grad()
        loss.backward()
        now = time.time()
        spent = average_gradients(model, spent + now - last)
        last = now
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        averages.follow(model, step)
        running += loss.detach()
        if not first:
            continue
        if step % STEPS_BETWEEN_LINES == 0:
            pace = STEPS_BETWEEN_LINES / (now - last_line)
            tell(f"loss {running.item() / STEPS_BETWEEN_LINES:.4f} rate {rate:.1e} {pace:.2f} steps/s")
            running.zero_()
            last_line = now
        if now - last_state > SECONDS_BETWEEN_STATES:
            save()
            last_state = now
        if training.show and now - last_show > training.seconds_between_shows:
            tell(training.show(averages.model))
            last_show = time.time()
    if first:
        save()
        tell(training.show(averages.model) if training.show else "done")


def state_path(work: Path, name: str) -> Path:
    """Where a training keeps its state."""
    return work / f"{name}-state.pt"


def averaged_weights(work: Path, name: str) -> dict[str, Tensor]:
    """The averaged weights of a training's last state."""
    return torch.load(state_path(work, name), map_location="cpu", weights_only=True)["averages"]


def work_as_one(rank: int, settings: Settings, rendezvous: Path, train: Callable, arguments: tuple) -> None:
    """One worker of a training: a single thread, gradients shared with the others."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=settings.workers)
    train(*arguments)
    distributed.destroy_process_group()


def in_workers(train: Callable, work: Path, settings: Settings, *arguments: object) -> None:
    """Train in several single-threaded processes, which on small networks beat one process with several threads."""
    if settings.workers == 1:
        train(work, settings, *arguments)
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rendezvous = (work / "rendezvous").absolute()
    rendezvous.unlink(missing_ok=True)
    everything = (settings, rendezvous, train, (work, settings, *arguments))
    multiprocessing.start_processes(work_as_one, everything, settings.workers, start_method="spawn")


def worker_rank() -> tuple[int, int]:
    """Which worker this is, of how many."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
