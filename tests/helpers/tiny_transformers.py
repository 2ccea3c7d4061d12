"""Tiny folders of models whose network is a transformer, with random weights: `write_tiny_transformer(folder, family)`.

"sd3" has two CLIP and a T5, "sd3-without-t5" is published without that; "flux" is told no guidance, "flux-dev" is, and
shifts its noise by the size of the picture; "pixart" has a T5 alone, and says as much of the noise's variance as of it.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tiny_pipeline import BETAS, EOS, TEXT, VAE, write_index, write_tokenizer

WIDTH = 64  # of T5 and of what the transformers read
VAE_2 = VAE | {  # one latent for 2 x 2 pixels, which is quick to trace
    "block_out_channels": (16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
VAE_16 = VAE_2 | {
    "latent_channels": 16,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
SHARED = {"num_attention_heads": 4, "joint_attention_dim": WIDTH}
JOINT = SHARED | {
    "sample_size": 8,
    "num_layers": 2,
    "attention_head_dim": 8,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 56,
    "pos_embed_max_size": 24,
    "dual_attention_layers": (0,),
    "qk_norm": "rms_norm",
}
PACKED = SHARED | {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "pooled_projection_dim": 32,
    "axes_dims_rope": (2, 2, 4),
}
CROSSED = {
    "sample_size": 8,
    "num_layers": 2,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "caption_channels": WIDTH,
}
SECOND = TEXT | {"hidden_act": "gelu", "hidden_size": 24, "projection_dim": 24, "num_hidden_layers": 4}
PROJECTED, PLAIN = "CLIPTextModelWithProjection", "CLIPTextModel"
JOINT_TEXTS = ((PROJECTED, TEXT, EOS), (PROJECTED, SECOND, "!"))
FLOW = "FlowMatchEulerDiscreteScheduler"


@dataclass(frozen=True)
class Tiny:
    """A tiny model: its pipeline class, its CLIPs, whether a T5 follows them, its network, scheduler and VAE."""

    pipeline: str
    texts: tuple[tuple[str, dict, str], ...]
    network: tuple[str, dict]
    scheduler: tuple[str, dict]
    vae: dict
    t5: bool = True


SD3 = Tiny("StableDiffusion3Pipeline", JOINT_TEXTS, ("SD3Transformer2DModel", JOINT), (FLOW, {"shift": 3.0}), VAE_16)
FAMILIES = {
    "sd3": SD3,
    "sd3-without-t5": replace(SD3, t5=False),
    "flux": Tiny(
        "FluxPipeline",
        ((PLAIN, TEXT, EOS),),
        ("FluxTransformer2DModel", PACKED),
        (FLOW, {"shift": 1.0}),
        VAE_16,
    ),
    "flux-dev": Tiny(
        "FluxPipeline",
        ((PLAIN, TEXT, EOS),),
        ("FluxTransformer2DModel", PACKED | {"guidance_embeds": True}),
        (FLOW, {"shift": 3.0, "use_dynamic_shifting": True}),
        VAE_16,
    ),
    "pixart": Tiny(
        "PixArtSigmaPipeline",
        (),
        ("PixArtTransformer2DModel", CROSSED),
        ("DPMSolverMultistepScheduler", BETAS),
        VAE_2 | {"scaling_factor": 0.13025},
    ),
}


def write_tiny_transformer(folder: str | Path, family: str, *, seed: int = 0) -> Path:
    """Write a folder of under a million random parameters; the same bytes for the same seed."""
    import diffusers
    import torch

    folder, model = Path(folder), FAMILIES[family]
    numbers = [f"_{n + 1}" if n else "" for n in range(len(model.texts) + 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number, (kind, config, pad) in zip(numbers, model.texts, strict=False):
            write_clip(folder, number, kind, config, pad)
        if model.t5:
            write_t5(folder, numbers[-1])
        kind, config = model.network
        network = getattr(diffusers, kind)(**config)
        network.proj_out.weight.data.mul_(3.0)  # predictions of about unit size, as a trained one makes
        network.save_pretrained(folder / "transformer")
        set_size(folder / "transformer" / "config.json")
        diffusers.AutoencoderKL(**model.vae).save_pretrained(folder / "vae")
    kind, config = model.scheduler
    getattr(diffusers, kind)(**config).save_pretrained(folder / "scheduler")
    t5 = {f"text_encoder{numbers[-1]}": "T5EncoderModel", f"tokenizer{numbers[-1]}": "T5TokenizerFast"}
    there = {name: ["transformers", kind] if model.t5 else [None, None] for name, kind in t5.items()}
    write_index(folder, model.scheduler[0], model.pipeline, **there)
    return folder


def set_size(file: Path) -> None:
    """A default size, which FLUX's config does not have: its pipeline's would be slow to try."""
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": 8}))


def write_clip(folder: Path, number: str, kind: str, config: dict, pad: str) -> None:
    import transformers

    size = write_tokenizer(folder / f"tokenizer{number}", pad)
    ids = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1}
    owner = getattr(transformers, kind)
    model = owner(owner.config_class(**config, **ids, pad_token_id=0 if pad == "!" else size - 1))
    norm = next(each for path, each in model.named_modules() if path.endswith("final_layer_norm"))
    norm.weight.data.uniform_(0.5, 1.5)  # as if trained: a fresh one leaves embeddings of mean zero
    norm.bias.data.normal_(0.2, 0.2)
    model.save_pretrained(folder / f"text_encoder{number}")


def write_t5(folder: Path, number: str) -> None:
    """A T5 and a tokenizer of words, pieces and letters."""
    import transformers

    pieces = ["\N{LOWER ONE EIGHTH BLOCK}", "\N{LOWER ONE EIGHTH BLOCK}the", "red", "house", "an", "d", "on", "s"]
    pieces += [chr(letter) for letter in range(33, 127) if chr(letter) not in pieces]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(piece, -1.0 - n / 8 + 2 * len(piece)) for n, piece in enumerate(pieces)]
    tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=2, model_max_length=512)
    tokenizer.save_pretrained(folder / f"tokenizer{number}")
    config = transformers.T5Config(
        vocab_size=128, d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    model = transformers.T5EncoderModel(config)
    for layer in model.encoder.block:
        layer.layer[0].SelfAttention.o.weight.data.mul_(4.0)  # so that a token hears of the others
    model.save_pretrained(folder / f"text_encoder{number}")
