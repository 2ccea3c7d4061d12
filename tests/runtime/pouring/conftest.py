"""Storybook's graphs without their weights, and its weights as a single file."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

import original_names
from pleinair.engines import engine
from pleinair.pouring import kinds, topologies, vocabulary
from pleinair.pouring.kinds import FileKind, Mark
from pleinair.sources.architectures import ARCHITECTURES
from shelves import parameters
from vectors import safetensors

SOURCE = Path(__file__).parents[3] / "models" / "storybook" / "source"
NAME = "storybook"
MERGES = 400  # of CLIP's vocabulary: all take a second for each tokenizer


@pytest.fixture(scope="session")
def weights():
    """Of storybook under original names, by tensor, in 16 bits."""
    return {name: each.astype(np.float16) for name, each in original_names.single_file(parameters(SOURCE)).items()}


@pytest.fixture(scope="session")
def merges(tmp_path_factory):
    """A file of the first of CLIP's merges; with them there are more tokens than storybook knows."""
    file = tmp_path_factory.mktemp("clip") / "merges.xz"
    some = lzma.decompress(vocabulary.MERGES.read_bytes()).splitlines()[:MERGES]
    file.write_bytes(lzma.compress(b"\n".join(some)))
    return file


@pytest.fixture
def known(monkeypatch, shelf, merges):
    """Storybook's architecture is one of those that ship, with a short vocabulary."""
    configs = {
        folder: json.loads((SOURCE / folder / "config.json").read_text()) for folder in ("text_encoder", "unet", "vae")
    }
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    monkeypatch.setattr(vocabulary, "MERGES", merges)
    monkeypatch.setitem(ARCHITECTURES, NAME, configs)
    monkeypatch.setattr(kinds, "KINDS", (FileKind("a storybook", (Mark("unet.conv_in.weight"),), NAME), *kinds.KINDS))


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
