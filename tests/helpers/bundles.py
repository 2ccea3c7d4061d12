"""Copies of storybook to break, for tests of damaged and foreign model folders."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pleinair.bundle.manifest import FORMAT, MANIFEST, GraphInfo, Manifest, Origin, Port
from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.bundle.opening import read_manifest
from pleinair.bundle.shipped import default_path
from pleinair.bundle.verifying import file_info
from pleinair.sources.controlnets import control_manifest, control_ports

GOLDEN = Path(__file__).parents[1] / "golden"


def light_copy(folder):
    """Storybook's manifest, configs and tokenizer without weights: all that the fake engine needs.

    It says nothing of its words and sizes, and takes any without a warning; left alone it paints quickly. Nor does it
    say where the weights lie that it has not: these lines are nine tenths of the manifest.
    """
    ignore = shutil.ignore_patterns("*.bin", "*.onnx", "openvino_*.xml")
    shutil.copytree(default_path(), folder, ignore=ignore)
    edit_manifest(folder, forget_weights)
    return folder


def old_copy(folder):
    """`light_copy`, with the bundle.json of storybook's first edition, which is of format 1."""
    light_copy(folder)
    shutil.copy(GOLDEN / "storybook-1.json", folder / MANIFEST)
    edit_manifest(folder, forget_claims)
    return folder


def light_xl_copy(folder):
    """`light_copy` with two text encoders, a pooled text and sizes, as SDXL has them."""
    light_copy(folder)

    def grow(raw):
        first, graphs = raw["text_encoders"][0], raw["graphs"]
        width = graphs["text_encoder"]["outputs"]["last_hidden_state"]["shape"][-1]
        graphs["text_encoder_2"] = graphs["text_encoder"]
        second = {**first, "graph": "text_encoder_2", "pooled": "pooler_output", "empty": "zeros"}
        raw["text_encoders"] = [{**first, "empty": "zeros"}, second]
        raw["conditioning"] = {
            "text": {"encoders": ["text_encoder", "text_encoder_2"]},
            "pooled": {"encoders": ["text_encoder_2"], "pooled": True},
        }
        inputs = graphs["unet"]["inputs"]
        inputs["encoder_hidden_states"]["shape"][-1] = 2 * width
        inputs["text_embeds"] = {"dtype": "float32", "shape": ["batch", width]}
        inputs["time_ids"] = {"dtype": "float32", "shape": ["batch", 6]}
        raw["denoisers"][0]["feeds"] |= {"text_embeds": "pooled", "time_ids": "size_ids"}

    edit_manifest(folder, grow)
    return folder


def light_packed_copy(folder):
    """`light_copy` with a transformer as FLUX has it: latents in tokens, one encoder pooled, one without a start."""
    light_copy(folder)

    def turn(raw):
        first, graphs, channels = raw["text_encoders"][0], raw["graphs"], raw["latents"]["channels"]
        width = graphs["text_encoder"]["outputs"]["last_hidden_state"]["shape"][-1]
        graphs["text_encoder_2"] = graphs["text_encoder"]
        graphs["transformer"] = graphs.pop("unet")
        shapes = {
            "hidden_states": ["batch", "patches", 4 * channels],
            "timestep": [1],
            "encoder_hidden_states": ["batch", "tokens", width],
            "pooled_projections": ["batch", width],
            "img_ids": ["patches", 3],
            "txt_ids": ["tokens", 3],
            "guidance": ["batch"],
        }
        graphs["transformer"]["inputs"] = {port: {"dtype": "float32", "shape": each} for port, each in shapes.items()}
        graphs["transformer"]["outputs"] = {"out": {"dtype": "float32", "shape": shapes["hidden_states"]}}
        second = {**first, "graph": "text_encoder_2", "bos_id": None, "cut": True, "emphasis": "plain"}
        raw["text_encoders"] = [{**first, "pooled": "pooler_output", "cut": True}, second]
        raw["conditioning"] = {
            "text": {"encoders": ["text_encoder_2"]},
            "pooled": {"encoders": ["text_encoder"], "pooled": True},
        }
        feeds = ["latents", "timestep", "text", "pooled", "image_ids", "text_ids", "guidance"]
        part = {"graph": "transformer", "feeds": dict(zip(shapes, feeds, strict=True)), "output": "out"}
        raw["denoisers"] = [part | {"patch": 2, "time_scale": 0.001}]
        raw["latents"]["multiple"] *= 2
        raw |= {"guidance": "embedded", "tasks": ["text2image"]}

    edit_manifest(folder, turn)
    return folder


def light_edit_copy(folder):
    """`light_copy` of a model that edits pictures, as InstructPix2Pix does."""
    light_copy(folder)

    def show(raw):
        raw["graphs"]["unet"]["inputs"]["sample"]["shape"][1] = 2 * raw["latents"]["channels"]
        raw["denoisers"][0]["channels"] = ["image"]
        raw |= {"tasks": ["edit"], "guidance": "image_text"}

    edit_manifest(folder, show)
    return folder


def light_vae(folder, **numbers):
    """A VAE's bundle.json, of storybook's VAE with other `numbers`, without weights: for the fake engine."""
    light_copy(folder)

    def alone(raw):
        raw["graphs"] = {name: graph for name, graph in raw["graphs"].items() if name.startswith("vae_")}
        raw["files"] = {name: info for name, info in raw["files"].items() if name == "vae_decoder/config.json"}
        raw["vaes"] = {"default": raw["vaes"]["default"] | numbers}
        raw["latents"] = {"channels": raw["latents"]["channels"], "multiple": raw["vaes"]["default"]["downsample"]}
        for name in ("defaults", "text_encoders", "conditioning", "denoisers", "scheduler", "weights"):
            raw.pop(name, None)
        for graph in raw["graphs"].values():
            graph["files"] = {}
        raw |= {"name": folder.name, "family": "vae", "tasks": ["decode", "encode"]}

    edit_manifest(folder, alone)
    return folder


def full_copy(folder):
    shutil.copytree(default_path(), folder)
    return folder


def seal(folder):
    """Let bundle.json list the files as they are."""

    def relist(raw):
        for name in raw["files"]:
            if (folder / name).is_file():
                raw["files"][name] = asdict(file_info(folder / name))

    edit_manifest(folder, relist)
    return folder


def edit_manifest(folder, change):
    """Rewrite bundle.json after `change(raw)`."""
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))


def silent_copy(folder):
    """All of storybook, but for what it says of its words and sizes; left alone it paints quickly."""
    full_copy(folder)
    edit_manifest(folder, forget_claims)
    return folder


def forget_weights(raw):
    forget_claims(raw)
    raw["weights"] = {}


def forget_claims(raw):
    raw |= {"vocabulary": [], "sizes": None}
    raw["defaults"] |= {"width": 128, "height": 128}


def light_inpaint_copy(folder):
    """`light_copy` with the UNet's ports of a model made for inpainting."""
    light_copy(folder)

    def widen(raw):
        raw["graphs"]["unet"]["inputs"]["sample"]["shape"][1] = 2 * raw["latents"]["channels"] + 1
        raw["denoisers"][0]["channels"] = ["mask", "masked_image"]
        raw["tasks"] = ["inpaint"]

    edit_manifest(folder, widen)
    return folder


def light_upscaler(folder, scale=2):
    """An upscaler's bundle.json without weights: all that the fake engine needs."""
    image = Port("float32", ("batch", 3, "height", "width"))
    upscaled = Port("float32", ("batch", 3, "upscaled_height", "upscaled_width"))
    graph = GraphInfo({}, "fp32", "fp32", {"image": image}, {"upscaled": upscaled}, {})
    manifest = Manifest(
        format=FORMAT,
        name=folder.name,
        family=UPSCALER,
        tasks=("upscale",),
        graphs={UPSCALER: graph},
        files={},
        origin=Origin("made up", None, None, "none", {}),
        scale=scale,
    )
    folder.mkdir()
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def light_control(folder, **config):
    """A ControlNet's bundle.json for storybook without weights: all that the fake engine needs."""
    manifest = read_manifest(default_path())
    (text,) = (port for port, feed in manifest.denoiser.feeds.items() if feed == "text")
    config = {
        "in_channels": manifest.latents.channels,
        "cross_attention_dim": manifest.graphs[manifest.denoiser.graph].inputs[text].shape[-1],
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "conditioning_embedding_out_channels": (8,) * manifest.vae.downsample.bit_length(),
        **config,
    }
    graph = GraphInfo({}, "fp32", "fp32", *control_ports(config), {})
    origin = Origin("made up", None, None, "none", {})
    folder.mkdir()
    made = control_manifest(folder.name, config, graph, {}, origin, {})
    (folder / MANIFEST).write_text(made.to_json(), encoding="utf-8")
    return folder
