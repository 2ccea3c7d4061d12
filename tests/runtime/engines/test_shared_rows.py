"""What a network says before it reads the text, computed once for all texts of a picture: the same pictures."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from openvino import opset13 as ops

import pleinair
from bundles import edit_manifest, seal
from pleinair.bundle.manifest import GraphInfo, Port
from pleinair.bundle.opening import open_bundle
from pleinair.engines import openvino
from pleinair.engines.edits import Residuals
from pleinair.engines.engine import engine_named
from pleinair.engines.fake import FakeEngine
from pleinair.engines.graphs import Graphs
from pleinair.engines.openvino import ov
from pleinair.engines.openvino_sharing import share_rows
from pleinair.engines.rows import port_of_fewer
from pleinair.files.metadata import read_record
from pleinair.files.output import write_pictures
from pleinair.tasks.rerun import rerun

JOB = {"prompt": "a red house", "seed": 1, "steps": 3, "size": "64x64"}
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
CHANNELS, TOKENS = 4, 3
INFO = GraphInfo(
    files={},
    inputs={
        "latents": Port("float32", ("batch", CHANNELS, "height", "width")),
        "time": Port("float32", (1,)),
        "text": Port("float32", ("batch", "tokens", CHANNELS)),
    },
    outputs={},
    weights="fp32",
    activations="fp32",
    fidelity={},
)


def decibels(one, other):
    error = np.mean((one.astype(float) - other) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(np.mean(one.astype(float) ** 2) / error)


def network(before=lambda image: image, rows=4):
    """A model (rows, C, 2, 3) that does something of its own before it is told the time and the text."""
    noise = np.random.default_rng(0)
    image = ops.parameter([rows, CHANNELS, 2, 3], np.float32, name="latents")
    time = ops.parameter([1], np.float32, name="time")
    text = ops.parameter([rows, TOKENS, CHANNELS], np.float32, name="text")
    for port, name in ((image, "latents"), (time, "time"), (text, "text")):
        port.output(0).get_tensor().set_names({name})
    taps = noise.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    first = ops.convolution(before(image), ops.constant(taps), [1, 1], [0, 0], [0, 0], [1, 1])
    spread = ops.broadcast(ops.cos(time), ops.constant([rows]))
    timed = ops.add(first, ops.unsqueeze(spread, ops.constant([1, 2, 3])))
    tokens = ops.transpose(ops.reshape(timed, ops.constant([rows, CHANNELS, 6]), False), ops.constant([0, 2, 1]))
    read = ops.scaled_dot_product_attention(tokens, text, text, causal=False)
    return ov.Model([ops.add(tokens, read)], [image, time, text])


def answer(model, latents):
    noise = np.random.default_rng(2)
    text = noise.standard_normal(tuple(model.input("text").shape)).astype(np.float32)
    compiled = ov.Core().compile_model(model, "CPU", F32)
    return np.array(compiled({"latents": latents, "time": np.array([0.5], np.float32), "text": text})[0])


def fewer(rows, times):
    shapes = {"latents": (rows // times, CHANNELS, 2, 3), "time": (1,), "text": (rows, TOKENS, CHANNELS)}
    return port_of_fewer(INFO, shapes)


def operations(model):
    return sum(node.get_type_name() not in ("Constant", "Parameter") for node in model.get_ordered_ops())


@pytest.mark.parametrize(("rows", "times"), [(2, 2), (4, 2), (6, 3), (4, 4), (3, 3)])
def test_the_answer_is_the_same(rows, times):
    """The image, what the time adds, and its tokens are computed once; the text's attention is not."""
    model = network(rows=rows)
    assert share_rows(model, fewer(rows, times)) == 7
    assert list(model.input("latents").shape) == [rows // times, CHANNELS, 2, 3]
    latents = np.random.default_rng(1).standard_normal((rows // times, CHANNELS, 2, 3)).astype(np.float32)
    plain = answer(network(rows=rows), np.concatenate([latents] * times))
    assert decibels(plain, answer(model, latents)) > 120


def one_for_all(image):
    return ops.subtract(image, ops.reduce_mean(image, ops.constant([0]), True))


def cumulative(image):
    return ops.cum_sum(image, ops.constant(np.int32(0)))


def as_one_row(image):
    joined = ops.reshape(image, ops.constant([1, 4 * CHANNELS, 2, 3]), False)
    return ops.reshape(
        ops.mvn(joined, ops.constant([1, 2, 3]), True, 1e-5, "inside_sqrt"), ops.constant([4, 4, 2, 3]), False
    )


def rows_turned(image):
    return ops.transpose(ops.transpose(image, ops.constant([1, 0, 2, 3])), ops.constant([1, 0, 2, 3]))


def rows_normed(image):
    return ops.mvn(image, ops.constant([0, 1]), True, 1e-5, "inside_sqrt")


def rows_joined(image):
    halves = ops.split(image, ops.constant(0), 2)
    return ops.concat([halves.output(1), halves.output(0)], 0)


@pytest.mark.parametrize("before", [one_for_all, cumulative, as_one_row, rows_turned, rows_normed, rows_joined])
def test_what_mixes_rows_has_all_of_them(before):
    model = network(before)
    share_rows(model, fewer(4, 2))
    latents = np.random.default_rng(1).standard_normal((2, CHANNELS, 2, 3)).astype(np.float32)
    plain = answer(network(before), np.concatenate([latents] * 2))
    assert decibels(plain, answer(model, latents)) > 110


def test_a_port_that_is_told_as_much_as_others_shares_nothing():
    assert fewer(2, 1) is None and fewer(1, 1) is None


def test_one_time_for_all_rows_is_no_port_of_fewer():
    """Graphs that diffusers' own script exports name its side as that of rows."""
    info = replace(INFO, inputs=INFO.inputs | {"time": Port("float32", ("batch",))})
    shapes = {"latents": (2, CHANNELS, 2, 3), "time": (1,), "text": (4, TOKENS, CHANNELS)}
    found = port_of_fewer(info, shapes)
    assert (found.port, found.whole, found.times, found.rowless) == ("latents", (4, CHANNELS, 2, 3), 2, ("time",))
    assert port_of_fewer(info, shapes | {"latents": (4, CHANNELS, 2, 3)}) is None


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_model_of_a_fixed_number_of_rows_is_told_them_all(engine, sketch, tmp_path):
    folder = shutil.copytree(sketch, tmp_path / "two")

    def fix(raw):
        for port in ("sample", "encoder_hidden_states"):
            raw["graphs"]["unet"]["inputs"][port]["shape"][0] = 2

    edit_manifest(folder, fix)
    with pleinair.load(seal(folder), engine=engine) as pipe:
        assert "shared" not in pipe.generate(**JOB).settings


def painted(share=True, **how):
    opened = {name: how.pop(name) for name in ("precision", "memory") if name in how}
    with pleinair.load(engine="openvino", share=share, **{"precision": "f32", **opened}) as pipe:
        return pipe.generate(**{**JOB, **how})


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"precision": "bf16"},
        {"count": 2, "batch": 2},
        {"prompt": "a red house AND a tree"},
        {"prompt": "a [boat|house]", "sampler": "heun"},
        {"hires": 2, "hires_strength": 0.5},
    ],
)
def test_pictures_are_the_same_and_their_records_say_so(how):
    if how.get("precision") not in (None, *engine_named("openvino").offered("cpu")):
        pytest.skip("this CPU does not compute in bfloat16")
    shared, plain = painted(**how), painted(share=False, **how)
    assert shared.settings["shared"]["unet"] > 100 and "shared" not in plain.settings
    assert decibels(plain.pixels, shared.pixels) > (40 if how.get("precision") else 80)


@pytest.mark.parametrize("how", [{"guidance": 1}, {"two_calls": True}, {"guidance_start": 0.4, "steps": 5}])
def test_without_two_texts_in_a_call_there_is_nothing_to_share(how):
    assert "shared" not in painted(**how).settings


@pytest.mark.parametrize("share", [True, False])
def test_a_picture_is_painted_again_as_it_was(tmp_path, share):
    result = painted(share)
    (file,) = write_pictures(result, [tmp_path / "house.png"], overwrite=False)
    assert ("shared" in read_record(file).ours) == share
    again = rerun(file, share=True).result  # the command line always says how it would open a model
    assert ("shared" in again.settings) == share
    assert np.array_equal(again.pixels, result.pixels)


def test_a_second_start_knows_what_was_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    found = []
    for _ in range(2):
        with pleinair.load(engine="openvino", cache=True) as pipe:
            found.append(pipe.generate(**JOB))
        monkeypatch.setattr(openvino, "share_rows", None)
    assert found[0].settings["shared"] == found[1].settings["shared"]
    assert np.array_equal(found[0].pixels, found[1].pixels)


def test_what_controlnets_add_is_told_apart():
    """Ports that an edit adds have all rows: their answers follow from the text."""
    noise = np.random.default_rng(0)
    bundle = open_bundle(None)
    whole = {"timestep": np.array([500], np.float32)}
    whole |= {"encoder_hidden_states": noise.standard_normal((2, 9, 128), np.float32)}
    latents = noise.standard_normal((1, 4, 16, 16), np.float32)
    channels = (64, 64, 64, 128, 128, 192, 192)
    edit = Residuals(channels)
    graphs = Graphs(bundle, engine_named("openvino"), precision="f32")
    sizes = (16, 16, 8, 8, 4, 4, 4)
    try:
        shapes = zip(edit.ports, channels, sizes, strict=True)
        whole |= {port: noise.standard_normal((2, width, side, side), np.float32) for port, width, side in shapes}
        graph = graphs.open("unet", [edit])
        plain = graph(sample=np.concatenate([latents] * 2), **whole)["out_sample"]
        assert decibels(plain, graph(sample=latents, **whole)["out_sample"]) > 100
    finally:
        graphs.release()


def test_other_engines_are_told_whole_rows():
    rows = []
    engine = FakeEngine(lambda graph, inputs: graph == "unet" and rows.append(len(inputs["sample"])))
    with pleinair.load(engine=engine) as pipe:
        pipe.generate(**JOB)
    assert {*rows} == {2}
