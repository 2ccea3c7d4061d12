"""Bundles made to look like the folders that other tools export, for adopting."""

import json
import shutil

from pleinair.bundle.manifest import MANIFEST

OURS = (MANIFEST, "final_layer_norm.npy")  # what other tools do not write
WRITERS = {"openvino": ("*.onnx", "*.onnx_data"), "onnx": ("*.xml", "*.bin")}  # format -> files of the other
COMPONENT = ["diffusers", "OnnxRuntimeModel"]


def as_optimum(bundle, folder, form):
    """A bundle's graphs of one format as optimum exports them: configs, vocab.json and merges.txt, and no more."""
    shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns(*OURS, *WRITERS[form]))
    for merges in folder.glob("*/merges.txt"):  # T5 has none
        (merges.parent / "tokenizer.json").unlink()
    return folder


def as_olive(bundle, folder):
    """A bundle's ONNX graphs as Microsoft's tools and diffusers' old converter leave them: no configs beside them."""
    as_optimum(bundle, folder, "onnx")
    for config in folder.glob("*/config.json"):
        config.unlink()
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "OnnxStableDiffusionPipeline"
    index |= {name: COMPONENT for name in ("text_encoder", "unet", "vae_decoder", "vae_encoder")}
    del index["vae"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def edit_json(file, **changes):
    """Rewrite a JSON object with other values; None takes a key away."""
    value = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: each for key, each in value.items() if each is not None}))


def everything(folder):
    """Every file below a folder with its content, links as they are."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
