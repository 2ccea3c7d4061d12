"""Tiny sources and their exports, each made once a run, by whichever process asks first."""

import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pleinair.engines.telemetry import without_telemetry
from pleinair_export import export
from tiny_pipeline import write_tiny_pipeline

with without_telemetry():
    import nncf  # noqa: F401
    import openvino  # noqa: F401

torch.set_num_threads(1)  # networks this small only wait for a second thread
BOTH = ("openvino", "onnx")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)`: a folder of this name as `make(folder)` leaves it; do not write there."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # the one that all processes of a run see

    def folder(name, make) -> Path:
        made = root / "made" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_name(f"{made.name}.lock")):
            if not made.exists():
                part = made.with_name(f"{made.name}.part")
                make(part)
                part.rename(made)
        return made

    return folder


class Sources:
    """Family -> a diffusers folder with random weights, written when it is first asked for."""

    def __init__(self, once) -> None:
        self._once = once

    def __getitem__(self, family: str) -> Path:
        return self._once(f"sources/tiny-{family}", lambda folder: write_tiny_pipeline(folder, family))


@pytest.fixture(scope="session")
def tiny_sources(once) -> Sources:
    return Sources(once)


@pytest.fixture(scope="session")
def exported(tiny_sources, once):
    """`exported(family, weights)`: the path of a bundle in both formats; do not write there."""

    def bundle(family: str, weights: str) -> Path:
        def make(folder: Path) -> None:
            for _ in export(tiny_sources[family], folder, formats=BOTH, weights=weights):
                pass

        return once(f"bundles/{family}-{weights}", make)

    return bundle
