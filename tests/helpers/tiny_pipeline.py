"""Tiny Stable Diffusion folders and upscalers with random weights, for tests: `write_tiny_pipeline(folder, family)`.

"sd1" is epsilon, quick_gelu, conv projections, and a tokenizer folder as the hub has it (no tokenizer.json); "sd2" is
v_prediction, gelu, linear projections, "!" as padding, and a tokenizer folder as transformers 5 writes it;
"sd1-inpaint" is "sd1" with a UNet of 9 channels, "pix2pix" with one of 8, "lcm" with one that is told the guidance;
"sdxl" has two text encoders of different widths; "sdxl-refiner" the second alone, and a score in place of a size;
"vega" and "ssd-1b" have no attention in their UNet's middle, and the latter's ways down and up differ; "bk-sdm" and
"sdxs" have no middle, and "sdxs" TAESD for its VAE; "least" is "sd1" with one level in its UNet and two in its VAE.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pleinair.sources import families

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


TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 32,
}
UNET = {
    "sample_size": 8,
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "layers_per_block": 1,
    "block_out_channels": (32, 48),
    "norm_num_groups": 16,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
FLAT = {  # one level that hears of the text in its middle: quick to trace, where it is the ports that count
    "block_out_channels": (32,),
    "down_block_types": ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",),
}
VAE = {
    "sample_size": 64,
    "block_out_channels": (16, 16, 16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 0.18215,
}
SHALLOW = VAE | {  # two levels, which have all kinds of layers
    "block_out_channels": (16, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
SD1 = {"text_encoder": TEXT, "unet": UNET, "vae": VAE}
SECOND = {"hidden_act": "gelu"}
XL_UNET = {  # texts of 32 and 48 side by side, and beside them 24 pooled numbers and 6 of 8 sinusoids
    "cross_attention_dim": 80,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "transformer_layers_per_block": (1, 2),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 72,
}
XL_FLAT = XL_UNET | FLAT | {"attention_head_dim": 4, "transformer_layers_per_block": 1}
XL = {
    "text_encoder": TEXT,
    "text_encoder_2": TEXT | SECOND | {"hidden_size": 48, "projection_dim": 24, "num_hidden_layers": 4},
    "unet": UNET | XL_FLAT | {"transformer_layers_per_block": 2},
    "vae": VAE,
}
REFINER_UNET = XL_FLAT | {  # the second text alone, and beside it 24 pooled numbers and 5 of 8 sinusoids
    "cross_attention_dim": 48,
    "projection_class_embeddings_input_dim": 64,
}
VEGA_UNET = XL_FLAT | {
    "mid_block_type": "UNetMidBlock2D",
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
SSD_UNET = XL_UNET | {
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [2]],
    "reverse_transformer_layers_per_block": [[2, 1], 1],
}
BK_UNET = FLAT | {
    "mid_block_type": None,
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
TAESD = {
    "encoder_block_out_channels": (40,) * 4,  # so many that every kernel is stored small
    "decoder_block_out_channels": (40,) * 4,
    "num_encoder_blocks": (1,) * 4,
    "num_decoder_blocks": (1,) * 4,
}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PNDM = ("PNDMScheduler", {"set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1})
DDIM_V = ("DDIMScheduler", {"set_alpha_to_one": False, "prediction_type": "v_prediction", "clip_sample": False,
                            "steps_offset": 1})  # fmt: skip
EULER = ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1})
TRAILING = ("EulerDiscreteScheduler", {"timestep_spacing": "trailing", "steps_offset": 1})
EULER_A = ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "linspace", "steps_offset": 1})
LCM = ("LCMScheduler", {"steps_offset": 0, "set_alpha_to_one": True, "original_inference_steps": 50})
XL_PADS = {"tokenizer": EOS, "tokenizer_2": "!"}


@dataclass(frozen=True)
class Tiny:
    """A tiny model: its pipeline class, its components' configs, its scheduler, and what model_index.json says more."""

    pipeline: str
    configs: dict[str, dict]
    scheduler: tuple[str, dict] = PNDM
    index: dict = field(default_factory=dict)
    pads: dict[str, str] = field(default_factory=lambda: {"tokenizer": EOS})
    modern: bool = False  # a tokenizer folder as transformers 5 writes it
    kinds: dict[str, str] = field(default_factory=dict)  # components of another class than usual


FAMILIES = {
    "sd1": Tiny("StableDiffusionPipeline", SD1),
    "sd2": Tiny(
        "StableDiffusionPipeline",
        {
            "text_encoder": TEXT | SECOND,
            "unet": UNET | FLAT | {"attention_head_dim": [2], "use_linear_projection": True},
            "vae": VAE,
        },
        DDIM_V,
        pads={"tokenizer": "!"},
        modern=True,
    ),
    "least": Tiny("StableDiffusionPipeline", SD1 | {"unet": UNET | FLAT, "vae": SHALLOW}),
    "sd1-inpaint": Tiny("StableDiffusionInpaintPipeline", SD1 | {"unet": UNET | FLAT | {"in_channels": 9}}),
    "sdxl": Tiny("StableDiffusionXLPipeline", XL, EULER, index={"force_zeros_for_empty_prompt": True}, pads=XL_PADS),
    "ssd-1b": Tiny("StableDiffusionXLPipeline", XL | {"unet": UNET | SSD_UNET}, EULER, pads=XL_PADS),
    "vega": Tiny("StableDiffusionXLPipeline", XL | {"unet": UNET | VEGA_UNET}, EULER, pads=XL_PADS),
    "bk-sdm": Tiny("StableDiffusionPipeline", SD1 | {"unet": UNET | BK_UNET}),
    "sd2-inpaint": Tiny(
        "StableDiffusionInpaintPipeline",
        {
            "text_encoder": TEXT | SECOND,
            "unet": UNET | FLAT | {"use_linear_projection": True, "in_channels": 9},
            "vae": VAE,
        },
        EULER,
        pads={"tokenizer": "!"},
    ),
    "sdxl-lcm": Tiny(
        "StableDiffusionXLPipeline", XL | {"unet": UNET | XL_FLAT | {"time_cond_proj_dim": 16}}, LCM, pads=XL_PADS
    ),
    "sdxl-inpaint": Tiny(
        "StableDiffusionXLInpaintPipeline", XL | {"unet": UNET | XL_FLAT | {"in_channels": 9}}, EULER, pads=XL_PADS
    ),
    "cosxl-edit": Tiny(
        "StableDiffusionXLInstructPix2PixPipeline",
        XL | {"unet": UNET | XL_FLAT | {"in_channels": 8}},
        (
            "EDMEulerScheduler",
            {"sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0, "prediction_type": "v_prediction"},
        ),
        index={"is_cosxl_edit": True, "force_zeros_for_empty_prompt": True},
        pads=XL_PADS,
    ),
    "sdxl-refiner": Tiny(
        "StableDiffusionXLImg2ImgPipeline",
        {name: config for name, config in XL.items() if name != "text_encoder"} | {"unet": UNET | REFINER_UNET},
        EULER,
        index={"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False},
        pads={"tokenizer_2": "!"},
    ),
    "sdxs": Tiny(
        "StableDiffusionPipeline",
        SD1 | {"unet": UNET | BK_UNET, "vae": TAESD},
        TRAILING,
        kinds={"vae": "AutoencoderTiny"},
    ),
    "lcm": Tiny(
        "LatentConsistencyModelPipeline",
        SD1 | {"unet": UNET | FLAT | {"time_cond_proj_dim": 16}},
        LCM,
    ),
    "pix2pix": Tiny(
        "StableDiffusionInstructPix2PixPipeline",
        SD1 | {"unet": UNET | FLAT | {"in_channels": 8}},
        EULER_A,
    ),
}


def write_tiny_pipeline(folder: str | Path, family: str = "sd1", *, seed: int = 0, dtype: str = "float32") -> Path:
    """Write a folder of under a million random parameters, of FAMILIES; the same bytes for the same seed."""
    import torch

    folder, model = Path(folder), FAMILIES[family]
    parts = {part.folder: part for part in family_of(model).parts}
    sizes = {name: write_tokenizer(folder / name, pad) for name, pad in model.pads.items()}
    if model.modern:
        modernize_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = {}
        for name, config in model.configs.items():
            if name == "vae":
                torch.manual_seed(seed + 1)  # one for all families, whatever their UNets drew
            modules[name] = made(parts[name], config, model, sizes)
        for name, module in modules.items():
            if parts[name].tokenizer:
                norm = next(each for path, each in module.named_modules() if path.endswith("final_layer_norm"))
                norm.weight.data.uniform_(0.5, 1.5)  # as if trained: a fresh one leaves embeddings of mean zero
                norm.bias.data.normal_(0.2, 0.2)
    modules["unet"].conv_out.weight.data.mul_(3.0)  # predictions of about unit size, as a trained UNet makes
    if "vae" in model.kinds:
        last = modules["vae"].decoder.layers[-1]
        last.weight.data.mul_(2.0)  # pictures of some contrast,
        last.bias.data.fill_(0.5)  # about grey, not all of them black
    for name, module in modules.items():
        if dtype != "float32":
            module.to(getattr(torch, dtype))
        module.save_pretrained(folder / name)
    write_scheduler(folder, *model.scheduler)
    write_index(folder, model.scheduler[0], model.pipeline, **entries(model), **model.index)
    return folder


def entries(model: Tiny) -> dict[str, list]:
    """What model_index.json says of the components: those that a class has and the model has not are absent."""
    usual = families.FAMILIES[model.pipeline]
    parts = {part.folder: [part.library, model.kinds.get(part.folder, part.kind)] for part in usual.parts}
    readers = {part.tokenizer: ["transformers", "CLIPTokenizer"] for part in usual.readers}
    return {name: entry if name in {**model.configs, **model.pads} else [None, None]
            for name, entry in {**parts, **readers}.items()}  # fmt: skip


def family_of(model: Tiny) -> families.Family:
    return families.family_of({"_class_name": model.pipeline, **entries(model)})


def made(part: families.Component, config: dict, model: Tiny, sizes: dict[str, int]) -> Any:
    """A component with random weights."""
    import diffusers
    import transformers

    if part.library == "diffusers":
        return getattr(diffusers, part.kind)(**config)
    kind, size = getattr(transformers, part.kind), sizes[part.tokenizer]
    pad = 0 if model.pads[part.tokenizer] == "!" else size - 1
    ids = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": pad}
    return kind(kind.config_class(**config, **ids))


def write_scheduler(folder: Path, kind: str, config: dict) -> None:
    import diffusers

    betas = {} if kind.startswith("EDM") else BETAS
    getattr(diffusers, kind)(**betas, **config).save_pretrained(folder / "scheduler")


def modernize_tokenizer(folder: Path) -> None:
    """Replace vocab.json and merges.txt by the one tokenizer.json that transformers 5 saves."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for file in folder.iterdir():
        file.unlink()
    tokenizer.save_pretrained(folder)


def write_index(folder: Path, scheduler: str, pipeline: str, **more: Any) -> None:
    """Write model_index.json and a README.md whose front matter names a licence."""
    family = families.FAMILIES.get(pipeline, families.STABLE_DIFFUSION)
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", scheduler],
        **{part.folder: [part.library, part.kind] for part in family.parts},
        **{part.tokenizer: ["transformers", "CLIPTokenizer"] for part in family.readers},
        **more,
    }
    if not family.pooling:
        index |= {"requires_safety_checker": False, "safety_checker": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
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
