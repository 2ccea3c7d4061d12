"""Puts the newest averaged weights together to a folder that diffusers loads."""

import json
import shutil
from pathlib import Path
from typing import Any

from pleinair_export import export
from recipe.diffusion import GUIDANCE, STEPS, build_unet, pipeline
from recipe.settings import Settings
from recipe.text import load_text
from recipe.training import averaged_weights
from recipe.vae import load_vae
from recipe.words import vocabulary

PARTS = ("unet", "vae", "text_encoder")
TOKENIZER_FILES = ("vocab.json", "merges.txt")
SMALLEST, LARGEST = 112 / 256, 288 / 256  # sides that look well, found by looking, of the side it is trained at
CARD = "---\nlicense: apache-2.0\n---\n\nThe source of storybook; its card is one folder up.\n"


def assemble(work: Path, source: Path, settings: Settings) -> None:
    """Write the half precision pipeline, complete or not at all."""
    encoder, tokenizer = load_text(work, settings)
    unet = build_unet(settings).eval()
    unet.load_state_dict(averaged_weights(work, "unet-large"))
    whole = pipeline(unet, load_vae(work, settings), encoder, tokenizer, settings)
    for name in PARTS:
        getattr(whole, name).to("cpu").half()
    partial = source.with_name(f"{source.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    whole.save_pretrained(partial, safe_serialization=True)
    for file in TOKENIZER_FILES:
        shutil.copy(work / "tokenizer" / file, partial / "tokenizer" / file)
    (partial / "pleinair.json").write_text(json.dumps(for_export(settings)) + "\n", encoding="utf-8")
    (partial / "README.md").write_text(CARD, encoding="utf-8")
    for file in partial.rglob("config.json"):
        forget_origin(file)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)
    shutil.rmtree(source, ignore_errors=True)
    partial.replace(source)
    counts = {name: sum(weight.numel() for weight in getattr(whole, name).parameters()) for name in PARTS}
    megabytes = sum(file.stat().st_size for file in source.rglob("*") if file.is_file()) / 1e6
    print(f"assembled {source}: {counts}, {megabytes:.1f} MB", flush=True)


def for_export(settings: Settings) -> dict[str, Any]:
    """What pleinair.json tells the export."""
    return {
        "name": "storybook",
        "defaults": {"steps": STEPS, "guidance": GUIDANCE},
        "sizes": {"smallest": int(SMALLEST * settings.size), "largest": int(LARGEST * settings.size)},
        "vocabulary": vocabulary(),
    }


def export_bundle(source: Path, bundle: Path) -> None:
    """Export the folder in both formats with half precision weights, as it ships."""
    for progress in export(source, bundle, formats=("openvino", "onnx"), weights="fp16", force=True):
        print(progress.graph, progress.stage, flush=True)


def forget_origin(config: Path) -> None:
    """Remove the local folder that diffusers notes in a configuration."""
    values = json.loads(config.read_text())
    values.pop("_name_or_path", None)
    config.write_text(json.dumps(values, indent=2) + "\n")
