"""Tiny sources and their exports, each made once a run, by whichever process asks first.

Components that tiny models share, to the byte, are converted and compared with torch once: see `shared`.
"""

import hashlib
import importlib
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny_transformers
from pleinair.adapters.merging import Merge
from pleinair.engines.telemetry import without_telemetry
from pleinair.sources.families import DENOISERS
from pleinair.sources.folder import Source
from pleinair_export import convert
from pleinair_export.loras import planned_merge
from pleinair_export.progress import ExportProgress
from pleinair_export.trials import WORK
from quietly import export_quietly
from tiny_pipeline import write_tiny_pipeline
from tiny_transformers import write_tiny_transformer

with without_telemetry():
    import openvino  # noqa: F401

torch.set_num_threads(1)  # networks this small only wait for a second thread
BOTH = ("openvino", "onnx")
QUIETLY = ("sd2", "int8")  # the one bundle that is made in a process of its own
MEASURED = ("sd1", "sd2", "least", "sd1-inpaint")  # in OpenVINO too; others' pictures are compared on both engines
PAINTED = ("sd1", "sd2", "sd3-without-t5")  # in fp32 their exports end with pictures; tests paint with others anyway


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
    """`exporting(source, out, ...)`: an export and its steps, but for what was done to equal components before.

    A denoiser is `converted` to formats that may be more than are asked for: those that a bundle of tests has anyway.
    """

    def steps(source: Path, out: Path, converted: tuple[str, ...] = BOTH, **how) -> list[ExportProgress]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convert, "do", shared(once, convert.do, converted))
            return list(convert.export(source, out, **how))

    return steps


@pytest.fixture(scope="session")
def exported(tiny_sources, once, exporting):
    """`exported(family, weights)`: the path of a bundle in both formats; do not write there."""

    def bundle(family: str, weights: str) -> Path:
        def make(folder: Path) -> None:
            if (family, weights) == QUIETLY:
                return export_quietly(tiny_sources[family], folder, weights)
            with pytest.MonkeyPatch.context() as patch:
                if family not in PAINTED or weights != "fp32":
                    patch.setattr(convert, "compare_pictures", no_pictures)
                if family not in MEASURED:
                    patch.setattr(convert, "check_graph", with_onnx_alone(convert.check_graph))
                exporting(tiny_sources[family], folder, formats=BOTH, weights=weights)

        return once(f"bundles/{family}-{weights}", make)

    return bundle


def no_pictures(model, stage, formats, weights):
    return iter(())


def with_onnx_alone(check_graph):
    """`check_graph` of the export, which holds no graph of OpenVINO against torch and takes it as it is."""

    def checked(stage, graph, made, weights, parameters):
        forms = {form: files for form, files in made.files.items() if form == "onnx"}
        info = yield from check_graph(stage, graph, replace(made, files=forms), weights, parameters)
        return replace(info, files=made.files)

    return checked


def shared(once, do, denoisers):
    """`do` of the export, with what was done to equal bytes before taken from there: a VAE is in many tiny models.

    What is no denoiser is converted in both formats, of which a model takes those that it asks for, and `denoisers` in
    these.
    """

    def keep(task, taken, stage, *arguments, parameters):
        """The files that a task leaves in `stage`, its steps and what it found, of when this was first `taken`."""

        def make(folder):
            before = files_in(stage)
            told = finished(do(task, *arguments, parameters=parameters))
            (folder / "files").mkdir(parents=True)
            for file in files_in(stage) - before:
                (folder / "files" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(stage / file, folder / "files" / file)
            (folder / "told").write_bytes(pickle.dumps(told))

        kept = once(f"shared/{task}-{hashlib.sha256(pickle.dumps(taken)).hexdigest()[:32]}", make)
        return kept / "files", *pickle.loads((kept / "told").read_bytes())

    def converted(model, part, context, stage, formats, weights, *, parameters):
        denoises = part.folder in DENOISERS
        every, told = denoisers if denoises else BOTH, context.feeds if denoises else {}
        texts = [context.ids[graph] for graph in part.graphs if graph in context.ids]
        merge = planned_merge(model) if isinstance(model, Source) else Merge()
        merged = [edit.made_of for graph in part.graphs for edit in merge.edits(graph)]
        taken = folder_bytes(model.path / part.folder), part, context.size, told, texts, every, weights, merged
        arguments = model, part, context, stage, every, weights
        files, steps, found = keep("convert", taken, stage, *arguments, parameters=parameters)
        others = set(every) - set(formats)
        left_out = {Path(file) for made in found.values() for form in others for file in made.files[form]}
        for file in files_in(files) - left_out:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files / file, stage / file)
        yield from (step for step in steps if step.stage.partition(":")[0] not in others)
        return {graph: in_formats(made, formats) for graph, made in found.items()}

    def done(task, *arguments, parameters):
        if task == "convert":
            return (yield from converted(*arguments, parameters=parameters))
        if task != "check":
            return (yield from do(task, *arguments, parameters=parameters))
        stage, graph, info, form = arguments
        files = [(stage / file).read_bytes() for file in (*info.files[form], f"{WORK}/{graph}.npz")]
        taken = files, replace(info, files={form: info.files[form]}, fidelity={})
        _, steps, found = keep(task, taken, stage, *arguments, parameters=parameters)
        yield from steps
        return found

    return done


def finished(running):
    """The steps of a task, and what it found."""
    steps = []
    while True:
        try:
            steps.append(next(running))
        except StopIteration as end:
            return steps, end.value


def in_formats(made, formats):
    """A converted graph, in these formats alone."""
    weights = {path: {form: each[form] for form in formats if form in each} for path, each in made.weights.items()}
    return replace(made, files={form: made.files[form] for form in formats}, weights=weights)


def files_in(folder):
    return {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}


def folder_bytes(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


@pytest.fixture(scope="session")
def proving():
    """benchmarks/prove_topologies.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("prove_topologies")
