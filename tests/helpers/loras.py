"""LoRA files with random numbers, and what they add to weights, written apart from the code that reads them."""

import numpy as np

from vectors import safetensors

ALPHA, RANK = 2.0, 4


def kohya(shapes, prefix="lora_unet_", seed=0, named=lambda path: path):
    """The tensors of a LoRA for layers of these shapes, path -> shape; a vector is a norm's."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for path, shape in shapes.items():
        name = prefix + named(path).replace(".", "_")
        if len(shape) == 1:
            tensors[f"{name}.w_norm"] = numbers(rng, shape)
            tensors[f"{name}.b_norm"] = numbers(rng, shape)
            continue
        out, inner, *kernel = shape
        tensors[f"{name}.lora_down.weight"] = numbers(rng, (RANK, inner, *kernel))
        tensors[f"{name}.lora_up.weight"] = numbers(rng, (out, RANK, *(1 for _ in kernel)))
        tensors[f"{name}.alpha"] = np.array(ALPHA, np.float32)
    return tensors


def numbers(rng, shape):
    return rng.normal(0, 0.15, shape).astype(np.float32)


def added(tensors, name):
    """What a LoRA adds to the weight of a layer, as the file calls it."""
    up, down = (tensors[f"{name}.lora_{part}.weight"] for part in ("up", "down"))
    change = up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    return ALPHA / len(down) * change.reshape(len(up), *down.shape[1:])


def write_lora(file, tensors, metadata=None):
    file.write_bytes(safetensors(tensors, metadata))
    return file
