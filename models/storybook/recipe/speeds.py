"""What `--speed` gives and takes: likeness at several numbers of steps, seconds, pictures."""

import json
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch
from PIL import Image

import pleinair
from pleinair.sampling.reuse import SPEEDS, calls_at
from recipe.curve import draw_curve
from recipe.evaluate import SCENE_SEED, rounded
from recipe.gallery import write_sheet
from recipe.precision import ssim
from recipe.saving import POOR, SAMPLER, USUAL, asking, prompts_from, ways

PROMPTS = 12
COUNTS = (12, 20, 30, 50)  # steps
TIMED_PROMPTS, ROUNDS = 3, 3
TIMED = (
    *(f"{steps} steps" for steps in (USUAL, 14, 12, 10, 8, 7, 6)),
    *(asking(calls) for calls in (14, 10, 8, 7, 6)),
    f"{asking(7)}, storybook-tiny",
    "4 steps, storybook-lcm",
)
SHOWN = {  # prompt -> seed
    "a red house on a snowy hill at night": 7,
    "a yellow balloon over the sea at sunset": 1,
    "a big purple castle in a meadow on a sunny day": 1,
}
SKETCH = Path(__file__).parents[3] / "docs" / "examples" / "sketch.png"
FROM_A_PICTURE = {"prompt": "a red house in a meadow on a sunny day", "seed": 5, "image": SKETCH}


def measure_speeds(report: Path) -> None:
    """Write what ways cost in seconds, and how near pictures of each speed come to exact ones of as many steps."""
    told = prompts_from(SCENE_SEED, PROMPTS)
    jobs = {str(count): {"steps": count} for count in COUNTS}
    jobs[f"{USUAL}, from a picture at strength 0.75"] = {"steps": USUAL, "image": SKETCH, "strength": 0.75}
    with pleinair.load(threads=1) as pipe:
        found = {"prompts": PROMPTS, "seconds": seconds_of(pipe, told[:TIMED_PROMPTS]), "steps": {}}
        for name, how in jobs.items():
            found["steps"][name] = speeds_at(pipe, told, how)
            report.write_text(json.dumps(rounded(found), indent=1) + "\n")


def speeds_at(pipe: pleinair.Pipeline, told: list[str], how: dict) -> dict[str, dict[str, float]]:
    """Speed -> its calls, and the SSIM of its pictures with the exact ones."""

    def paint(**more: object) -> torch.Tensor:
        made = [pipe.generate(text, seed=seed, sampler=SAMPLER, **how, **more) for seed, text in enumerate(told)]
        return torch.from_numpy(np.concatenate([each.pixels for each in made])).permute(0, 3, 1, 2)

    exact, found = paint(), {}
    for speed in list(SPEEDS)[1:]:
        alike = ssim(paint(speed=speed), exact)
        poor = (alike < POOR).float().mean().item()
        spread = {"median": alike.median().item(), "min": alike.min().item(), "poor": poor}
        walked = round(how["steps"] * how.get("strength", 1))
        found[speed] = {"calls": calls_at(speed, walked), **spread}
        print(how["steps"], speed, rounded(found[speed]), flush=True)
    return found


def seconds_of(pipe: pleinair.Pipeline, told: list[str]) -> dict[str, float]:
    """Way -> processor time of a picture, the median of all; the ways take turns, so that a busy machine slows all."""
    known, spent = ways(), {name: [] for name in TIMED}
    for _ in range(ROUNDS):
        for name in TIMED:
            how = known[name][1]
            asked = how if "loras" in how else {"sampler": SAMPLER, **how}
            pipe.generate(told[0], seed=0, **asked)  # opens its graphs
            for text in told:
                begun = process_time()
                pipe.generate(text, seed=0, **asked)
                spent[name].append(process_time() - begun)
    return {name: median(each) for name, each in spent.items()}


def draw_speeds(folder: Path, images: Path) -> None:
    """Draw the curve of what was measured."""
    saving, speeds = (json.loads((folder / f"{name}.json").read_text()) for name in ("saving", "speeds"))
    draw_curve(saving, speeds, images / "speed.svg")


def paint_speeds(pipe: pleinair.Pipeline, file: Path) -> None:
    """The same pictures at each speed, and with as many plain steps as the fastest has calls."""
    least = calls_at("fast", USUAL)
    columns = {
        f"exact, {USUAL} steps": {"steps": USUAL},
        **{
            f"--speed {speed}, {calls_at(speed, USUAL)} calls": {"steps": USUAL, "speed": speed}
            for speed in list(SPEEDS)[1:]
        },
        f"{least} plain steps": {"steps": least},
    }
    pictures: list[Image.Image] = []
    for asked in (*({"prompt": text, "seed": seed} for text, seed in SHOWN.items()), FROM_A_PICTURE):
        pictures += [pipe.generate(sampler=SAMPLER, **asked, **how).images[0] for how in columns.values()]
    write_sheet(pictures, [*columns] * (len(SHOWN) + 1), file, len(columns))
