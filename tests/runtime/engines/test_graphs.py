"""Graphs of a pipeline: compiled once for each of a few sets of shapes, let go of, changed when they are opened."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

import numpy as np
import pytest
from PIL import Image

import pleinair
from pleinair.bundle.opening import open_bundle
from pleinair.engines import openvino
from pleinair.engines.edits import Change, NewWeights, Residuals
from pleinair.engines.engine import engine_named
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import Graphs, open_graph
from pleinair.errors import BundleError, EngineError, RequestError

QUICK = {"seed": 1, "steps": 2, "guidance": 1.0}


@pytest.fixture
def compiled(monkeypatch):
    """The output ports of every model that OpenVINO compiles, and the shape of its first input."""
    found = []
    compile_model = openvino.ov.Core.compile_model

    def watched(core, model, *how):
        found.append((model.outputs[0].get_any_name(), tuple(model.inputs[0].shape)))
        return compile_model(core, model, *how)

    monkeypatch.setattr(openvino.ov.Core, "compile_model", watched)
    return found


def of_unet(compiled):
    return [shape for port, shape in compiled if port == "out_sample"]


def test_a_second_size_leaves_the_first_one_compiled(sketch, compiled, monkeypatch):
    pipe = pleinair.load(sketch, engine="openvino")
    for width in (64, 72, 64, 72):
        pipe.generate("a boat", width=width, height=64, **QUICK)
    assert of_unet(compiled) == [(1, 4, 8, 8), (1, 4, 8, 9)]
    monkeypatch.setattr(openvino.ov, "Core", None)  # a new one would look for all devices again
    assert pipe.generate("a boat", width=64, height=64, **QUICK).settings["device"] == "cpu"


def test_two_threads_with_two_sizes_compile_each_shape_once(sketch, compiled):
    pipe = pleinair.load(sketch, engine="openvino")
    sizes = [(64, 64), (72, 64)] * 2
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda size: pipe.generate("a boat", width=size[0], height=size[1], **QUICK), sizes))
    assert sorted(of_unet(compiled)) == [(1, 4, 8, 8), (1, 4, 8, 9)]
    assert len(compiled) == 5  # one for the text, two for each of the others


@pytest.mark.parametrize("memory", ["high", "low"])
def test_a_second_pass_compiles_two_shapes_for_all_pictures(sketch, compiled, memory):
    pipe = pleinair.load(sketch, engine="openvino", memory=memory)
    pipe.generate("a boat", width=64, height=64, count=3, hires=2.0, **QUICK)
    assert of_unet(compiled) == [(1, 4, 8, 8), (1, 4, 16, 16)]


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_low_memory_paints_the_same_pictures_stage_by_stage(sketch, engine):
    job = {"prompt": "a boat", "seed": 1, "steps": 2, "count": 3, "batch": 2, "hires": 1.5, "width": 64, "height": 64}
    high, low = (pleinair.load(sketch, engine=engine, memory=memory) for memory in ("high", "low"))
    assert np.array_equal(high.generate(**job).pixels, low.generate(**job).pixels)
    frames = list(low.stream(**job))
    assert [frame.step for frame in frames if frame.result] == [3, 3]
    assert all(frame.result for frame in frames[-2:]) and not any(frame.result for frame in frames[:-2])


class Watched(FakeEngine):
    """Knows which of its graphs somebody still holds."""

    def __init__(self, on_call):
        super().__init__(on_call)
        self._held = WeakValueDictionary()

    def open_graph(self, bundle, graph, how):
        self._held[graph] = super().open_graph(bundle, graph, how)
        return self._held[graph]

    def held(self):
        gc.collect()
        return set(self._held)


def test_low_memory_holds_nothing_but_the_denoiser_while_it_denoises():
    """With a picture to start from, and pixels between two passes."""
    asked, held = set(), set()

    def on_call(graph, inputs):
        asked.add(graph)
        if graph == "unet":
            held.update(engine.held())

    engine = Watched(on_call)
    pipe = pleinair.load(engine=engine, memory="low")
    picture = Image.new("RGB", (64, 64), "red")
    pipe.generate("a boat", image=picture, hires=1.5, enlarger="lanczos", **QUICK)
    assert asked == {"text_encoder", "vae_encoder", "unet", "vae_decoder"} and held == {"unet"}


def test_memory_has_three_words():
    with pytest.raises(RequestError, match="unknown memory 'little'; choose from auto, high, low"):
        pleinair.load(engine="fake", memory="little")


def test_equal_pictures_are_encoded_once():
    calls = []
    pipe = pleinair.load(engine=FakeEngine(lambda graph, inputs: calls.append(graph)))
    image = np.zeros((64, 64, 3), np.uint8)
    pipe.generate("a boat", image=image, strength=1.0, count=3, width=64, height=64, **QUICK)
    assert calls.count("vae_encoder") == 1


def test_a_text_is_asked_for_once(monkeypatch):
    calls, opened = [], []
    read = pleinair.text.encoders.read_tokenizer
    monkeypatch.setattr("pleinair.text.encoders.read_tokenizer", lambda *file: opened.append(file) or read(*file))
    pipe = pleinair.load(engine=FakeEngine(lambda graph, inputs: calls.append(graph)))
    for _ in range(2):
        pipe.generate("a boat", hires=1.5, **QUICK)
    assert calls.count("text_encoder") == 1 and len(opened) == 1
    pipe.unload()
    pipe.generate("a boat", **QUICK)
    assert calls.count("text_encoder") == 2


def test_a_released_graph_is_opened_again_and_no_other():
    opened = []
    graphs = Graphs(open_bundle(), engine_named("fake"), on_load=opened.append)
    first = graphs.open("unet")
    assert graphs.open("unet") is first
    graphs.open("vae_decoder")
    graphs.release("unet")
    assert graphs.open("unet") is not first
    assert graphs.open("vae_decoder") is graphs.open("vae_decoder") and opened == ["unet", "vae_decoder", "unet"]


def test_devices_by_component():
    graphs = Graphs(open_bundle(), engine_named("fake"), device="unet=cpu,vae=gpu")
    assert graphs.device == "text=cpu,unet=cpu,vae=gpu" and graphs.device_of("vae_decoder") == "gpu"
    assert Graphs(open_bundle(), engine_named("fake"), device={"unet": "gpu"}).device_of("unet") == "gpu"
    assert Graphs(open_bundle(), engine_named("fake")).device == "cpu"


@pytest.mark.parametrize("device", ["unet=", "cat=cpu", "unet=cpu,unet=gpu", {"unet": 3}, 7, ["cpu"], {"unet": " "}])
def test_devices_that_make_no_sense(device):
    with pytest.raises(RequestError) as caught:
        pleinair.load(engine="fake", device=device)
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_device_that_is_not_here_is_refused_by_component(engine):
    with pytest.raises(RequestError, match="no device 'tpu' here"):
        pleinair.load(engine=engine, device="unet=tpu")


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_weight_that_is_made_anew_when_a_graph_is_opened(sketch, engine):
    """The last convolution is linear in its weight."""
    bundle = open_bundle(sketch)
    shape = engine_named(engine).layers(bundle, "unet")["conv_out"].shape
    random = np.random.default_rng(0)
    x = {
        "sample": random.standard_normal((1, 4, 8, 8), np.float32),
        "timestep": np.array([500], np.float32),
        "encoder_hidden_states": np.zeros((1, 77, 128), np.float32),
    }
    one, other = (random.standard_normal(shape).astype(np.float16).astype(np.float32) for _ in range(2))

    def answer(weight):
        edit = NewWeights("test", {"conv_out": Change(lambda old: weight)})
        return open_graph(bundle, "unet", engine, edits=[edit])(**x)["out_sample"]

    none = answer(0 * one)
    assert np.abs(answer(one) - none).max() > 0.1
    np.testing.assert_allclose(answer(one / 2) - none, (answer(one) - none) / 2, atol=1e-4)
    mean = (answer(one) + answer(other)) / 2
    np.testing.assert_allclose(answer((one + other) / 2), mean, atol=2e-2)  # the mean is rounded to 16 bits
    plain = open_graph(bundle, "unet", engine)(**x)["out_sample"]
    assert np.abs(plain - none).max() > 0.01  # the file is as it was


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_what_an_edit_changes_and_a_graph_has_not_is_refused(sketch, engine):
    edits = {
        "'unet' has no layer 'nowhere'": NewWeights("test", {"nowhere": Change()}),
        "the ControlNet 'canny' is not for '.*': .* of 8 x 3 channels, .* are none": Residuals((8, 8, 8), "canny"),
    }
    for words, edit in edits.items():
        with pytest.raises(BundleError, match=words):
            open_graph(open_bundle(sketch), "unet", engine, edits=[edit]).prepare(
                {"sample": (1, 4, 8, 8), "timestep": (1,), "encoder_hidden_states": (1, 77, 128)}
            )


class LateEngine(FakeEngine):
    """Says in which thread each graph is made ready, and fails there with the `error` of a graph."""

    def __init__(self, error=None):
        super().__init__()
        self.made_ready, self.error = [], error

    def open_graph(self, bundle, graph, how):
        opened = super().open_graph(bundle, graph, how)

        def prepare(shapes):
            self.made_ready.append((graph, threading.current_thread() is threading.main_thread()))
            if graph == "unet" and self.error:
                raise self.error

        opened.prepare = prepare
        return opened


def test_the_denoiser_is_compiled_while_others_are():
    """In a thread of its own; with little memory, one after the other."""
    asked = {
        "prompt": "a boat " * 60 + "AND a dog",
        "negative": "fog",
        "width": 64,
        "height": 72,
        "count": 3,
        "batch": 2,
    }
    for memory, expected in (("high", False), ("low", True)):
        engine = LateEngine()
        pleinair.load(engine=engine, memory=memory).generate(**asked, seed=1, steps=1)
        assert dict(reversed(engine.made_ready)) == {"text_encoder": True, "unet": expected, "vae_decoder": True}


def test_the_shapes_that_a_denoiser_is_compiled_for_ahead_are_those_it_is_called_with(sketch, compiled):
    pipe = pleinair.load(sketch, engine="openvino")
    pipe.generate("a boat " * 60 + "AND a dog", negative="fog", width=64, height=72, count=2, batch=2, seed=1, steps=1)
    assert len(of_unet(compiled)) == 1


def test_what_fails_ahead_is_told_where_it_is_needed(recwarn):
    engine = LateEngine(EngineError("'unet' failed; try another --engine"))
    with pytest.raises(EngineError, match="'unet' failed"):
        pleinair.load(engine=engine).generate("a boat", seed=1, steps=1)
    assert ("unet", True) in engine.made_ready
    assert not recwarn.list
