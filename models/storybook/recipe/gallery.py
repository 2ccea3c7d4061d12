"""The picture in the README, painted by the bundle that ships."""

from pathlib import Path

from PIL import Image

import pleinair
from recipe.sheets import save_sheet

GALLERY = {  # prompt -> seed
    "a red house on a snowy hill at night": 7,
    "a yellow balloon over the sea at sunset": 1,
    "a big purple castle in a meadow on a sunny day": 1,
    "a green boat on the sea in a storm": 1,
    "a white cat in the desert at dawn": 1,
    "a pink house in the snow by day, with mountains": 1,
}
COLUMNS = 6


def paint_gallery(file: Path) -> None:
    """Write a sheet of pictures with their prompts as WebP."""
    pipe = pleinair.load()
    images = [pipe.generate(prompt, seed=seed).images[0] for prompt, seed in GALLERY.items()]
    sheet = file.with_suffix(".png")
    save_sheet(images, list(GALLERY), sheet, COLUMNS)
    with Image.open(sheet) as picture:
        picture.save(file, "WEBP", quality=90)
    sheet.unlink()
