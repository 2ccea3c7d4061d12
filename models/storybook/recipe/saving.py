"""Ways to ask the network less, against simply taking fewer steps: pictures beside those of a hundred steps."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

import pleinair
from pleinair.sampling.reuse import asked_steps
from recipe.captions import caption
from recipe.evaluate import SCENE_SEED, rounded
from recipe.precision import ssim
from recipe.scenes import random_scene

PROMPTS, PLACING_PROMPTS = 24, 8
PLACING_SEED = SCENE_SEED + 1
SAMPLER = "dpmpp_2m"
MANY, USUAL = 100, 20
FEWER = (16, 14, 12, 10, 9, 8, 7, 6, 5)
REUSED = {2: (20, 16, 14, 12, 10), 3: (20, 16, 12), 4: (20, 16)}  # every -> steps
SPACINGS = ("karras", "lu", "beta", "ays")
PLACED = (6, 8)
PLACING_SIZE = {"width": 128, "height": 128}
SHIFTS = (0.25, -0.25, 0.1, -0.1)  # of the way to the neighbour, by turns
ROUNDS = 3
POOR = 0.8

Paint = Callable[..., Tensor]


def prompts_from(seed: int, count: int) -> list[str]:
    """Complete captions of random scenes, of one and of two things by turns."""
    random = Random(seed)
    return [caption(random_scene(random, 1 + number % 2), random, complete=True) for number in range(count)]


def ways() -> dict[str, tuple[int, dict]]:
    """Name -> calls of the network, and how it is asked for."""
    found = {f"{steps} steps": (steps, {"steps": steps}) for steps in FEWER}
    for every, counts in REUSED.items():
        for steps in counts:
            calls = len(asked_steps(steps, every, lambda step: False))
            found[f"{steps} steps, reuse {every}"] = calls, {"steps": steps, "reuse": every}
    for spacing in SPACINGS:
        for steps in (8, 10, 12):
            found[f"{steps} steps, {spacing}"] = steps, {"steps": steps, "spacing": spacing}
    found["4 steps, storybook-lcm"] = 2, {"loras": ["storybook-lcm"]}  # without guidance, which is half a step's work
    found["20 steps, storybook-tiny"] = USUAL, {"steps": USUAL, "vae": "storybook-tiny"}
    return found


def placed(pipe: pleinair.Pipeline, count: int) -> list[int]:
    """So many timesteps, moved by turns to where few steps come nearest to what many steps paint of other prompts."""
    told = prompts_from(PLACING_SEED, PLACING_PROMPTS)

    def latents(**how: object) -> np.ndarray:
        made = [
            pipe.generate(text, seed=seed, sampler=SAMPLER, **PLACING_SIZE, **how) for seed, text in enumerate(told)
        ]
        return np.concatenate([each.latents for each in made])

    wanted = latents(steps=MANY)

    def error(steps: list[int]) -> float:
        return float(np.abs(latents(timesteps=steps) - wanted).mean())

    best = [round(each) for each in np.linspace(999, 0, count + 1)[:-1]]
    least = error(best)
    for _ in range(ROUNDS):
        for place in range(1, count):
            for shift in SHIFTS:
                here, towards = best[place], (best[place - 1] if shift > 0 else [*best, 0][place + 1])
                tried = [*best[:place], round(here + abs(shift) * (towards - here)), *best[place + 1 :]]
                if all(high > low for high, low in pairwise(tried)) and (found := error(tried)) < least:
                    best, least = tried, found
    return best


def compare_savings(report: Path) -> None:
    """Paint the same prompts in every way; print and write what each costs, and how near it comes."""
    told = prompts_from(SCENE_SEED, PROMPTS)
    with pleinair.load() as pipe:

        def paint(**how: object) -> Tensor:
            asked = how if "loras" in how else {"sampler": SAMPLER, **how}
            pictures = [pipe.generate(text, seed=seed, **asked).pixels for seed, text in enumerate(told)]
            return torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2)

        many, usual = paint(steps=MANY), paint(steps=USUAL)
        rows = [row(f"{USUAL} steps", USUAL, usual, many, usual)]
        for name, (calls, how) in ways().items():
            rows.append(row(name, calls, paint(**how), many, usual))
            keep(rows, report)
        for count in PLACED:
            steps = placed(pipe, count)
            name = f"{count} steps at {', '.join(map(str, steps))}"
            rows.append(row(name, count, paint(timesteps=steps), many, usual))
            keep(rows, report)


def keep(rows: list[dict], report: Path) -> None:
    """Print the last row, and write all so far."""
    print(rows[-1], flush=True)
    report.write_text(json.dumps(rounded({"prompts": PROMPTS, "ways": rows}), indent=1) + "\n")


def row(name: str, calls: int, made: Tensor, many: Tensor, usual: Tensor) -> dict:
    """SSIM with the pictures of many steps and of the usual ones: median, smallest, and the share that is poor."""
    found = {"way": name, "calls": calls}
    for against, wanted in (("many", many), ("usual", usual)):
        alike = ssim(made, wanted)
        median, least, poor = alike.median(), alike.min(), (alike < POOR).float().mean()
        found[against] = {"median": median.item(), "min": least.item(), "poor": poor.item()}
    return found
