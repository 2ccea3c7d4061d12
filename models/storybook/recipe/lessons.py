"""The pictures of docs/how-it-works.md, painted by the recipe and by the bundle that ships."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pleinair
from pleinair.tasks.morph import morph
from recipe.diffusion import kept_shares
from recipe.gallery import write_sheet
from recipe.pictures import paint
from recipe.scenes import Scene, Thing

SIDE = 160  # the longest side of a picture on the page
RENDERED = Scene(
    hour="day",
    ground="grass",
    relief="hill",
    light=True,
    clouds=1,
    things=(Thing(kind="house", colour="red", side="centre", size="big", drawing=0),),
)
TIMES = (100, 250, 500, 750, 999)
HOUSE, HOUSE_SEED = "a red house on a snowy hill at night", 7
SHOWN_STEPS = (1, 2, 3, 5, 8, 12)
LATENT_REACH = 3.0  # what is shown as black and as white: latents have deviation 1
YELLOW, YELLOW_SEED = "a yellow house in the snow by day, with mountains", 2  # a pair that is never trained
GUIDANCES = (1, 2, 4, 8)
BALLOON, BALLOON_SEEDS = "a yellow balloon over the sea at sunset", (1, 2)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MORPHED = ("a red house in a meadow on a sunny day", "a purple castle in the snow at night")
MORPH_SEED, MORPH_FRAMES = 5, 6

Titled = dict[str, Image.Image]  # what stands below a picture -> the picture


def paint_lessons(pipe: pleinair.Pipeline, folder: Path) -> None:
    """Write every picture of the page into `folder`, one file for each row of pictures."""
    rows = {
        "noise": rising_noise(),
        "latents": latent_channels(pipe),
        "guesses": guesses(pipe),
        "guidance": guided(pipe),
        "seeds": varied(pipe),
        "morph": morphed(pipe),
    }
    for name, row in rows.items():
        images = [small(image) for image in row.values()]
        write_sheet(images, list(row), folder / f"how-it-works-{name}.webp", len(images))


def small(image: Image.Image) -> Image.Image:
    """A copy that is at most SIDE pixels wide and high."""
    copy = image.copy()
    copy.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return copy


def rising_noise() -> Titled:
    """A training picture under the noise of several timesteps."""
    clean = np.asarray(paint(RENDERED, 0, SIDE), np.float32) / 127.5 - 1  # [SIDE, SIDE, 3]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).numpy()
    shares, row = kept_shares().numpy(), {"a training picture": as_image(clean)}
    for time in TIMES:
        signal, spread = shares[time] ** 0.5, (1 - shares[time]) ** 0.5
        row[f"t = {time}: {signal:.2f} picture, {spread:.2f} noise"] = as_image(signal * clean + spread * noise)
    return row


def as_image(picture: np.ndarray) -> Image.Image:
    """The image of an array that goes from -1 to 1, cut off beyond."""
    return Image.fromarray(((picture + 1) * 127.5).round().clip(0, 255).astype(np.uint8))


def latent_channels(pipe: pleinair.Pipeline) -> Titled:
    """A picture and the four channels of its latents, one square for each number."""
    made = pipe.generate(HOUSE, seed=HOUSE_SEED)
    row = {HOUSE: made.images[0]}
    for number, channel in enumerate(made.latents[0], 1):
        plane = as_image(channel / LATENT_REACH)
        row[f"channel {number}"] = plane.resize(made.images[0].size, Image.Resampling.NEAREST)
    return row


def guesses(pipe: pleinair.Pipeline) -> Titled:
    """What the network takes the clean picture to be at several steps of one run, as films show it."""
    row = {}
    for frame in pipe.stream(HOUSE, seed=HOUSE_SEED, steps=SHOWN_STEPS[-1]):
        if frame.step in SHOWN_STEPS and frame.result is None:
            row[f"guess at step {frame.step}"] = frame.preview()[0]
    return row


def guided(pipe: pleinair.Pipeline) -> Titled:
    """One prompt and seed at several guidance scales."""
    row = {}
    for scale in GUIDANCES:
        row[f"--guidance {scale}"] = pipe.generate(YELLOW, seed=YELLOW_SEED, guidance=scale).images[0]
    return row


def varied(pipe: pleinair.Pipeline) -> Titled:
    """From the picture of one seed to that of another."""
    seed, subseed = BALLOON_SEEDS
    row = {}
    for share in SHARES:
        made = pipe.generate(BALLOON, seed=seed, subseed=subseed, subseed_strength=share)
        row[f"{share:.0%} towards seed {subseed}"] = made.images[0]
    return row


def morphed(pipe: pleinair.Pipeline) -> Titled:
    """From one prompt to another, at one seed."""
    steps = morph(pipe, MORPHED, seeds=[MORPH_SEED], frames=MORPH_FRAMES)
    images = [frame.result.images[0] for frame in steps if frame.result]
    titles = [MORPHED[0], *(f"frame {number}" for number in range(2, MORPH_FRAMES)), MORPHED[1]]
    return dict(zip(titles, images, strict=True))
