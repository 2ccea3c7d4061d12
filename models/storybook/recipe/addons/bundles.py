"""The ControlNet and the small autoencoder as the bundles that ship."""

from pathlib import Path

from pleinair_export.convert import export

EDGES, TINY = "storybook-edges", "storybook-tiny"
WEIGHTS = {EDGES: "int8", TINY: "fp16"}


def export_addons(sources: Path, addons: Path) -> None:
    """Export both diffusers folders in both formats."""
    for name, weights in WEIGHTS.items():
        for progress in export(
            sources / name, addons / name, formats=("openvino", "onnx"), weights=weights, force=True
        ):
            print(name, progress.stage, flush=True)
