"""Copies of storybook to break, for tests of damaged and foreign model folders."""

import json
import shutil

from pleinair.bundle import MANIFEST, default_path


def light_copy(folder):
    """Storybook's manifest, configs and tokenizer without weights: all that the fake engine needs."""
    ignore = shutil.ignore_patterns("*.bin", "*.onnx", "openvino_*.xml")
    shutil.copytree(default_path(), folder, ignore=ignore)
    return folder


def full_copy(folder):
    shutil.copytree(default_path(), folder)
    return folder


def edit_manifest(folder, change):
    """Rewrite bundle.json after `change(raw)`."""
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))
