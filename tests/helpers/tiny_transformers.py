"""Tiny folders of models whose network is a transformer, with random weights: `write_tiny_transformer(folder, family)`.

"sd3" has two CLIP and a T5, "sd3-without-t5" is published without that; "flux" is told no guidance, "flux-dev" is, and
shifts its noise by the size of the picture.
"""

import json
from pathlib import Path
from typing import Any

from tiny_pipeline import EOS, TEXT, VAE, write_index, write_tokenizer

WIDTH = 64  # of T5 and of what the transformers read
VAE_16 = VAE | {
    "latent_channels": 16,
    "block_out_channels": (16, 16),  # one latent for 2 x 2 pixels, which is quick to trace
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
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
SECOND = TEXT | {"hidden_act": "gelu", "hidden_size": 24, "projection_dim": 24, "num_hidden_layers": 4}
DYNAMIC = {"shift": 3.0, "use_dynamic_shifting": True}


def write_tiny_transformer(folder: str | Path, family: str, *, seed: int = 0) -> Path:
    """Write a folder of under a million random parameters; the same bytes for the same seed."""
    import diffusers
    import torch

    folder, joint = Path(folder), family.startswith("sd3")
    dynamic = family == "flux-dev"
    kinds = ("CLIPTextModelWithProjection",) * 2 if joint else ("CLIPTextModel",)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for n, kind in enumerate(kinds):
            write_clip(folder, "_2" if n else "", kind, TEXT if not n else SECOND, pad="!" if n else EOS)
        if family != "sd3-without-t5":
            write_t5(folder, f"_{len(kinds) + 1}")
        network = (
            diffusers.SD3Transformer2DModel(**JOINT)
            if joint
            else diffusers.FluxTransformer2DModel(guidance_embeds=dynamic, **PACKED)
        )
        network.proj_out.weight.data.mul_(3.0)  # predictions of about unit size, as a trained one makes
        network.save_pretrained(folder / "transformer")
        if not joint:
            set_size(folder / "transformer" / "config.json")
        diffusers.AutoencoderKL(**VAE_16).save_pretrained(folder / "vae")
    config = DYNAMIC if dynamic else {"shift": 3.0 if joint else 1.0}
    diffusers.FlowMatchEulerDiscreteScheduler(**config).save_pretrained(folder / "scheduler")
    pipeline = "StableDiffusion3Pipeline" if joint else "FluxPipeline"
    write_index(folder, "FlowMatchEulerDiscreteScheduler", pipeline, **index_of(family, len(kinds) + 1))
    return folder


def set_size(file: Path) -> None:
    """A default size, which FLUX's config does not have: its pipeline's would be slow to try."""
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": 8}))


def index_of(family: str, place: int) -> dict[str, Any]:
    """What model_index.json says of T5."""
    there = family != "sd3-without-t5"
    return {
        f"text_encoder_{place}": ["transformers", "T5EncoderModel"] if there else [None, None],
        f"tokenizer_{place}": ["transformers", "T5TokenizerFast"] if there else [None, None],
    }


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
