"""What made a picture, written into its file: A1111's `parameters` text and our own JSON."""

import json
from typing import Any

from PIL.PngImagePlugin import PngInfo

from pleinair.sampling import SAMPLERS
from pleinair.schedule import SIGMA_SCHEDULES

SETTINGS_FORMAT = 1


def of_picture(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """The settings of one picture out of a job: its own seed instead of the list."""
    return {"format": SETTINGS_FORMAT, **{k: v for k, v in settings.items() if k != "seeds"}, "seed": seed}


def infotext(settings: dict[str, Any], seed: int) -> str:
    """The `parameters` text that A1111's web UI writes and that galleries parse."""
    sigmas = settings["spacing"].rpartition(",")[2]
    schedule = sigmas.capitalize() if sigmas in SIGMA_SCHEDULES else "Automatic"
    fields = {
        "Steps": settings["steps"],
        "Sampler": SAMPLERS[settings["sampler"]].a1111,
        "Schedule type": schedule,
        "CFG scale": f"{settings['guidance']:g}",
        "Seed": seed,
        "Size": f"{settings['width']}x{settings['height']}",
        "Model": settings["model"],
        "RNG": "CPU",
        "Version": f"pleinair {settings['pleinair']}",
    }
    lines = [settings["prompt"]]
    if settings["negative"]:
        lines.append(f"Negative prompt: {settings['negative']}")
    lines.append(", ".join(f"{name}: {value}" for name, value in fields.items()))
    return "\n".join(lines)


def png_chunks(settings: dict[str, Any], seed: int) -> PngInfo:
    """Text chunks `parameters` (A1111) and `pleinair` (JSON); text beyond Latin-1 becomes an iTXt chunk."""
    chunks = PngInfo()
    chunks.add_text("parameters", infotext(settings, seed))
    chunks.add_text("pleinair", json.dumps(of_picture(settings, seed), ensure_ascii=False))
    return chunks
