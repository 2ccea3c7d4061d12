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
from pleinair.sampling.reuse import calls_at
from recipe.captions import caption
from recipe.evaluate import SCENE_SEED, rounded
from recipe.precision import ssim
from recipe.scenes import random_scene

PROMPTS, PLACING_PROMPTS = 24, 8
PLACING_SEED = SCENE_SEED + 1
SAMPLER = "dpmpp_2m"
MANY, USUAL = 100, 20
FEWER = (20, 16, 14, 12, 10, 9, 8, 7, 6, 5)
ASKED = (14, 12, 10, 9, 8, 7, 6)  # of the usual steps
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


def asking(calls: int) -> str:
    """What the usual steps are called where only so many of them ask the network."""
    return f"{USUAL} steps in {calls} calls"


def ways() -> dict[str, tuple[int, dict]]:
    """Name -> calls of the network, and how it is asked for."""
    found = {f"{steps} steps": (steps, {"steps": steps}) for steps in FEWER}
    for calls in ASKED:
        found[asking(calls)] = calls, {"steps": USUAL, "reuse": USUAL / calls}
    for spacing in SPACINGS:
        for steps in (8, 10, 12):
            found[f"{steps} steps, {spacing}"] = steps, {"steps": steps, "spacing": spacing}
    found["4 steps, storybook-lcm"] = 2, {"loras": ["storybook-lcm"]}  # without guidance, which is half a step's work
    found["20 steps, storybook-tiny"] = USUAL, {"steps": USUAL, "vae": "storybook-tiny"}
    few = calls_at("fast", USUAL)
    found[f"{asking(few)}, storybook-tiny"] = few, {"steps": USUAL, "reuse": USUAL / few, "vae": "storybook-tiny"}
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
    """Paint the same prompts in every way; print and write what each costs, and how near it comes.

    Ways that the report has already are not painted again; delete it to begin anew.
    """
    told = prompts_from(SCENE_SEED, PROMPTS)
    rows = json.loads(report.read_text())["ways"] if report.exists() else []
    done = {row["way"] for row in rows}
    with pleinair.load() as pipe:

        def paint(**how: object) -> Tensor:
            asked = how if "loras" in how else {"sampler": SAMPLER, **how}
            pictures = [pipe.generate(text, seed=seed, **asked).pixels for seed, text in enumerate(told)]
            return torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2)

        many, usual = paint(steps=MANY), paint(steps=USUAL)
        for name, (calls, how) in ways().items():
            if name not in done:
                rows.append(row(name, calls, paint(**how), many, usual))
                keep(rows, report)
        for count in PLACED:
            if not any(name.startswith(f"{count} steps at ") for name in done):
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
