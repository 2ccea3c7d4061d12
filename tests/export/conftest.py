"""Tiny sources and their exports, each made once a session."""

from pathlib import Path

import pytest
import torch

from pleinair.engines.telemetry import without_telemetry
from pleinair_export import export
from tiny_pipeline import FAMILIES, write_tiny_pipeline

with without_telemetry():
    import nncf  # noqa: F401
    import openvino  # noqa: F401

torch.set_num_threads(1)  # networks this small only wait for a second thread
BOTH = ("openvino", "onnx")


@pytest.fixture(scope="session")
def tiny_sources(tmp_path_factory) -> dict[str, Path]:
    """Family -> a diffusers folder with random weights."""
    root = tmp_path_factory.mktemp("sources")
    return {family: write_tiny_pipeline(root / f"tiny-{family}", family) for family in FAMILIES}


@pytest.fixture(scope="session")
def exported(tiny_sources, tmp_path_factory):
    """`exported(family, weights)`: the path of a bundle in both formats; do not write there."""
    made: dict[tuple[str, str], Path] = {}

    def bundle(family: str, weights: str) -> Path:
        if (family, weights) not in made:
            out = tmp_path_factory.mktemp("bundles") / f"{family}-{weights}"
            for _ in export(tiny_sources[family], out, formats=BOTH, weights=weights):
                pass
            made[family, weights] = out
        return made[family, weights]

    return bundle
