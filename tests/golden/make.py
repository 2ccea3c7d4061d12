"""Write the golden numbers of the torch-free tests: `python tests/golden/make.py` (needs the `export` extra).

trajectories.npz   final latents of pinned diffusers schedulers on the toy network of tests/toy.py
noise.npz          torch.randn on the CPU for several seeds and sizes
storybook.npz      pictures of diffusers' pipeline from models/storybook/source: write it again after a retraining
"""

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import oracle  # noqa: E402
import storybook  # noqa: E402
import toy  # noqa: E402

SIZES = ((60,), (4, 9, 7), (4, 8, 8), (3,), (15,), (16,), (17,), (4, 64, 64))
SEEDS = (0, 7, 2**32 - 1, 2**40 + 3)


def main() -> None:
    trajectories = {
        f"{sampler}/{spacing}/{prediction}/{steps}": oracle.trajectory(config, sampler, spacing, steps, seed=steps)
        for sampler in oracle.SAMPLERS
        for spacing in oracle.SPACINGS
        for prediction, config in toy.CONFIGS.items()
        for steps in toy.STEPS
    }
    np.savez_compressed(HERE / "trajectories.npz", **trajectories)
    noise = {}
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        for number, size in enumerate(SIZES):
            drawn = torch.randn(size, generator=generator).numpy()
            noise[f"{seed}/{number}/{'x'.join(map(str, size))}"] = drawn.reshape(-1)[-64:]
    np.savez_compressed(HERE / "noise.npz", **noise)
    np.savez_compressed(HERE / "storybook.npz", **storybook_pictures())


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
