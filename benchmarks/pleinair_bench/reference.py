"""The picture that every machine should paint with storybook, and how far another one is from it.

    python -m pleinair_bench.reference

makes it again, which is needed whenever storybook's weights change.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pleinair.bundle.opening import Bundle, bundle_identity, open_bundle

PICTURE = Path(__file__).with_name("reference.png")
FACTS = PICTURE.with_suffix(".json")
PROMPT, SEED = "a red house on a snowy hill at night", 7
ENGINE = "openvino"
WINDOW, WIDTH = 11, 1.5  # of the Gaussian of SSIM
WRONG_DB = 30.0  # below this a picture is another one; fp32 on any engine stays above 45, bf16 above 35


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """What the reference was painted with, as it must be for a picture to be held against it."""
    defaults = bundle.manifest.defaults
    return {
        "bundle": bundle_identity(bundle)["sha256"],
        "prompt": PROMPT,
        "seed": SEED,
        "width": defaults.width,
        "height": defaults.height,
        "steps": defaults.steps,
        "sampler": defaults.sampler,
    }


def make() -> None:
    """Paint the reference with the storybook that is here, and write it."""
    from pleinair.pipeline import load

    pipe = load(engine=ENGINE)
    pipe.generate(PROMPT, seed=SEED).images[0].save(PICTURE, optimize=True)
    FACTS.write_text(json.dumps(facts_of(pipe.bundle), indent=1) + "\n", encoding="utf-8")


def likeness(pixels: np.ndarray, bundle: Bundle, steps: int, sampler: str) -> dict[str, Any]:
    """A picture (H, W, 3) in 0..1: the SHA-256 of its bytes, and PSNR (dB) and SSIM against the reference.

    The latter are None where it was painted with other settings or another model, and PSNR where nothing differs.
    """
    seen = np.round(pixels.clip(0, 1) * 255).astype(np.uint8)
    found = {"sha256": hashlib.sha256(seen.tobytes()).hexdigest(), "same": None, "psnr_db": None, "ssim": None}
    asked = facts_of(bundle) | {"steps": steps, "sampler": sampler, "width": seen.shape[1], "height": seen.shape[0]}
    if bundle.path != open_bundle(None).path or json.loads(FACTS.read_text(encoding="utf-8")) != asked:
        return found
    expected = np.array(Image.open(PICTURE).convert("RGB"))
    near = psnr(seen, expected)
    finite = round(near, 2) if math.isfinite(near) else None
    return found | {"same": finite is None, "psnr_db": finite, "ssim": round(ssim(seen, expected), 5)}


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels between two uint8 pictures; infinite where they are equal."""
    error = np.mean((one.astype(float) - other) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two uint8 pictures (H, W, 3), mean of the channels (Wang et al. 2004)."""
    bell = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * WIDTH**2))
    bell /= bell.sum()

    def mean(picture: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            picture = np.lib.stride_tricks.sliding_window_view(picture, WINDOW, axis) @ bell
        return picture

    x, y = one.astype(float), other.astype(float)
    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


if __name__ == "__main__":
    make()
