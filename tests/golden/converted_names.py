"""Write converted_names.json.xz: what diffusers' converters make of the names in single files.

    python tests/golden/converted_names.py        (needs the `export` extra)

Models of real depth and small widths are named as single files are, given to diffusers, and found again by their
values: parameter -> [name in the file, which of three, whether transposed].
"""

import json
import lzma
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers.loaders import single_file_utils as converters

HERE = Path(__file__).parent
sys.path += [str(HERE.parents[1] / "benchmarks"), str(HERE.parent / "helpers")]

import original_names  # noqa: E402
from fresh_models import network  # noqa: E402
from pleinair.sources.architectures import ARCHITECTURES, family  # noqa: E402

GOLDEN = HERE / "converted_names.json.xz"
HEADS = {"attention_head_dim": 4}
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "projection_dim": 16, "vocab_size": 50}
SMALL = {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 16, **HEADS}
LARGE = {
    "block_out_channels": (32, 64, 96),
    "cross_attention_dim": 16,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 88,
    **HEADS,
}
NARROW = {  # model -> what its UNet has otherwise than its architecture
    "sd15": SMALL,
    "sd21": SMALL,
    "bk-sdm-base": SMALL,
    "bk-sdm-small": SMALL,
    "bk-sdm-tiny": SMALL | {"block_out_channels": (32, 32, 64)},
    "sdxs": SMALL | {"block_out_channels": (32, 32, 64)},
    "sdxl": LARGE,
    "sdxl-refiner": LARGE | {"block_out_channels": (32, 64, 96, 96)},
    "ssd-1b": LARGE,
    "vega": LARGE,
}
OPEN_CLIP = {"sd21": "text_encoder", "sdxl": "text_encoder_2"}  # model -> its component with OpenCLIP's names


def main() -> None:
    torch.manual_seed(0)
    golden = {f"unet {name}": of_unet(name) for name in NARROW}
    golden |= {"vae": of_vae()} | {
        f"open_clip {name}": of_open_clip(name, folder) for name, folder in OPEN_CLIP.items()
    }
    GOLDEN.write_bytes(lzma.compress(json.dumps(golden).encode()))
    print({name: len(found) for name, found in golden.items()})


def made(name: str, folder: str, **narrow) -> torch.nn.Module:
    module = network(family(name).part(folder), ARCHITECTURES[name][folder] | narrow)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-1, 1)
    return module


def of_unet(name: str) -> dict:
    module = made(name, "unet", **NARROW[name])
    files = original_names.unet(numbers(module))
    back = converters.convert_ldm_unet_checkpoint(prefixed("model.diffusion_model.", files), dict(module.config))
    return found(back, files)


def of_vae() -> dict:
    module = made("sd15", "vae", block_out_channels=(32, 32, 64, 64))
    files = original_names.vae(numbers(module))
    return found(
        converters.convert_ldm_vae_checkpoint(prefixed("first_stage_model.", files), dict(module.config)), files
    )


def of_open_clip(name: str, folder: str) -> dict:
    module = made(name, folder, **TEXT)
    weights = {key.removeprefix("text_model."): each for key, each in numbers(module).items()}
    files = original_names.open_clip(weights, spare=folder == "text_encoder")
    files["text_projection"] = np.random.default_rng(0).random((16, 16), np.float32)
    prefix = "cond_stage_model.model."
    return found(converters.convert_open_clip_checkpoint(module, prefixed(prefix, files), prefix=prefix), files)


def numbers(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: each.detach().numpy() for name, each in module.named_parameters()}


def prefixed(prefix: str, files: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {prefix + name: torch.from_numpy(each) for name, each in files.items()}


def found(back: dict[str, torch.Tensor], files: dict[str, np.ndarray]) -> dict[str, list]:
    """Where each tensor that diffusers gives back comes from."""
    known = {}
    for name, each in files.items():
        known.setdefault(each.tobytes(), [name, None, False])
        for third, values in enumerate(np.split(each, 3) if "in_proj" in name else ()):
            known.setdefault(values.tobytes(), [name, third, False])
        if name == "text_projection":
            known[np.ascontiguousarray(each.T).tobytes()] = [name, None, True]
    return {
        name.removeprefix("text_model."): known[each.detach().contiguous().numpy().tobytes()]
        for name, each in back.items()
        if "position_ids" not in name
    }


if __name__ == "__main__":
    main()
