"""Four steps instead of twelve, as a LoRA that finds in one call what the guided model finds step by step.

Luhman & Luhman (2021): the picture at the end of a solver's way is the target. It is drawn in few steps as a latent
consistency model is (Luo et al. 2023): find the picture, add less noise, and find it again.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from recipe.addons.data import SIZES, Drawn, Lessons, drawn_for, noise_like
from recipe.addons.low_rank import Adapted, LowRank, save_adapter
from recipe.addons.settings import Addons
from recipe.diffusion import GUIDANCE, NOISE_STEPS, kept_shares
from recipe.settings import Settings
from recipe.training import Training, autocast, train

# Those of LCM in eight steps, which has those of four and two among it; from the first everything comes.
TIMES = (999, 999, 999, 879, 759, 759, 639, 499, 499, 379, 259, 259, 139)
TEACHER_STEPS = 8  # from the first of them
HUBER = 0.001
EMA = 0.995


@dataclass(frozen=True)
class Solved:
    """A batch in one size: noisy latents, how noisy, what the teacher made of them, and the captions."""

    noisy: Tensor  # [n, 4, side, side]
    time: int
    picture: Tensor  # [n, 4, side, side]
    ids: Tensor  # [n, 77]


def found_picture(answer: Tensor, noisy: Tensor, time: int) -> Tensor:
    """The clean latents behind noisy ones, where the network found their noise."""
    share = kept_shares()[time].item()
    return (noisy - (1 - share) ** 0.5 * answer) / share**0.5


@torch.no_grad()
def solve(drawn: Drawn, time: int, lessons: Lessons) -> Solved:
    """Add noise to scenes, and let the guided model take it away."""
    unet, count = lessons.model.unet, len(drawn.ids)
    texts = torch.cat([lessons.text(lessons.nothing).expand(count, -1, -1), lessons.text(drawn.ids)])
    solver = DPMSolverMultistepScheduler.from_config(lessons.model.scheduler.config)
    steps = max(2, math.ceil(TEACHER_STEPS * (time + 1) / NOISE_STEPS))
    solver.set_timesteps(timesteps=[round(time * (steps - each) / steps) for each in range(steps)])
    share = kept_shares()[time].item()
    latents = noisy = share**0.5 * drawn.clean + (1 - share) ** 0.5 * noise_like(drawn)
    for at in solver.timesteps:
        both = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
        with autocast(lessons.settings):
            without, told = unet(both, at, texts).sample.float().chunk(2)
        latents = solver.step(without + GUIDANCE * (told - without), at, latents).prev_sample
    return Solved(noisy, time, latents, drawn.ids)


def solved(work: Path, lessons: Lessons, addons: Addons) -> list[Solved]:
    """All batches that the student learns from, sizes by turns, from where the teacher was stopped."""
    file = work / "few-steps-solved.pt"
    batches = [Solved(**kept) for kept in torch.load(file, lessons.settings.device)] if file.exists() else []
    for number in range(len(batches), addons.few_solved):
        time = TIMES[number // len(SIZES) % len(TIMES)]
        batches.append(solve(drawn_for(number, addons.few_batch, lessons), time, lessons))
        if (number + 1) % 100 == 0 or number + 1 == addons.few_solved:
            torch.save([vars(batch) for batch in batches], file.with_suffix(".partial"))
            file.with_suffix(".partial").replace(file)
            print(f"few-steps: {number + 1}/{addons.few_solved} batches solved", flush=True)
    return batches


def train_few_steps(work: Path, file: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the LoRA to find from every noise level what the guided model finds step by step, and save it."""
    torch.manual_seed(0)
    adapter = LowRank(lessons.model.unet, addons.few_rank).to(settings.device)
    student, batches = Adapted(lessons.model.unet, adapter), solved(work, lessons, addons)

    def loss(step: int) -> Tensor:
        batch = batches[step % len(batches)]
        noisy = batch.noisy.contiguous(memory_format=torch.channels_last)
        times = torch.full((len(noisy),), batch.time, device=noisy.device)
        with autocast(settings):
            answer = student(noisy, times, lessons.text(batch.ids)).sample.float()
        error = found_picture(answer, batch.noisy, batch.time) - batch.picture
        return (error.pow(2) + HUBER**2).sqrt().mean() - HUBER

    averaged = train(Training("few-steps", adapter, loss, addons.few_steps, addons.few_rate, EMA), work)
    save_adapter(averaged, file, **{"modelspec.title": "lcm", "modelspec.license": "apache-2.0"})
