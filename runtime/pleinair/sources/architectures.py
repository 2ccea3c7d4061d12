"""Models of published sizes, as the configs of their components; diffusers' own defaults are left out.

Topologies, random models and single files are made of these.
"""

from typing import Any

Config = dict[str, Any]

CLIP: Config = {
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
CLIP_L = CLIP | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
CLIP_H = CLIP | {  # without its last layer, which nothing reads
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "projection_dim": 512,
    "hidden_act": "gelu",
}
CLIP_BIG_G = CLIP | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
VAE: Config = {
    "latent_channels": 4,
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 0.18215,
}
UNET_SD15: Config = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
UNET_SD21: Config = {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
UNET_SDXL: Config = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
ARCHITECTURES: dict[str, dict[str, Config]] = {  # model -> component folder -> its config
    "sd15": {"text_encoder": CLIP_L, "unet": UNET_SD15, "vae": VAE},
    "sd21": {"text_encoder": CLIP_H, "unet": UNET_SD21, "vae": VAE},
    "sdxl": {
        "text_encoder": CLIP_L,
        "text_encoder_2": CLIP_BIG_G,
        "unet": UNET_SDXL,
        "vae": VAE | {"sample_size": 1024, "scaling_factor": 0.13025},
    },
}
