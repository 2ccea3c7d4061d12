"""ControlNets: what their configs say of their ports, and what is like one and is not."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pleinair.bundle.lone_parts import CONDITION, ControlNet
from pleinair.bundle.manifest import FORMAT, GraphInfo, Manifest, Origin, Placed, Port
from pleinair.bundle.verifying import FileInfo
from pleinair.checks import one_line, shown_value, wholes
from pleinair.errors import ExportError
from pleinair.sources.families import Component
from pleinair.sources.unet_checks import FOREIGN_PORTS, LARGEST
from pleinair.sources.unets import ADDED, SIZE_IDS, SIZES, unet_feeds, unet_ports
from pleinair.sources.weight_files import DOWNLOAD
from pleinair.system.files import CONFIG, read_json

Config = Mapping[str, Any]

GRAPH = "controlnet"
CONTROLNET = Component(GRAPH, "diffusers", "ControlNetModel", {GRAPH: GRAPH})
SKIP, MIDDLE = "down_block_res_sample", "mid_block_res_sample"  # output ports, as diffusers calls what they are
WIDTHS = (320, 640, 1280, 1280)  # of the levels, where a config does not say
SEEN_WIDTHS = (16, 32, 96, 256)  # of the convolutions that make latents of the picture, where a config does not say
ATTENDING = "CrossAttn"  # in the names of blocks that attend to a text
PLAIN = "take a plain ControlNet of Stable Diffusion 1, 2 or XL"
UNLIKE = {  # class of diffusers -> what it is called
    "ControlNetUnionModel": "a ControlNet Union",
    "T2IAdapter": "a T2I-Adapter",
    "MultiAdapter": "several T2I-Adapters",
    "ControlNetXSAdapter": "a ControlNet-XS",
    "UNetControlNetXSModel": "a ControlNet-XS",
    "SparseControlNetModel": "a ControlNet of AnimateDiff",
    "FluxControlNetModel": "a ControlNet of FLUX",
    "SD3ControlNetModel": "a ControlNet of Stable Diffusion 3",
}
UNLIKE_NAMES = {  # how the name of a tensor begins in a file -> what it is
    r"lllite_": "a ControlNet-LLLite of kohya's",
    r"(.*\.)?(control_type_proj|task_embedding|control_add_embedding|spatial_ch_projs)": "a ControlNet Union",
    r"(adapter\.)?body\.\d+\.(resnets\.|block1|in_conv)": "a T2I-Adapter",
    r"lora_controlnet$": "a Control-LoRA",
    r"(ip_adapter|image_proj)\.": "an IP-Adapter",
    r"controlnet_(blocks|single_blocks|x_embedder)\.": "a ControlNet of FLUX or Stable Diffusion 3",
    r"(.*\.)?(ctrl_to_base|base_to_ctrl|ctrl_conv_in)": "a ControlNet-XS",
}


def kind_in(folder: Path) -> str | None:
    """The class that the config.json of a component's folder names; None for other folders, and for damage."""
    if not (folder / "config.json").is_file() or (folder / "model_index.json").exists():
        return None
    try:
        kind = read_json(folder / "config.json", CONFIG, ExportError, DOWNLOAD).get("_class_name")
    except ExportError:
        return None
    return kind if isinstance(kind, str) else None


def is_control(folder: Path) -> bool:
    """Whether a folder holds a ControlNet; raises ExportError, with what leads on, for what is only like one."""
    kind = kind_in(folder)
    check_kind(kind, one_line(folder.name, 80))
    return kind == CONTROLNET.kind


def check_kind(kind: Any, shown: str) -> None:
    """Raise ExportError for a class of diffusers that is like a ControlNet and is none."""
    if isinstance(kind, str) and kind in UNLIKE:
        raise ExportError(f"'{shown}' is {UNLIKE[kind]}, which is not supported; {PLAIN}")


def check_unlike(names: Iterable[str], shown: str) -> None:
    """Raise ExportError for a file with tensors of what is like a ControlNet and is none."""
    for name in names:
        found = next((what for pattern, what in UNLIKE_NAMES.items() if re.match(pattern, name)), None)
        if found:
            raise ExportError(f"'{shown}' is {found}, which is not supported; {PLAIN}")


def check_control_config(config: Config, shown: str) -> None:
    """Raise ExportError for a config of numbers that no ControlNet has, or with ports that no bundle feeds."""
    widths, seen = levels(config), config.get("conditioning_embedding_out_channels", SEEN_WIDTHS)
    told = [config.get("in_channels", 4), config.get("cross_attention_dim", 1280), config.get("layers_per_block", 2)]
    if not (
        all(
            isinstance(each, list | tuple) and 1 <= len(each) <= 7 and wholes(list(each), LARGEST)
            for each in (widths, seen)
        )
        and wholes(told, LARGEST)
        and config.get("conditioning_channels", 3) == 3
        and config.get("controlnet_conditioning_channel_order", "rgb") in ("rgb", "bgr")
    ):
        raise ExportError(f"'{shown}' has a config.json of no ControlNet for pictures; {DOWNLOAD}")
    foreign = [key for key in (*FOREIGN_PORTS, "encoder_hid_dim_type") if config.get(key) is not None]
    if config.get("addition_embed_type") not in (None, ADDED):
        foreign.append("addition_embed_type")
    if foreign:
        value = shown_value(config.get(foreign[0]))
        raise ExportError(f"'{shown}' has {foreign[0]} {value}, which is not supported; {PLAIN}")
    if config.get("addition_embed_type") and pooled_width(config) < 1:
        raise ExportError(f"'{shown}' takes other inputs than a text and its sizes, which is not supported; {PLAIN}")


def levels(config: Config) -> Any:
    """The widths of its levels, each half as large as the one before."""
    return config.get("block_out_channels", WIDTHS)


def pooled_width(config: Config) -> int:
    """Numbers of the pooled text that it is told beside the sizes; 0 where it is told neither."""
    if config.get("addition_embed_type") is None:
        return 0
    sizes = next(count for count, feed in SIZES.items() if feed == SIZE_IDS)
    both, each = (config.get(f"{key}_dim") or 0 for key in ("projection_class_embeddings_input", "addition_time_embed"))
    return both - sizes * each


def residuals(config: Config) -> dict[str, tuple[int, int]]:
    """Output port -> its channels, and how many latents along a side one of its numbers stands for."""
    widths, layers = levels(config), config.get("layers_per_block", 2)
    found = [(widths[0], 1)]
    for level, width in enumerate(widths):
        found += [(width, 2**level)] * layers
        found += [(width, 2 ** (level + 1))] if level < len(widths) - 1 else []
    ports = [f"{SKIP}.{place}" for place in range(len(found))]
    return dict(zip((*ports, MIDDLE), (*found, (widths[-1], 2 ** (len(widths) - 1))), strict=True))


def control_feeds(config: Config) -> dict[str, str]:
    """Input port -> the feed that it takes."""
    sample, timestep, text, *more = unet_feeds(config, pooled_width(config)).items()
    told = (text,) if reads_text(config) else ()
    return dict((sample, timestep, *told, ("controlnet_cond", CONDITION), *more))


def reads_text(config: Config) -> bool:
    """Whether any of its blocks attends to a text; one that is made for edges alone may have none that does."""
    blocks = *config.get("down_block_types", (ATTENDING,)), config.get("mid_block_type", ATTENDING)
    return any(ATTENDING in str(block) for block in blocks)


def control_ports(config: Config) -> tuple[dict[str, Port], dict[str, Port]]:
    """Inputs and outputs of its graph."""
    known, _ = unet_ports(config, pooled_width(config))
    seen = Port("float32", ("batch", 3, "condition_height", "condition_width"))
    inputs = {port: known.get(port, seen) for port in control_feeds(config)}
    outputs = {
        port: Port("float32", ("batch", width, *(f"{side}/{by}" if by > 1 else side for side in ("height", "width"))))
        for port, (width, by) in residuals(config).items()
    }
    return inputs, outputs


def described(config: Config) -> ControlNet:
    """What a bundle says of it."""
    return ControlNet(
        graph=GRAPH,
        feeds=control_feeds(config),
        residuals={port: by for port, (_, by) in residuals(config).items()},
        downsample=2 ** (len(config.get("conditioning_embedding_out_channels", SEEN_WIDTHS)) - 1),
        pooled=bool(config.get("global_pool_conditions")),
        order=config.get("controlnet_conditioning_channel_order", "rgb"),
    )


def control_manifest(
    name: str,
    config: Config,
    graph: GraphInfo,
    files: dict[str, FileInfo],
    origin: Origin,
    weights: dict[str, dict[str, Placed]],
) -> Manifest:
    """bundle.json of a ControlNet."""
    return Manifest(
        format=FORMAT,
        name=name,
        family=GRAPH,
        tasks=("control",),
        graphs={GRAPH: graph},
        files=files,
        origin=origin,
        control=described(config),
        weights={GRAPH: weights},
    )
