"""Pouring makes the bytes that the export makes of the same weights, in every format and kind of weights."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import original_names
from pleinair.bundle.opening import open_bundle
from pleinair.pouring import kinds, opened, topologies
from pleinair.pouring.kinds import FIRST, Kind, Mark
from pleinair.pouring.pour import pour
from pleinair.sources.families import STABLE_DIFFUSION
from pleinair.sources.folder import STEMS, open_source
from pleinair_export.loading import load
from pleinair_export.tracing import FORMATS, WRITE
from tiny_pipeline import write_tiny_pipeline

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAMILIES = {"sd1": ("fp32", "int8"), "sd2": ("fp16",)}  # between them every kind of weights


@pytest.fixture(scope="module")
def script():
    sys.path.append(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("prove_topologies", BENCHMARKS / "prove_topologies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(folder, family, seed):
    """A tiny folder with no parameter at the value that it is made with."""
    write_tiny_pipeline(folder, family, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    for part in STABLE_DIFFUSION.parts:
        file = folder / part.folder / f"{STEMS[part.library]}.safetensors"
        tensors = load_file(file)
        moved = {name: each + 0.05 * torch.randn(each.shape, generator=rng) for name, each in tensors.items()}
        save_file(moved, file, {"format": "pt"})
    return folder


def configs(folder):
    files = {part.folder: folder / part.folder / "config.json" for part in STABLE_DIFFUSION.parts}
    return {name: json.loads(file.read_text()) for name, file in files.items()}


@pytest.fixture(scope="module")
def made(script, tmp_path_factory):
    """Family -> a folder of weights, and the graphs that the export makes of them, with topologies of two others."""
    root = tmp_path_factory.mktemp("pouring")
    (root / "topologies").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topologies, "TOPOLOGIES", root / "topologies")
        for family in FAMILIES:
            folder = trained(root / family, family, seed=3)
            model, others = open_source(folder), configs(folder)
            for part in STABLE_DIFFUSION.parts:
                third = load(model, part)
                for graph in part.graphs:
                    stored = [(weights, form) for weights in FAMILIES[family] for form in FORMATS]
                    script.make(family, others, graph, stored, root)
                    spec = script.specified(graph, part, others, third)
                    for weights, form in stored:
                        target = root / f"{family}-{weights}" / graph
                        target.mkdir(parents=True, exist_ok=True)
                        WRITE[form](spec, target, weights)
    return root


@pytest.mark.parametrize("family, weights", [(family, each) for family, kind in FAMILIES.items() for each in kind])
def test_poured_is_exported_to_the_byte(made, monkeypatch, tmp_path, family, weights):
    monkeypatch.setattr(topologies, "TOPOLOGIES", made / "topologies")
    list(pour(made / family, tmp_path / "out", formats=FORMATS, weights=weights))
    bundle = open_bundle(tmp_path / "out")
    for graph in bundle.manifest.graphs:
        exported = {file.name: file.read_bytes() for file in (made / f"{family}-{weights}" / graph).iterdir()}
        names = [Path(name).name for files in bundle.manifest.graphs[graph].files.values() for name in files]
        assert sorted(names) == sorted(exported)
        for name in names:
            assert (bundle.path / graph / name).read_bytes() == exported[name], (graph, name)


def test_a_single_file_in_original_names_is_poured_to_the_same_bytes(made, monkeypatch, tmp_path):
    """With OpenCLIP's names, as SD 2 has them."""
    monkeypatch.setattr(topologies, "TOPOLOGIES", made / "topologies")
    monkeypatch.setitem(opened.ARCHITECTURES, "tiny", configs(made / "sd2"))
    monkeypatch.setattr(kinds, "KINDS", (Kind("tiny", (Mark(FIRST),), "tiny"), *kinds.KINDS))
    parts = {
        part.folder: {
            name: each.numpy()
            for name, each in load_file(made / "sd2" / part.folder / f"{STEMS[part.library]}.safetensors").items()
        }
        for part in STABLE_DIFFUSION.parts
    }
    tensors = original_names.single_file(parts, opened=True)
    file = tmp_path / "tiny.safetensors"
    save_file({name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in tensors.items()}, file)
    list(pour(file, tmp_path / "out", formats=FORMATS))
    for graph in open_bundle(tmp_path / "out").manifest.graphs:
        for exported in (made / "sd2-fp16" / graph).iterdir():
            assert (tmp_path / "out" / graph / exported.name).read_bytes() == exported.read_bytes(), exported
