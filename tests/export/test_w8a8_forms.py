"""W8A8 UNets in the forms that CPUs take: exact where they should be, fused, and with LoRAs and ControlNets on top."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import pleinair
import w8a8
from bundles import seal
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Change, NewWeights, Residuals, Tabulated, Unrounded
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import Graphs
from pleinair.engines.int8.channels_first import channels_first
from pleinair.engines.int8.cpu import cpu_flags
from pleinair.engines.int8.forms import ChosenForm
from pleinair.engines.int8.rewriting import linear_over_images, put_in_form
from pleinair.engines.int8.shapes import freeze_shapes
from pleinair.engines.openvino import ov, read_model
from pleinair.engines.openvino_residuals import found_channels, skip_joints
from pleinair.tasks.rerun import rerun

LINEAR = {"sd1": 32, "sdxl": 18}  # over image tokens: all but the time's, and the keys and values of the text
QUANTIZERS = {"sd1": 16, "sdxl": 8}  # of queries and keys
CHANNELS_FIRST = ChosenForm("channels-first", "")
LAYER = "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.2"  # whose input NNCF has smoothed
TIME = "mid_block.resnets.0.time_emb_proj"
JOB = {"prompt": "the and", "seed": 1, "steps": 2, "guidance": 1.5, "width": 64, "height": 64}


@pytest.fixture(scope="session")
def quantized(exported, once):
    """`quantized(family)`: the W8A8 graph of its UNet."""

    def graph(family):
        def make(folder):
            folder.mkdir()
            w8a8.quantize(plain_graph(exported, family), folder / "unet.xml")

        return once(f"w8a8/{family}", make) / "unet.xml"

    return graph


@pytest.fixture(scope="session")
def small_bundle(exported, quantized, once):
    """The bundle of sd1 with a W8A8 UNet, for OpenVINO."""

    def make(folder):
        shutil.copytree(exported("sd1", "fp32"), folder)
        for end in (".xml", ".bin"):
            shutil.copy(quantized("sd1").with_suffix(end), folder / "unet" / f"openvino_model{end}")
        seal(folder)

    return once("w8a8/bundle-sd1", make)


def plain_graph(exported, family):
    return exported(family, "fp32") / "unet" / "openvino_model.xml"


@pytest.mark.parametrize("family", LINEAR)
@pytest.mark.parametrize("sides", [(8, 16), (16, 8)])
def test_channels_first_is_exact_in_float(exported, family, sides):
    file = plain_graph(exported, family)
    feeds = w8a8.fed(ov.Core().read_model(file), sides=sides)
    model = w8a8.static(file, feeds)
    expected = w8a8.answer(model, feeds)
    freeze_shapes(model)
    assert channels_first(model) == LINEAR[family]
    assert np.abs(w8a8.answer(model, feeds) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("family", LINEAR)
def test_all_that_should_be_edited_is(quantized, family):
    file = quantized(family)
    model = w8a8.static(file, w8a8.fed(ov.Core().read_model(file)))
    assert len(linear_over_images(model)) == LINEAR[family]
    taken = put_in_form(model, CHANNELS_FIRST)
    assert (taken.linear, taken.left, taken.unknown) == (LINEAR[family], 0, 0)
    assert taken.attention == QUANTIZERS[family] and 0 < taken.rounded <= taken.weights


def test_attention_stays_fused_and_transposes_few(quantized):
    """In the graph that is executed: neither softmax nor a product of its own."""
    file = quantized("sd1")
    model = w8a8.static(file, w8a8.fed(ov.Core().read_model(file)))
    put_in_form(model, CHANNELS_FIRST)
    told = [node.get_rt_info() for node in w8a8.compiled(model).get_runtime_model().get_ops()]
    kinds = [str(each["layerType"].astype(str)) for each in told]
    assert kinds.count("Softmax") == kinds.count("MatMul") == 0
    assert kinds.count("Convolution") > LINEAR["sd1"]


def test_graphs_of_open_sizes_keep_their_layout_and_say_so(quantized):
    model = ov.Core().read_model(quantized("sd1"))
    taken = put_in_form(model, CHANNELS_FIRST)
    assert (taken.linear, taken.left) == (0, LINEAR["sd1"]) and taken.rounded > 0


@pytest.mark.skipif("avx2" not in cpu_flags(), reason="this CPU has no AVX2")
@pytest.mark.parametrize(("family", "overflown"), [("sd1", 35), ("sdxl", 40)])
def test_nothing_overflows_where_only_avx2_is(quantized, family, overflown):
    """dB from exact arithmetic: of the graph as it is stored, and of a form's own weights."""
    found = json.loads(
        subprocess.run(
            [sys.executable, w8a8.__file__, quantized(family)],
            env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert found["stored"]["exact"] < overflown
    for form in ("paired", "channels-first"):
        assert found[form]["arithmetic"] > 45 and found[form]["exact"] > 43


@pytest.mark.parametrize("form", ["stored", "channels-first"])
def test_loras_and_ports_go_on_top(exported, small_bundle, form):
    """A changed layer is wide, what NNCF has smoothed included; dB from the same edits of the graph in float."""
    plain = open_bundle(exported("sd1", "fp32"))
    model = read_model(ov.Core(), plain_graph(exported, "sd1"))
    edit = Residuals(tuple(found_channels(skip_joints(model))))
    feeds = w8a8.fed(model)
    model.reshape({name: array.shape for name, array in feeds.items()})
    joints = skip_joints(model)
    places = [*(joint.input(1) for joint in joints), joints[-1].input(0)]
    noise = np.random.default_rng(0)
    added = {
        name: noise.standard_normal(tuple(place.get_shape()), np.float32)
        for name, place in zip(edit.ports, places, strict=True)
    }
    loud = NewWeights("loud", {LAYER: Change(lambda weight: weight + noise_like(weight))})

    def asked(bundle, *edits):
        graphs = Graphs(bundle, engine_named("openvino"), precision="f32", int8=form)
        return graphs.open("unet", edits)(**feeds | (added if edit in edits else {}))["out_sample"]

    small = open_bundle(small_bundle)
    expected = asked(plain, loud, edit)
    assert w8a8.decibels(expected, asked(small, loud, edit)) > 34
    assert w8a8.decibels(asked(plain, loud), asked(small, loud)) > 34
    assert w8a8.decibels(expected, asked(small, edit)) < 30 and w8a8.decibels(expected, asked(small, loud)) < 30


@pytest.mark.parametrize("form", ["stored", "channels-first"])
def test_layers_of_the_time_say_the_same_when_they_are_computed_before(small_bundle, form):
    """To the bit, as they are, changed by a LoRA, and in float."""
    bundle = open_bundle(small_bundle)
    feeds = w8a8.fed(read_model(ov.Core(), bundle.graph_file("unet", "openvino")))
    tabulated = Tabulated.of([{"timestep": feeds["timestep"]}])
    loud = NewWeights("loud", {TIME: Change(lambda weight: weight + noise_like(weight))})

    def asked(*edits):
        graphs = Graphs(bundle, engine_named("openvino"), precision="f32", int8=form)
        return graphs.open("unet", edits)(**feeds)["out_sample"]

    plain, changed = asked(), asked(loud)
    assert np.array_equal(asked(tabulated), plain)
    assert np.array_equal(asked(loud, tabulated), changed) and not np.array_equal(changed, plain)
    assert np.array_equal(asked(tabulated, Unrounded()), asked(Unrounded()))


def noise_like(weight):
    return 0.3 * np.random.default_rng(1).standard_normal(weight.shape).astype(np.float32)


def test_pictures_of_two_sizes_and_their_record(small_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe = pleinair.load(small_bundle, engine="openvino", int8="channels-first")
    first, other = pipe.generate(**JOB), pipe.generate(**JOB | {"width": 128})
    assert other.pixels.shape[1:3] == (64, 128)
    told = first.settings["int8"]["unet"]
    assert told["form"] == "channels-first" and told["why"] == "it was asked for" and told["linear"] == LINEAR["sd1"]
    assert not any("int8" in warning for warning in first.warnings)
    first.save("a.png")
    again = rerun("a.png", model=small_bundle)
    assert again.result.settings["int8"] == first.settings["int8"] and again.difference.max_abs == 0
    assert "int8" not in pleinair.load(small_bundle, engine="onnx").generate(**JOB).settings


def test_a_unet_whose_linear_layers_have_to_stay_says_so(small_bundle, monkeypatch):
    monkeypatch.setattr("pleinair.engines.int8.rewriting.channels_first", lambda model: 0)
    result = pleinair.load(small_bundle, engine="openvino", int8="channels-first").generate(**JOB)
    assert any("32 of its 32 linear layers have to stay" in warning for warning in result.warnings)
