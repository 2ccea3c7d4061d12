"""The pictures in the documentation, painted by the bundle that ships."""

from pathlib import Path

from PIL import Image, ImageDraw

import pleinair
from pleinair.pictures.preparing import canny
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
DAY = "a red house in a meadow on a sunny day"
CASTLE = "a yellow castle in a meadow on a sunny day"
TREE = "a green tree in the snow at night"
BOAT = "a blue boat on the sea at sunset"
CAT = "a yellow cat in a meadow on a sunny day"
NIGHT = "a purple house on a snowy hill at night"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def paint_documentation(folder: Path) -> None:
    """Write every picture of the documentation into `folder`."""
    pipe = pleinair.load(precision="f32")  # the same on every machine
    images = [pipe.generate(prompt, seed=seed).images[0] for prompt, seed in GALLERY.items()]
    write_sheet(images, list(GALLERY), folder / "storybook.webp")
    paint_tasks(pipe, folder / "tasks.webp")
    paint_addons(pipe, folder / "addons.webp")
    paint_weights(pipe, folder / "lora.webp")
    paint_edges(pipe, folder / "controlnet.webp")


def draw_sketch() -> Image.Image:
    """A house, a hill and a sun, as crude as anybody can draw them: docs/examples/sketch.png."""
    sketch = Image.new("RGB", (256, 256), (120, 170, 225))
    draw = ImageDraw.Draw(sketch)
    draw.polygon([(0, 168), (80, 148), (256, 180), (256, 256), (0, 256)], fill=(70, 150, 60))
    draw.rectangle([124, 116, 208, 188], fill=(190, 40, 40))
    draw.polygon([(112, 120), (166, 68), (220, 120)], fill=(110, 50, 40))
    draw.ellipse([28, 20, 68, 60], fill=(250, 220, 60))
    return sketch


def draw_mask() -> Image.Image:
    """Where the house of the sketch stands: docs/examples/mask.png."""
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).rounded_rectangle([70, 40, 255, 250], 40, fill=255)
    return mask


def paint_tasks(pipe: pleinair.Pipeline, file: Path) -> None:
    """What can be done with a picture."""
    sketch, mask = EXAMPLES / "sketch.png", EXAMPLES / "mask.png"
    draw_sketch().save(sketch)
    draw_mask().save(mask)
    day = pipe.generate(DAY, image=sketch, strength=0.5, seed=5).images[0]
    house = pipe.generate(HOUSE, seed=7).images[0]
    wide = pipe.generate(TREE, image=house, outpaint=(0, 0, 128, 0), seed=1).images[0]
    mountains = pipe.generate("mountains in the snow at sunset", tile="x", width=512, height=256, seed=2).images[0]
    shown = {
        "sketch.png, drawn with five shapes": draw_sketch(),
        "--image sketch.png --strength 0.5: a red house": day,
        "--mask mask.png: a yellow castle": pipe.generate(CASTLE, image=day, mask=mask, seed=4).images[0],
        HOUSE: house,
        "--outpaint 0,0,128,0: a green tree": wide,
        "--panorama: mountains at sunset": mountains,
    }
    side = house.width
    write_sheet([within(image, side) for image in shown.values()], list(shown), file)


def paint_addons(pipe: pleinair.Pipeline, file: Path) -> None:
    """What storybook's add-ons do to one picture and to one sketch."""
    edges = f"storybook-edges:{EXAMPLES / 'sketch.png'}:canny"
    asked = {
        CAT: {"prompt": CAT},
        "--lora storybook-chalk": {"prompt": CAT, "loras": ["storybook-chalk"]},
        "--lora storybook-lcm: four steps": {"prompt": CAT, "loras": ["storybook-lcm"]},
        "--vae storybook-tiny": {"prompt": CAT, "vae": "storybook-tiny"},
        f"--control storybook-edges:sketch.png:canny, {NIGHT}": {"prompt": NIGHT, "controls": [edges]},
        "and --lora storybook-chalk": {"prompt": NIGHT, "controls": [edges], "loras": ["storybook-chalk"]},
    }
    images = [pipe.generate(seed=3, **how).images[0] for how in asked.values()]
    write_sheet(images, list(asked), file)


def paint_weights(pipe: pleinair.Pipeline, file: Path) -> None:
    """One picture with a style at several weights, and with another prompt."""
    weights = (0, 0.3, 0.5, 0.7, 1)
    images = [pipe.generate(BOAT, seed=1, loras=[("storybook-chalk", weight)]).images[0] for weight in weights]
    images.append(pipe.generate(f"{HOUSE} <lora:storybook-chalk>", seed=7).images[0])
    titles = [f"{BOAT}, --lora storybook-chalk:{weight:g}" for weight in weights]
    write_sheet(images, [*titles, f"{HOUSE} <lora:storybook-chalk>"], file)


def paint_edges(pipe: pleinair.Pipeline, file: Path) -> None:
    """A picture, its edges, and what is painted along them."""
    first = pipe.generate(DAY, seed=9).images[0]
    shown = {"model": "storybook-edges", "image": first, "prepare": "canny"}
    prompts = (HOUSE, "a blue house in the desert at sunset", "a pink house in the snow in a storm")
    held = [pipe.generate(prompt, seed=3, controls=[shown]).images[0] for prompt in prompts]
    free = pipe.generate(HOUSE, seed=3).images[0]
    titles = ["photo.png", "pleinair prepare canny", f"{HOUSE}, without", *prompts]
    write_sheet([first, canny(first), free, *held], titles, file)


def within(image: Image.Image, side: int) -> Image.Image:
    """The picture in the middle of a white square."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), "white")
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square


def write_sheet(images: list[Image.Image], titles: list[str], file: Path, columns: int = COLUMNS) -> None:
    """A sheet of pictures with what they are, as WebP."""
    sheet = file.with_suffix(".png")
    save_sheet(images, titles, sheet, columns)
    with Image.open(sheet) as picture:
        picture.save(file, "WEBP", quality=90)
    sheet.unlink()
