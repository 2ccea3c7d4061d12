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
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return spent


def state_path(work: Path, name: str) -> Path:
    """Where a training keeps its state."""
    return work / f"{name}-state.pt"


def averaged_weights(work: Path, name: str) -> dict[str, Tensor]:
    """The averaged weights of a training's last state."""
    return torch.load(state_path(work, name), map_location="cpu", weights_only=True)["averages"]


class Run:
    """A training as far as it has come, in one worker."""

    def __init__(self, training: Training, path: Path, device: str):
        self.training, self.path = training, path
        self.model = training.model.train()
        self.averages = Averages(self.model, training.ema)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), training.rate, (0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.step, self.spent = 0, 0.0
        if path.exists():
            state = torch.load(path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.averages.model.load_state_dict(state["averages"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent = state["step"], state["spent"]
        self.last = time.time()

    def save(self) -> None:
        """Write all that is needed to go on."""
        content = {"model": self.model.state_dict(), "averages": self.averages.model.state_dict()}
        content |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "spent": self.spent}
        save_atomically(content, self.path)

    def advance(self, rate: float) -> Tensor:
        """Take one step together with the other workers and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.training.loss(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        now = time.time()
        self.spent = average_gradients(self.model, self.spent + now - self.last)
        self.last = now
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.averages.follow(self.model, self.step)
        return loss.detach()


class Log:
    """Tells how a run goes, and saves and shows it now and then."""

    def __init__(self, run: Run, budget: float):
        self.run, self.budget = run, budget
        self.losses: list[Tensor] = []
        self.last_line = self.last_state = self.last_show = time.time()

    def tell(self, text: str) -> None:
        """Print a line about the run."""
        run = self.run
        print(f"{run.training.name} {run.spent:.0f}/{self.budget:.0f} s step {run.step} {text}", flush=True)

    def note(self, loss: Tensor, rate: float) -> None:
        """Take notice of a step."""
        self.losses.append(loss)
        now = time.time()
        if len(self.losses) == STEPS_BETWEEN_LINES:
            pace = STEPS_BETWEEN_LINES / (now - self.last_line)
            mean = torch.stack(self.losses).mean().item()
            self.tell(f"loss {mean:.4f} rate {rate:.1e} {pace:.2f} steps/s")
            self.losses, self.last_line = [], now
        if now - self.last_state > SECONDS_BETWEEN_STATES:
            self.run.save()
            self.last_state = now
        if self.run.training.show and now - self.last_show > self.run.training.seconds_between_shows:
            self.show()

    def show(self) -> None:
        """Let the training show its averaged model."""
        show = self.run.training.show
        self.tell(show(self.run.averages.model) if show else "done")
        self.last_show = time.time()


def run_training(training: Training, work: Path, settings: Settings) -> None:
    """Train until the time is up, from the last state if there is one."""
    run = Run(training, state_path(work, training.name), settings.device)
    budget = training.minutes * 60
    if training.until is not None:
        budget = run.spent + (training.until - datetime.now()).total_seconds()
    log = Log(run, budget) if worker_rank()[0] == 0 else None
    while run.spent < budget:
        rate = training.rate * rate_factor(run.step, run.spent / budget, training.decay_from)
        loss = run.advance(rate)
        if log:
            log.note(loss, rate)
    if log:
        run.save()
        log.show()


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
