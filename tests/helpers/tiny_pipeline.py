"""Tiny Stable Diffusion folders and upscalers with random weights, for tests: `write_tiny_pipeline(folder, family)`.

"sd1" is epsilon, quick_gelu, conv projections, and a tokenizer folder as the hub has it (no tokenizer.json); "sd2" is
v_prediction, gelu, linear projections, "!" as padding, and a tokenizer folder as transformers 5 writes it;
"sd1-inpaint" is "sd1" with a UNet of 9 channels.
"""

import json
from pathlib import Path

MERGES = [("t", "h"), ("th", "e</w>"), ("a", "n"), ("an", "d</w>"), ("r", "e"), ("re", "d</w>"), ("o", "n</w>")]
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> list[str]:
    """The 256 printable letters that GPT-2 and CLIP write bytes with, in the order of CLIP's vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(256 - len(plain))]


def write_tokenizer(folder: Path, pad: str) -> int:
    """Write vocab.json, merges.txt and the two small configs of a CLIP tokenizer; returns the vocabulary's size."""
    folder.mkdir(parents=True)
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in MERGES), BOS, EOS]
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(tokens)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": pad, "unk_token": EOS}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return len(tokens)


def write_tiny_pipeline(folder: str | Path, family: str = "sd1", *, seed: int = 0, dtype: str = "float32") -> Path:
    """Write a Stable Diffusion folder of under a million random parameters; the same bytes for the same seed."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder, second, inpaint = Path(folder), family == "sd2", family == "sd1-inpaint"
    size = write_tokenizer(folder / "tokenizer", "!" if second else EOS)
    if second:
        modernize_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=size,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=77,
                hidden_act="gelu" if second else "quick_gelu",
                projection_dim=32,
                bos_token_id=size - 2,
                eos_token_id=size - 1,
                pad_token_id=0 if second else size - 1,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=9 if inpaint else 4,
            cross_attention_dim=32,
            attention_head_dim=[2, 4] if second else 4,
            use_linear_projection=second,
            layers_per_block=1,
            block_out_channels=(32, 48),
            norm_num_groups=16,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
        vae = AutoencoderKL(
            sample_size=64,
            block_out_channels=(16, 16, 16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.18215,
        )
        norm = next(part for name, part in text_encoder.named_modules() if name.endswith("final_layer_norm"))
        norm.weight.data.uniform_(0.5, 1.5)  # as if trained: a fresh one leaves embeddings whose mean is zero
        norm.bias.data.normal_(0.2, 0.2)
    unet.conv_out.weight.data.mul_(3.0)  # predictions of about unit size, as a trained UNet makes
    for name, module in (("text_encoder", text_encoder), ("unet", unet), ("vae", vae)):
        if dtype != "float32":
            module.to(getattr(torch, dtype))
        module.save_pretrained(folder / name)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}
    if second:
        scheduler = DDIMScheduler(**betas, prediction_type="v_prediction", clip_sample=False, steps_offset=1)
    else:
        scheduler = PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1)
    scheduler.save_pretrained(folder / "scheduler")
    pipeline = "StableDiffusionInpaintPipeline" if inpaint else "StableDiffusionPipeline"
    write_index(folder, type(scheduler).__name__, pipeline)
    return folder


def modernize_tokenizer(folder: Path) -> None:
    """Replace vocab.json and merges.txt by the one tokenizer.json that transformers 5 saves."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for file in folder.iterdir():
        file.unlink()
    tokenizer.save_pretrained(folder)


def write_index(folder: Path, scheduler: str, pipeline: str) -> None:
    """Write model_index.json and a README.md whose front matter names a licence."""
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nRandom weights, for tests.\n")


def rrdb_weights(seed: int = 0, *, read: int = 3, doublings: int = 1, blocks: int = 2) -> dict:
    """Random weights of an RRDBNet 8 wide, by the names of Real-ESRGAN."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv_first": (8, read), "conv_body": (8, 8), "conv_hr": (8, 8), "conv_last": (3, 8)}
    shapes |= {f"conv_up{n + 1}": (8, 8) for n in range(doublings)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for n in range(5):
                made = 8 if n == 4 else 4
                shapes[f"body.{block}.rdb{dense}.conv{n + 1}"] = (made, 8 + 4 * n)
    weights = {}
    for name, (made, width) in shapes.items():
        weights[f"{name}.weight"] = torch.randn((made, width, 3, 3), generator=generator) * 1.4 / (9 * width) ** 0.5
        weights[f"{name}.bias"] = torch.randn((made,), generator=generator) * 0.1
    return weights


def compact_weights(seed: int = 0, *, scale: int = 2, layers: int = 2, width: int = 8) -> dict:
    """Random weights of an SRVGGNetCompact."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    widths = [3, *[width] * (layers + 1), 3 * scale**2]
    weights = {}
    for n, (read, made) in enumerate(zip(widths, widths[1:], strict=False)):
        weights[f"body.{2 * n}.weight"] = torch.randn((made, read, 3, 3), generator=generator) / (9 * read) ** 0.5
        weights[f"body.{2 * n}.bias"] = torch.zeros(made)
        weights[f"body.{2 * n + 1}.weight"] = torch.full((made,), 0.25)
    del weights[f"body.{2 * layers + 3}.weight"]
    return weights
