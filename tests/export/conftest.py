"""Tiny sources and their exports, each made once a run, by whichever process asks first.

Components that tiny models share, to the byte, are converted and compared with torch once: see `shared`.
"""

import hashlib
import importlib
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import tiny_transformers
from pleinair.engines.telemetry import without_telemetry
from pleinair.sources.families import DENOISERS
from pleinair_export import convert
from pleinair_export.progress import ExportProgress
from quietly import export_quietly
from tiny_pipeline import write_tiny_pipeline
from tiny_transformers import write_tiny_transformer

with without_telemetry():
    import openvino  # noqa: F401

torch.set_num_threads(1)  # networks this small only wait for a second thread
BOTH = ("openvino", "onnx")
QUIETLY = ("sd2", "int8")  # the one bundle that is made in a process of its own
ONNX_ALONE = ("sd3-without-t5", "flux-dev")  # whose graphs are those of another family, or one port more
PAINTED = ("sd1", "sd2", "sd3")  # families whose export ends with its pictures; tests paint with the others anyway


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
        write = write_tiny_transformer if family in tiny_transformers.FAMILIES else write_tiny_pipeline
        return self._once(f"sources/tiny-{family}", lambda folder: write(folder, family))


@pytest.fixture(scope="session")
def tiny_sources(once) -> Sources:
    return Sources(once)


@pytest.fixture(scope="session")
def exporting(once):
    """`exporting(source, out, ...)`: an export and its steps, but for what was done to equal components before."""

    def steps(source: Path, out: Path, **how) -> list[ExportProgress]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convert, "do", shared(once, convert.do))
            return list(convert.export(source, out, **how))

    return steps


@pytest.fixture(scope="session")
def exported(tiny_sources, once, exporting):
    """`exported(family, weights)`: the path of a bundle in both formats, or ONNX_ALONE; do not write there."""

    def bundle(family: str, weights: str) -> Path:
        def make(folder: Path) -> None:
            if (family, weights) == QUIETLY:
                return export_quietly(tiny_sources[family], folder, weights)
            with pytest.MonkeyPatch.context() as patch:
                if family not in PAINTED:
                    patch.setattr(convert, "compare_pictures", no_pictures)
                exporting(
                    tiny_sources[family], folder, formats=("onnx",) if family in ONNX_ALONE else BOTH, weights=weights
                )

        return once(f"bundles/{family}-{weights}", make)

    return bundle


def no_pictures(model, stage, formats, weights):
    return iter(())


def shared(once, do):
    """`do` of the export, with what was done to equal bytes before taken from there: a VAE is in many tiny models."""

    def done(task, *arguments, parameters):
        if task == "convert":
            model, part, context, stage, formats, weights = arguments
            tried_on = context if part.tokenizer or part.folder in DENOISERS else context.size
            taken = folder_bytes(model.path / part.folder), part, tried_on, formats, weights
        elif task == "check":
            stage, graph, info, form = arguments
            taken = folder_bytes(stage / graph), (stage / ".work" / f"{graph}.npz").read_bytes(), info, form
        else:
            return (yield from do(task, *arguments, parameters=parameters))
        steps = []

        def make(folder):
            before = set(stage.rglob("*"))
            running = do(task, *arguments, parameters=parameters)
            try:
                while True:
                    steps.append(next(running))
            except StopIteration as end:
                found = end.value
            for file in set(stage.rglob("*")) - before:
                if file.is_file():
                    (folder / "files" / file.relative_to(stage)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, folder / "files" / file.relative_to(stage))
            folder.mkdir(exist_ok=True)
            (folder / "found").write_bytes(pickle.dumps((steps, found)))

        kept = once(f"shared/{task}-{hashlib.sha256(pickle.dumps(taken)).hexdigest()[:32]}", make)
        if (kept / "files").exists():
            shutil.copytree(kept / "files", stage, dirs_exist_ok=True)
        steps, found = pickle.loads((kept / "found").read_bytes())
        yield from steps
        return found

    return done


def folder_bytes(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


@pytest.fixture(scope="session")
def proving():
    """benchmarks/prove_topologies.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("prove_topologies")
