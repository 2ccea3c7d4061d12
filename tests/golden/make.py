"""Write the golden numbers of the torch-free tests: `python tests/golden/make.py` (needs the `export` extra).

trajectories.npz   final latents of pinned diffusers schedulers on the toy network of tests/helpers/toy.py
noise.npz          torch.randn on the CPU (AVX2 or AVX-512) for several seeds and sizes, and variations of it
storybook.npz      pictures of diffusers' pipeline from models/storybook/source: write it again after a retraining

`python tests/golden/make.py storybook` writes the named ones alone.
"""

import sys
import zlib
from pathlib import Path

import diffusers
import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))

import oracle  # noqa: E402
import storybook  # noqa: E402
import toy  # noqa: E402

SIZES = ((60,), (4, 9, 7), (3,), (4, 8, 8), (15,), (1,), (16,), (17,), (4, 64, 64), (5,), (1_000_003,))
SEEDS = (0, 7, 2**32 - 1, 2**40 + 3, 2**64 - 1)
VARIATIONS = ((1, 2, 0.05, (4, 8, 8)), (1, 2, 0.5, (4, 8, 8)), (3, 2**33, 0.9, (4, 9, 7)), (5, 5, 0.3, (4, 8, 8)))


def main() -> None:
    makers = {"trajectories": trajectories, "noise": noise_numbers, "storybook": storybook_pictures}
    for name in sys.argv[1:] or makers:
        np.savez_compressed(HERE / f"{name}.npz", **makers[name]())


def trajectories() -> dict[str, np.ndarray]:
    """Where every sampler ends, by spacing, prediction and steps, and for variants and options."""
    ended = {
        f"{sampler}/{spacing or '-'}/{prediction}/{steps}": oracle.trajectory(config, sampler, spacing, steps, steps)
        for sampler in (*oracle.SAMPLERS, *oracle.FORMULAS)
        for spacing in oracle.spacings(sampler)
        for prediction, config in toy.CONFIGS.items()
        for steps in toy.STEPS
    }
    for variant in toy.VARIANTS:
        config = {**toy.CONFIGS["epsilon"], **variant}
        for steps in toy.VARIANT_STEPS:
            ended[f"variant/{toy.variant_name(variant)}/{steps}"] = oracle.of_variant(config, steps, steps)
    for number, (sampler, options) in enumerate(toy.OPTIONS):
        for prediction, config in toy.CONFIGS.items():
            walked = oracle.trajectory(config, sampler, None, 10, 10, **options)
            ended[f"option/{number}/{prediction}"] = walked
    return ended


def noise_numbers() -> dict[str, np.ndarray]:
    """The last numbers and the checksum of successive draws, and the first draws of variation seeds."""
    noise = {}
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        for number, size in enumerate(SIZES):
            drawn = torch.randn(size, generator=generator).numpy()
            name = f"draws/{seed}/{number}/{'x'.join(map(str, size))}"
            noise[f"{name}/last"], noise[f"{name}/crc32"] = drawn.reshape(-1)[-64:], zlib.crc32(drawn.tobytes())
    for seed, subseed, strength, size in VARIATIONS:
        a, b = (torch.randn(size, generator=torch.Generator().manual_seed(each)) for each in (seed, subseed))
        noise[f"varied/{seed}/{subseed}/{strength}/{'x'.join(map(str, size))}"] = varied(a, b, strength).numpy()
    return noise


def varied(a: torch.Tensor, b: torch.Tensor, strength: float) -> torch.Tensor:
    """A1111's variation: (4, h, w) turned from a to b, column by column."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).unsqueeze(1)
    if cosine.mean() > 0.9995:
        return a * strength + b * (1 - strength)
    angle = cosine.acos()
    return (((1 - strength) * angle).sin() * a + (strength * angle).sin() * b) / angle.sin()


def storybook_pictures() -> dict[str, np.ndarray]:
    """Pictures as 16-bit integers, full scale 0..1."""
    source = HERE.parents[1] / "models" / "storybook" / "source"
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(source, torch_dtype=torch.float32)
    config, pictures = pipe.scheduler.config, {}
    for name, case in storybook.CASES.items():
        pipe.scheduler = oracle.scheduler(config, case["sampler"], case["spacing"])
        images = pipe(
            case["prompt"],
            negative_prompt=case["negative"],
            num_inference_steps=case["steps"],
            guidance_scale=case["guidance"],
            width=case["width"],
            height=case["height"],
            generator=torch.Generator().manual_seed(case["seed"]),
            output_type="np",
        ).images
        pictures[name] = (images[0] * 65535).round().astype(np.uint16)
    return pictures


if __name__ == "__main__":
    main()
