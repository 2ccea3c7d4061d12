"""Last steps of a W8A8 model in float: what is asked of its graph, what comes of it, and where it has no effect."""

import numpy as np
import pytest

import pleinair
from loras import kohya, write_lora
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Unrounded
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import open_graph
from pleinair.quantizing.quantize import quantize
from pleinair.request.request import resolve

ENGINES = ("openvino", "onnx")
JOB = {"size": "64x64", "steps": 4, "seed": 5}
PROMPT = "the red thread"
RNG = np.random.default_rng(0)
GIVEN = {
    "sample": RNG.standard_normal((1, 4, 8, 8)).astype(np.float32),
    "timestep": np.array([400], np.float32),
    "encoder_hidden_states": RNG.standard_normal((1, 77, 32)).astype(np.float32),
}


@pytest.fixture(scope="module")
def wide(exported):
    return exported("sd1", "fp16")


@pytest.fixture(scope="module")
def made(wide, once):
    def make(folder):
        for _ in quantize(wide, folder, pictures=2, size="64x64"):
            pass

    return once("bundles/sd1-w8a8", make)


def off(answer, exact):
    return float(np.abs(answer.astype(np.float64) - exact).mean())


@pytest.mark.parametrize("engine", ENGINES)
def test_without_rounding_only_the_weights_differ(engine, made, wide):
    exact = open_graph(open_bundle(wide), "unet", engine)(**GIVEN)["out_sample"]
    rounded, unrounded = (
        open_graph(open_bundle(made), "unet", engine, edits=edits)(**GIVEN)["out_sample"]
        for edits in ((), (Unrounded(),))
    )
    assert 0 < off(unrounded, exact) < 0.6 * off(rounded, exact)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_steps_are_asked_of_another_graph(engine, made):
    with pleinair.load(made, engine=engine, precision="f32") as pipe:
        every, some, none = (pipe.generate(PROMPT, **JOB, wide_steps=count) for count in (JOB["steps"], 1, 0))
        again = pipe.generate(PROMPT, **JOB, wide_steps=JOB["steps"] + 5)
    assert np.array_equal(every.pixels, again.pixels)
    assert len({each.pixels.tobytes() for each in (every, some, none)}) == 3
    assert some.settings["wide_steps"] == 1 and "wide_steps" not in none.settings


def test_models_in_float_say_that_it_does_nothing(wide):
    with pleinair.load(wide, engine="openvino", precision="f32") as pipe:
        told, plain = (pipe.generate(PROMPT, **JOB, **how) for how in ({"wide_steps": 2}, {}))
    assert np.array_equal(told.pixels, plain.pixels) and told.settings == plain.settings
    assert any("'wide_steps' has no effect" in line for line in told.warnings)


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_for_the_graph_in_float_is_counted(engine, made, wide):
    def needed(folder, **how):
        with pleinair.load(folder, engine=engine) as pipe:
            return pipe.memory_needed(resolve(pipe.bundle, PROMPT, None, **JOB, **how), memory="high")

    assert needed(made, wide_steps=1) > needed(made)
    assert needed(wide, wide_steps=1) == needed(wide)


def test_a_changed_graph_stays_open_in_both_ways(made, tmp_path):
    """A LoRA's graph and the same without rounding: neither is let go for the other, and another LoRA's is."""
    bundle = open_bundle(made)
    layers = engine_named("onnx").layers(bundle, "unet")
    shapes = {path: layer.shape for path, layer in layers.items() if len(layer.shape) > 1}
    write_lora(tmp_path / "lora.safetensors", kohya(shapes))
    with pleinair.load(made, engine="onnx", precision="f32") as pipe:
        graphs = pipe._loaded.model.graphs
        job = {**JOB, "steps": 2, "wide_steps": 1, "loras": [tmp_path / "lora.safetensors"]}
        first = pipe.generate(PROMPT, **job)
        kept = dict(graphs._open)
        second = pipe.generate(PROMPT, **job)
        assert all(graphs._open[key] is graph for key, graph in kept.items())
    assert np.array_equal(first.pixels, second.pixels) and len([key for key in kept if key[0] == "unet"]) == 2
