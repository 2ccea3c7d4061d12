"""Models of published sizes, as the configs of their components; diffusers' own defaults are left out.

Topologies, random models and single files are made of these.
"""

from typing import Any

from pleinair.sources import families
from pleinair.sources.families import ROWS, TINY_VAE, Family, family_of

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
UNET_SDXL_REFINER = UNET_SDXL | {
    "cross_attention_dim": 1280,
    "attention_head_dim": (6, 12, 24, 24),
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4,
    "projection_class_embeddings_input_dim": 2560,
}
UNET_SSD_1B = UNET_SDXL | {
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
}
UNET_VEGA = UNET_SDXL | {"mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": (1, 1, 2)}
UNET_BK_BASE = UNET_SD15 | {"layers_per_block": 1}
UNET_BK_SMALL = UNET_BK_BASE | {"mid_block_type": None}
UNET_BK_TINY = UNET_BK_SMALL | {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
}
UNET_SDXS = UNET_BK_TINY | {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
}
VAE_SDXL = VAE | {"sample_size": 1024, "scaling_factor": 0.13025}
TAESD: Config = {"encoder_block_out_channels": (64,) * 4, "decoder_block_out_channels": (64,) * 4}
SD15 = {"text_encoder": CLIP_L, "unet": UNET_SD15, "vae": VAE}
SD21 = {"text_encoder": CLIP_H, "unet": UNET_SD21, "vae": VAE}
SDXL = {"text_encoder": CLIP_L, "text_encoder_2": CLIP_BIG_G, "unet": UNET_SDXL, "vae": VAE_SDXL}
ARCHITECTURES: dict[str, dict[str, Config]] = {  # model -> component folder -> its config
    "sd15": SD15,
    "sd15-inpaint": SD15 | {"unet": UNET_SD15 | {"in_channels": 9}},
    "sd15-edit": SD15 | {"unet": UNET_SD15 | {"in_channels": 8}},
    "sd15-lcm": SD15 | {"unet": UNET_SD15 | {"time_cond_proj_dim": 256}},
    "sd21": SD21,
    "sd21-edit": SD21 | {"unet": UNET_SD21 | {"in_channels": 8}},
    "sd21-inpaint": SD21 | {"unet": UNET_SD21 | {"in_channels": 9}},
    "bk-sdm-base": SD15 | {"unet": UNET_BK_BASE},
    "bk-sdm-small": SD15 | {"unet": UNET_BK_SMALL},
    "bk-sdm-tiny": SD15 | {"unet": UNET_BK_TINY},
    "sdxs": {"text_encoder": CLIP_H, "unet": UNET_SDXS, "vae": TAESD},
    "sdxl": SDXL,
    "sdxl-inpaint": SDXL | {"unet": UNET_SDXL | {"in_channels": 9}},
    "sdxl-edit": SDXL | {"unet": UNET_SDXL | {"in_channels": 8}},
    "sdxl-lcm": SDXL | {"unet": UNET_SDXL | {"time_cond_proj_dim": 256}},
    "sdxl-refiner": {"text_encoder_2": CLIP_BIG_G, "unet": UNET_SDXL_REFINER, "vae": VAE_SDXL},
    "ssd-1b": SDXL | {"unet": UNET_SSD_1B},
    "vega": SDXL | {"unet": UNET_VEGA},
}
PLAIN_VAE = VAE | {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
LONE_VAES: dict[str, Config] = {  # those of Stable Diffusion 3 are of the same sizes as FLUX's
    "taesd3": TAESD | {"latent_channels": 16},
    "flux-vae": PLAIN_VAE,
}
UNET_ALONE = ("sample_size", "up_block_types")  # of a UNet's config, what a ControlNet's has not
CONTROLNETS: dict[str, Config] = {  # of a model's UNet -> its config
    "sd15-control": {key: value for key, value in UNET_SD15.items() if key not in UNET_ALONE},
    "sd21-control": {key: value for key, value in UNET_SD21.items() if key not in UNET_ALONE},
    "sdxl-control": {key: value for key, value in UNET_SDXL.items() if key not in UNET_ALONE},
}
STAND_INS = {"sdxs": {"vae": "AutoencoderTiny"}}  # model -> component folder -> a class other than its family's
SAID = {  # model -> what its model_index.json says besides its components
    "sdxl-refiner": {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False}
}


def family(model: str) -> Family:
    """The row of families whose components a model has; of LONE_VAES, one of a VAE alone."""
    if model in LONE_VAES:
        return Family(pipelines=(), parts=(families.VAE if "down_block_types" in LONE_VAES[model] else TINY_VAE,))
    folders = set(ARCHITECTURES[model])
    row = next(row for row in ROWS if {part.folder for part in row.parts} == folders)
    classes = {part.folder: part.kind for part in row.parts} | STAND_INS.get(model, {})
    index = {folder: [None, kind] for folder, kind in classes.items()}
    return family_of({"_class_name": row.pipelines[0], **index})


def components_of(model: str) -> dict[str, Config]:
    """The configs of a model of ARCHITECTURES or LONE_VAES, by component folder."""
    return {TINY_VAE.folder: LONE_VAES[model]} if model in LONE_VAES else ARCHITECTURES[model]
