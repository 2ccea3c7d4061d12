"""Sheets of pictures to look at."""

import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

LINE_HEIGHT = 11


def as_images(pictures: Tensor) -> list[Image.Image]:
    """Images of pictures that go from -1 to 1."""
    bytes_ = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in bytes_]


def save_pairs(wanted: Tensor, made: Tensor, path: Path) -> None:
    """Pictures above what was made of them, eight in a row."""
    rows = [torch.cat([part[row : row + 8] for part in (wanted, made)]) for row in range(0, len(wanted), 8)]
    save_sheet(as_images(torch.cat(rows)), None, path, 8)


def save_sheet(images: list[Image.Image], titles: list[str] | None, path: Path, columns: int) -> None:
    """A sheet of images, with titles below if there are any."""
    width, height = images[0].size
    cell = height + (3 * LINE_HEIGHT + 8 if titles else 4)
    sheet = Image.new("RGB", (columns * (width + 8), -(-len(images) // columns) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left, top = index % columns * (width + 8) + 4, index // columns * cell + 2
        sheet.paste(image, (left, top))
        if titles:
            for line, text in enumerate(textwrap.wrap(titles[index], width // 6)[:3]):
                draw.text((left, top + height + 2 + line * LINE_HEIGHT), text, fill="black")
    partial = path.with_suffix(".partial.png")
    sheet.save(partial)
    partial.replace(path)
