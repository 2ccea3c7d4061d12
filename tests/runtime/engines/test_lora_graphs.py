"""Graphs with LoRAs in them: which variants stay, and that each job has its own, whoever paints beside it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import pleinair
from loras import kohya, write_lora
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Change, Layer, NewWeights
from pleinair.engines.engine import engine_named
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import Graphs

JOB = {"prompt": "a boat", "seed": 1, "steps": 2, "guidance": 1.0, "width": 64, "height": 64}
SHAPES = {"conv_in": (8, 4, 3, 3), "conv_out": (4, 8, 3, 3)}  # of the sketch


@pytest.fixture
def styles(tmp_path):
    """Two LoRAs for the UNet of a sketch."""
    return [write_lora(tmp_path / f"{n}.safetensors", kohya(SHAPES, seed=n)) for n in range(2)]


def painted(pipe, loras=()):
    return pipe.generate(**JOB, loras=loras).pixels


@pytest.mark.parametrize("engine", ["openvino", "onnx", FakeEngine()])
def test_threads_that_switch_loras_have_their_own_pictures(sketch, styles, engine):
    """Each of several rounds; and what is painted without one afterwards is the plain picture to the bit."""
    wanted = [(), *([(style, 0.8)] for style in styles), [(styles[0], 0.8), (styles[1], 0.5)]]
    alone = [painted(pleinair.load(sketch, engine=engine), loras) for loras in wanted]
    for n, one in enumerate(alone):
        assert not any(np.array_equal(one, other) for other in alone[:n])
    pipe = pleinair.load(sketch, engine=engine)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda loras: painted(pipe, loras), wanted * 2))
    for one, other in zip(alone * 2, together, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(painted(pipe, [(styles[0], 0)]), alone[0])


@pytest.mark.parametrize(("memory", "opened"), [("high", 4), ("low", 5)])
def test_the_plain_graph_and_the_last_edited_one_stay(sketch, styles, memory, opened):
    """With little memory one does."""
    made = []

    class Watched(FakeEngine):
        def open_graph(self, bundle, graph, how):
            made.append(graph)
            return super().open_graph(bundle, graph, how)

    graphs = Graphs(pleinair.load(sketch, engine="fake").bundle, Watched(), max_shapes=1 if memory == "low" else 2)
    one, other = ((NewWeights(name, {"conv_in": Change()}),) for name in ("one", "other"))
    for edits in ((), one, (), other, one)[: None if memory == "high" else 5]:
        graphs.open("unet", edits)
    assert len(made) == opened


def test_layers_are_looked_for_once(sketch, styles):
    looked = []

    class Watched(FakeEngine):
        def layers(self, bundle, graph):
            looked.append(graph)
            return super().layers(bundle, graph)

    pipe = pleinair.load(sketch, engine=Watched())
    for _ in range(2):
        painted(pipe, [styles[0]])
    assert looked == ["unet", "text_encoder"]


def test_texts_are_heard_anew_with_a_lora_in_their_encoder(tmp_path):
    """And are not mixed up with those that were heard before."""
    path = "encoder.layers.0.self_attn.q_proj"
    file = write_lora(tmp_path / "words.safetensors", kohya({path: (128, 128)}, "lora_te_text_model_"))
    asked = []
    pipe = pleinair.load(engine=FakeEngine(lambda graph, inputs: asked.append(graph)))
    for loras in ((), [file], (), [file]):
        pipe.generate(**JOB, loras=loras)
    assert asked.count("text_encoder") == 2


def test_what_applies_is_in_the_result_and_its_record(sketch, styles, tmp_path):
    odd = kohya(SHAPES) | kohya({"elsewhere": (4, 4)})
    result = pleinair.load(sketch, engine="onnx").generate(
        **JOB, loras=[(write_lora(tmp_path / "odd.safetensors", odd), -0.5)]
    )
    (applied,) = result.loras
    assert applied.words == "odd: 2 of 3 layers at -0.5" and len(applied.left_out) == 3
    assert any("3 keys are not applied" in warning for warning in result.warnings)
    told = result.settings["loras"]["odd"]
    assert told == {**told, "weight": -0.5, "layers": 2, "of": 3} and len(told["sha256"]) == 16


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_layers_are_found_where_a_bundle_does_not_say_them(engine):
    """As in bundles of format 1, and those that other tools have exported: by the names that are in the graph."""
    bundle = open_bundle()
    silent = replace(bundle, manifest=replace(bundle.manifest, weights={}))
    found = [engine_named(engine).layers(each, "text_encoder") for each in (bundle, silent)]
    assert found[0] == found[1] and len(found[0]) == 17
    assert found[0]["encoder.layers.1.mlp.fc1"] == Layer((512, 128), bias=True)
    assert found[0]["final_layer_norm"] == Layer((128,), bias=True)
