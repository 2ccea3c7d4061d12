"""Storybook's graphs without their weights, and its weights as a single file."""

import json
from pathlib import Path

import numpy as np
import pytest

import original_names
from pleinair.engines import engine
from pleinair.pouring import kinds, topologies
from pleinair.pouring.kinds import Kind, Mark
from pleinair.sources.architectures import ARCHITECTURES
from shelves import parameters
from vectors import safetensors

SOURCE = Path(__file__).parents[3] / "models" / "storybook" / "source"
NAME = "storybook"


@pytest.fixture(scope="session")
def weights():
    """Of storybook under original names, by tensor, in 16 bits."""
    return {name: each.astype(np.float16) for name, each in original_names.single_file(parameters(SOURCE)).items()}


@pytest.fixture
def known(monkeypatch, shelf):
    """Storybook's architecture is one of those that ship."""
    configs = {
        folder: json.loads((SOURCE / folder / "config.json").read_text()) for folder in ("text_encoder", "unet", "vae")
    }
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    monkeypatch.setitem(ARCHITECTURES, NAME, configs)
    monkeypatch.setattr(kinds, "KINDS", (Kind("a storybook", (Mark("unet.conv_in.weight"),), NAME), *kinds.KINDS))


@pytest.fixture
def without_engines(monkeypatch):
    """The map to colours, which an engine fits, takes longer than all the rest of a small model."""
    monkeypatch.setattr(engine, "installed", lambda name: False)


@pytest.fixture
def single(tmp_path, weights):
    """`single(change)`: the path of a single file whose tensors and metadata `change` has changed in place."""

    def written(change=lambda tensors: None, metadata=None, name="my model.safetensors"):
        tensors = dict(weights)
        change(tensors)
        (tmp_path / name).write_bytes(safetensors(tensors, metadata))
        return tmp_path / name

    return written
