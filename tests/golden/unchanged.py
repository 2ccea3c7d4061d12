"""Prove that a change of the code changed no picture: the raw arrays of some hundred jobs, before and after.

    python tests/golden/unchanged.py paint BEFORE.npz     # with the tree as it was
    python tests/golden/unchanged.py paint AFTER.npz      # with the tree as it is, on the same machine
    python tests/golden/unchanged.py compare BEFORE.npz AFTER.npz

A job is storybook on one engine: every sampler and spacing, every task, every option. Needs both engines. The names of
jobs are theirs for good, whatever their options are called; a job that one of the trees refuses is told of.
"""

import sys
import tempfile
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

import pleinair
from pleinair import PleinairError

PROMPTS = (
    "a red house on a snowy hill at night",
    "a (blue:1.3) boat, [calm sea]",
    "a yellow house AND a green tree :0.7",
    "a [red:blue:0.5] house by day",
    "a [boat|house] at dusk BREAK snowy hills",
)
SAMPLERS = (
    *("ddim", "ddpm", "pndm", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2s", "dpmpp_2s_a"),
    *("dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_3m_sde", "unipc", "deis", "ipndm", "sa_solver"),
    *("lcm", "tcd", "restart"),
)
SPACINGS = ("leading", "linspace", "trailing", "karras", "exponential", "polyexponential", "beta", "lu", "sgm_uniform")
SPACINGS += ("ddim_uniform", "simple", "normal", "kl_optimal", "ays", "trailing,karras")
SIDES = ((64, 64), (80, 64), (64, 96))


def jobs(folder: Path) -> dict[str, dict]:
    """Name -> arguments of `generate`."""
    yard = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    hole = np.zeros((64, 64), np.uint8)
    hole[20:50, 10:40] = 255
    image, mask, larger = folder / "image.png", folder / "mask.png", folder / "larger.png"
    Image.fromarray(yard).save(image)
    Image.fromarray(hole).save(mask)
    Image.fromarray(yard).resize((96, 80)).save(larger)
    options = {
        "plain": {},
        "no-negative": {"negative": ""},
        "no-guidance": {"guidance": 1.0},
        "guidance-0": {"guidance": 0.0},
        "two-calls": {"two_calls": True},
        "batch-3": {"count": 3, "batch": 3},
        "batch-2-of-3": {"count": 3, "batch": 2},
        "seeds": {"seed": [5, 2, 9]},
        "philox": {"noise": "philox"},
        "numpy": {"noise": "numpy"},
        "subseed": {"subseed": 3, "subseed_strength": 0.3},
        "rescale": {"rescale": 0.7},
        "interval": {"guidance_start": 0.2, "guidance_end": 0.7},
        "threshold": {"threshold": 0.9},
        "parallel": {"parallel": 0.3},
        "all-guidance": {"rescale": 0.5, "threshold": 0.95, "parallel": 0.5, "guidance_end": 0.8},
        "clip-skip": {"clip_skip": 2},
        "sigmas": {"sampler": "euler", "sigmas": [14.6, 3.2, 0.7]},
        "timesteps": {"sampler": "ddim", "timesteps": [999, 600, 200]},
        "eta": {"sampler": "ddim", "eta": 0.5},
        "churn": {"sampler": "euler", "s_churn": 4.0, "s_noise": 1.05},
        "s-noise": {"sampler": "euler_a", "s_noise": 0.9},
        "a1111-name": {"sampler": "DPM++ 2M Karras"},
        "tile": {"tile": True},
        "panorama": {"tile": "x"},
        "vae-tile": {"vae_tile": 64, "width": 96, "height": 96},
        "hires": {"hires": 1.5},
        "hires-own": {"hires": 1.5, "hires_steps": 3, "hires_sampler": "euler", "hires_spacing": "karras"},
        "hires-lanczos": {"hires": 1.5, "enlarger": "lanczos", "hires_strength": 0.7},
        "image": {"image": image},
        "image-strength": {"image": image, "strength": 0.4, "sampler": "euler_a"},
        "image-fitted": {"image": larger},
        "image-hires": {"image": image, "hires": 1.5},
        "mask": {"image": image, "mask": mask},
        "mask-strength": {"image": image, "mask": mask, "strength": 0.6},
        "mask-noise": {"image": image, "mask": mask, "fill": "noise", "mask_blur": 2},
        "mask-blank": {"image": image, "mask": mask, "fill": "blank", "restore": False},
        "only-masked": {"image": image, "mask": mask, "only_masked": True, "padding": 8},
        "outpaint": {"image": image, "outpaint": (16, 0, 8, 8)},
        "outpaint-odd": {"image": image, "outpaint": (5, 3, 0, 0), "fill": "noise"},
        "mask-batch": {"image": image, "mask": mask, "count": 2, "batch": 2, "sampler": "dpmpp_sde"},
    }
    found = {f"option {name}": given for name, given in options.items()}
    found |= {f"sampler {name}": {"sampler": name} for name in SAMPLERS}
    found |= {
        f"spacing {name} {sampler}": {"sampler": sampler, "spacing": name}
        for name in SPACINGS
        for sampler in ("euler", "dpmpp_2m")
    }
    found |= {
        f"image {name}": {"image": image, "strength": 0.6, "sampler": name}
        for name in SAMPLERS
        if name not in ("lcm", "tcd")
    }
    turns = zip(found.items(), cycle(PROMPTS), cycle(SIDES), strict=False)
    return {name: arguments(given, prompt, *side) for (name, given), prompt, side in turns}


def arguments(given: dict, prompt: str, width: int, height: int) -> dict:
    """A job's options, with a prompt, a size and steps where it does not say."""
    usual = {"prompt": prompt, "negative": "blurry", "seed": 11, "steps": 6}
    if {"sigmas", "timesteps"} & set(given):
        usual.pop("steps")
    if "image" not in given:
        usual |= {"width": width, "height": height}
    return usual | given


def paint(file: Path) -> None:
    """All jobs on both engines; what is refused is kept as its words."""
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in ("openvino", "onnx"):
            pipe = pleinair.load(engine=engine, precision="f32", threads=2)
            for name, given in jobs(Path(folder)).items():
                try:
                    result = pipe.generate(**given)
                except PleinairError as error:
                    arrays[f"{engine} {name}: refused"] = np.array(f"{type(error).__name__}: {error}")
                    continue
                arrays[f"{engine} {name}: latents"] = result.latents
                arrays[f"{engine} {name}: pixels"] = result.pixels
    np.savez(file, **arrays)
    painted = sum(name.endswith(": pixels") for name in arrays)
    print(f"{painted} jobs painted, {sum(name.endswith(': refused') for name in arrays)} refused, in {file}")


def compare(before: Path, after: Path) -> int:
    """1 where a job differs in a single bit, or is in one file alone."""
    a, b = np.load(before), np.load(after)
    wrong = sorted(set(a.files) ^ set(b.files))
    wrong += [name for name in a.files if name in b.files and not equal(a[name], b[name])]
    print(*(f"differs: {name}" for name in wrong), sep="\n")
    print(f"{len(a.files)} and {len(b.files)} arrays, {len(wrong)} differ")
    return 1 if wrong else 0


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


if __name__ == "__main__":
    command, *files = sys.argv[1:]
    sys.exit({"paint": paint, "compare": compare}[command](*map(Path, files)))
