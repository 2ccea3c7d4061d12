"""The pictures in the documentation, painted by the bundle that ships."""

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
HOUSE = "a red house on a snowy hill at night"
MASK = Path(__file__).parents[3] / "docs" / "examples" / "mask.png"


def paint_documentation(folder: Path) -> None:
    """Write every picture of the documentation into `folder`."""
    pipe = pleinair.load()
    images = [pipe.generate(prompt, seed=seed).images[0] for prompt, seed in GALLERY.items()]
    write_sheet(images, list(GALLERY), folder / "storybook.webp")
    paint_tasks(pipe, folder / "tasks.webp")


def paint_tasks(pipe: pleinair.Pipeline, file: Path) -> None:
    """One house, and what can be done with it."""
    house = pipe.generate(HOUSE, seed=7).images[0]
    day, castle = "a red house in a meadow on a sunny day", "a yellow castle on a snowy hill at night"
    mountains = pipe.generate("mountains in the snow at sunset", seed=1, tile="x", width=256, height=128).images[0]
    shown = {
        HOUSE: house,
        f"--image house.png --strength 0.7: {day}": pipe.generate(day, image=house, strength=0.7, seed=1).images[0],
        f"--mask mask.png: {castle}": pipe.generate(castle, image=house, mask=MASK, seed=2).images[0],
        "--outpaint 64,0,64,0": pipe.generate(HOUSE, image=house, outpaint=(64, 0, 64, 0), seed=3).images[0],
        "--hires 1.5x --enlarger lanczos --hires-strength 0.2": pipe.generate(
            HOUSE, seed=7, hires=1.5, enlarger="lanczos", hires_strength=0.2
        ).images[0],
        "--panorama, beside itself": beside_itself(mountains),
    }
    side = house.width
    write_sheet([within(image, side) for image in shown.values()], list(shown), file)


def beside_itself(picture: Image.Image) -> Image.Image:
    """Two of a picture, left and right."""
    width, height = picture.size
    sheet = Image.new("RGB", (2 * width, height))
    for left in (0, width):
        sheet.paste(picture, (left, 0))
    return sheet


def within(image: Image.Image, side: int) -> Image.Image:
    """The picture in the middle of a white square."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), "white")
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square


def write_sheet(images: list[Image.Image], titles: list[str], file: Path) -> None:
    """A sheet of pictures with what they are, as WebP."""
    sheet = file.with_suffix(".png")
    save_sheet(images, titles, sheet, COLUMNS)
    with Image.open(sheet) as picture:
        picture.save(file, "WEBP", quality=90)
    sheet.unlink()
