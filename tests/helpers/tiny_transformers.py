"""Tiny folders of models whose network is a transformer, with random weights: `write_tiny_transformer(folder, family)`.

"sd3" has two CLIP and a T5, "sd3-without-t5" is published without that; "flux" is told no guidance, "flux-dev" is, and
shifts its noise by the size of the picture; "pixart" has a T5 alone, and says as much of the noise's variance as of it;
"sana" reads with a Gemma, and its VAE attends.
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
LINEAR = {
    "in_channels": 8,
    "out_channels": 8,
    "sample_size": 8,
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 16,
    "cross_attention_dim": 32,
    "caption_channels": WIDTH,
    "guidance_embeds": True,
    "qk_norm": "rms_norm_across_heads",
    "timestep_scale": 1000.0,
}
DEEP = {  # one latent for 2 x 2 pixels
    "latent_channels": 8,
    "attention_head_dim": 8,
    "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
    "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
    "encoder_block_out_channels": (16, 16),
    "decoder_block_out_channels": (16, 16),
    "encoder_layers_per_block": (1, 1),
    "decoder_layers_per_block": (1, 1),
    "encoder_qkv_multiscales": ((), (5,)),
    "decoder_qkv_multiscales": ((), (5,)),
    "downsample_block_type": "conv",
    "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
T5, GEMMA = "T5EncoderModel", "Gemma2Model"
TOKENIZERS = {T5: "T5TokenizerFast", GEMMA: "GemmaTokenizerFast"}
KL = "AutoencoderKL"
PROJECTED, PLAIN = "CLIPTextModelWithProjection", "CLIPTextModel"
JOINT_TEXTS = ((PROJECTED, TEXT, EOS), (PROJECTED, SECOND, "!"))
FLOW = "FlowMatchEulerDiscreteScheduler"


@dataclass(frozen=True)
class Tiny:
    """A tiny model: its pipeline class, its CLIPs, its network, scheduler and VAE, and the encoder after its CLIPs."""

    pipeline: str
    texts: tuple[tuple[str, dict, str], ...]
    network: tuple[str, dict]
    scheduler: tuple[str, dict]
    vae: tuple[str, dict]
    last: str | None = T5


SD3 = Tiny(
    "StableDiffusion3Pipeline", JOINT_TEXTS, ("SD3Transformer2DModel", JOINT), (FLOW, {"shift": 3.0}), (KL, VAE_16)
)
FAMILIES = {
    "sd3": SD3,
    "sd3-without-t5": replace(SD3, last=None),
    "flux": Tiny(
        "FluxPipeline",
        ((PLAIN, TEXT, EOS),),
        ("FluxTransformer2DModel", PACKED),
        (FLOW, {"shift": 1.0}),
        (KL, VAE_16),
    ),
    "flux-dev": Tiny(
        "FluxPipeline",
        ((PLAIN, TEXT, EOS),),
        ("FluxTransformer2DModel", PACKED | {"guidance_embeds": True}),
        (FLOW, {"shift": 3.0, "use_dynamic_shifting": True}),
        (KL, VAE_16),
    ),
    "pixart": Tiny(
        "PixArtSigmaPipeline",
        (),
        ("PixArtTransformer2DModel", CROSSED),
        ("DPMSolverMultistepScheduler", BETAS),
        (KL, VAE_2 | {"scaling_factor": 0.13025}),
    ),
    "sana": Tiny(
        "SanaSprintPipeline",
        (),
        ("SanaTransformer2DModel", LINEAR),
        ("SCMScheduler", {}),
        ("AutoencoderDC", DEEP),
        last=GEMMA,
    ),
}


def write_tiny_transformer(folder: str | Path, family: str, *, seed: int = 0) -> Path:
    """Write a folder of under a million random parameters; the same bytes for the same seed."""
    import diffusers
    import torch

    folder, model = Path(folder), FAMILIES[family]
    numbers = [f"_{n + 1}" if n else "" for n in range(len(model.texts) + 1)]
    with torch.random.fork_rng(devices=[]):
        for n, (number, (kind, config, pad)) in enumerate(zip(numbers, model.texts, strict=False)):
            torch.manual_seed(seed + n)  # each component by itself: those of several families are alike
            write_clip(folder, number, kind, config, pad)
        torch.manual_seed(seed + 2)
        if model.last:
            LAST[model.last](folder, numbers[-1])
        torch.manual_seed(seed + 3)
        kind, config = model.network
        network = getattr(diffusers, kind)(**config)
        network.proj_out.weight.data.mul_(3.0)  # predictions of about unit size, as a trained one makes
        network.save_pretrained(folder / "transformer")
        set_size(folder / "transformer" / "config.json")
        torch.manual_seed(seed + 4)
        kind, config = model.vae
        getattr(diffusers, kind)(**config).save_pretrained(folder / "vae")
    kind, config = model.scheduler
    getattr(diffusers, kind)(**config).save_pretrained(folder / "scheduler")
    last = {f"text_encoder{numbers[-1]}": model.last, f"tokenizer{numbers[-1]}": TOKENIZERS.get(model.last)}
    there = {name: ["transformers", kind] if kind else [None, None] for name, kind in last.items()}
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


def write_gemma(folder: Path, number: str) -> None:
    """A Gemma 2 and a tokenizer of bytes, letters and some pieces."""
    import transformers

    space = "\N{LOWER ONE EIGHTH BLOCK}"
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = ["\n", space, *(chr(letter) for letter in range(33, 127))]
    merges = [
        ("t", "h"),
        ("th", "e"),
        (space, "the"),
        ("e", "d"),
        ("r", "ed"),
        (space, "red"),
        ("a", "n"),
        (space, "o"),
    ]
    tokens += [*letters, *("".join(pair) for pair in merges)]
    vocab = {token: n for n, token in enumerate(tokens)}
    tokenizer = transformers.GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=8192, add_bos_token=True)
    tokenizer.save_pretrained(folder / f"tokenizer{number}")
    config = transformers.Gemma2Config(
        vocab_size=len(vocab),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    transformers.Gemma2Model(config).save_pretrained(folder / f"text_encoder{number}")


LAST = {T5: write_t5, GEMMA: write_gemma}
