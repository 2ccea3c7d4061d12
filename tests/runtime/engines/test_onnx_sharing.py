"""Graphs for ONNX Runtime that take fewer latents than texts: what is computed once, and the answers stay the same."""

import shutil
from functools import partial

import numpy as np
import onnxruntime
import pytest

import pleinair
from bundles import edit_manifest, seal
from pleinair.bundle.onnx_nodes import graph_place
from pleinair.engines import onnx
from pleinair.engines.edits import Residuals
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import Graphs
from pleinair.engines.onnx_sharing import share_rows
from pleinair.errors import BundleError
from pleinair_bench.onnx_file import field
from sketch import FLOAT, WHOLE, flag, ints, model, operator, port, tensor, weight

JOB = {"prompt": "a house", "seed": 1, "steps": 2}
CHANNELS = 4


def sizes(name, *numbers):
    return tensor(name, np.array(numbers, np.int64), WHOLE)


def network(before=lambda image: ([], image)):
    """A graph that does something of its own before it is told the time and reads a text, as UNets do.

    Sizes are computed from the latents' own, and used before and after the text is read.
    """
    own, image = before("bent")
    nodes = [
        operator("Tanh", ["latents"], ["bent"]),
        *own,
        operator("Shape", ["latents"], ["sides"]),
        operator("Gather", ["sides", "first"], ["rows"]),
        operator("Expand", ["time", "rows"], ["times"]),
        operator("Cos", ["times"], ["waves"]),
        operator("Unsqueeze", ["waves", "behind"], ["spread"]),
        operator("Conv", [image, "taps"], ["features"]),
        operator("Add", ["features", "spread"], ["timed"]),
        operator("Reshape", ["timed", "flat"], ["columns"]),
        operator("Transpose", ["columns"], ["tokens"], ints("perm", 0, 2, 1)),
        operator("Transpose", ["text"], ["keys"], ints("perm", 0, 2, 1)),
        operator("MatMul", ["tokens", "keys"], ["likeness"]),
        operator("Softmax", ["likeness"], ["weights"]),
        operator("MatMul", ["weights", "text"], ["read"]),
        operator("Add", ["tokens", "read"], ["sum"]),
        operator("Transpose", ["sum"], ["turned"], ints("perm", 0, 2, 1)),
        operator("Shape", ["timed"], ["measured"]),
        operator("Reshape", ["turned", "measured"], ["picture"]),
        operator("Add", ["picture", "spread"], ["answer"]),
    ]
    tensors = [weight("taps", (CHANNELS, CHANNELS, 1, 1)), sizes("first", 0), sizes("behind", 1, 2, 3)]
    tensors += [sizes("flat", 0, CHANNELS, -1), sizes("zero", 0), sizes("halves", 2, 2), sizes("one", 1, 16, 2, 3)]
    tensors += [sizes("four", 4, CHANNELS, 2, 3)]
    ports = [port("latents", FLOAT, "batch", CHANNELS, "height", "width"), port("time", FLOAT, 1)]
    ports.append(port("text", FLOAT, "batch", "tokens", CHANNELS))
    return model(nodes, tensors, ports, [port("answer", FLOAT, "batch", CHANNELS, "height", "width")])


def answer(content, latents, texts=6):
    noise = np.random.default_rng(2)
    feeds = {"latents": latents, "time": np.array([0.5], np.float32)}
    feeds["text"] = noise.standard_normal((texts, 3, CHANNELS)).astype(np.float32)
    return onnxruntime.InferenceSession(content).run(["answer"], feeds)[0]


def latents(rows):
    return np.random.default_rng(1).standard_normal((rows, CHANNELS, 2, 3)).astype(np.float32)


shared = partial(share_rows, latents="latents", texts="text", rowless={"time": (1,)})


@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_the_answer_is_the_same_for_any_number_of_rows(rows):
    """The image, what the time adds and its tokens are computed once; one file serves all numbers of rows."""
    content, count = shared(network())
    assert count == 5
    plain = answer(network(), np.concatenate([latents(rows)] * (6 // rows)))
    assert np.array_equal(plain, answer(content, latents(rows)))


def one_for_all(image):
    mean = operator("ReduceMean", [image], ["mean"], ints("axes", 0))
    return [mean, operator("Sub", [image, "mean"], ["own"])], "own"


def cumulative(image):
    return [operator("CumSum", [image, "zero"], ["own"])], "own"


def as_one_row(image):
    joined = operator("Reshape", [image, "one"], ["joined"])
    weighed = operator("Softmax", ["joined"], ["weighed"], flag("axis", 1))
    return [joined, weighed, operator("Reshape", ["weighed", "four"], ["own"])], "own"


def rows_turned(image):
    turned = operator("Transpose", [image], ["turned_rows"], ints("perm", 1, 0, 2, 3))
    return [turned, operator("Transpose", ["turned_rows"], ["own"], ints("perm", 1, 0, 2, 3))], "own"


def rows_weighed(image):
    return [operator("Softmax", [image], ["own"], flag("axis", 0))], "own"


def rows_joined(image):
    parts = operator("Split", [image, "halves"], ["a", "b"], flag("axis", 0))
    return [parts, operator("Concat", ["b", "a"], ["own"], flag("axis", 0))], "own"


@pytest.mark.parametrize("before", [one_for_all, cumulative, as_one_row, rows_turned, rows_weighed, rows_joined])
def test_what_mixes_rows_has_all_of_them(before):
    content, count = shared(network(before))
    assert count == 1
    plain = answer(network(before), np.concatenate([latents(2)] * 2), texts=4)
    assert np.array_equal(plain, answer(content, latents(2), texts=4))


def test_what_a_file_says_of_shapes_is_taken_back():
    """ONNX Runtime gives arrays the memory of others whose sides have equal names, and rows are of two numbers now."""
    noted = field(13, port("features", FLOAT, "batch", CHANNELS, "noted", "width"))
    content, _ = shared(network(lambda image: ([noted], image)))
    assert b"noted" in network(lambda image: ([noted], image)) and b"noted" not in content
    ports = {each.name: each.shape for each in onnxruntime.InferenceSession(content).get_inputs()}
    assert ports["latents"][0] != ports["text"][0] == "batch"
    assert ports["latents"][1:] == [CHANNELS, "height", "width"]


def test_rounded_arrays_are_repeated_before_they_are_made_wide():
    """Kernels in int8 are fused with what makes their arrays wide, which is to stand right before them."""
    nodes = [
        operator("QuantizeLinear", ["latents", "scale", "middle"], ["rounded"]),
        operator("DequantizeLinear", ["rounded", "scale", "middle"], ["wide"]),
        operator("Conv", ["wide", "taps"], ["features"]),
        operator("ReduceMean", ["text"], ["mean"], ints("axes", 1), flag("keepdims", 1)),
        operator("Unsqueeze", ["mean", "last"], ["column"]),
        operator("Transpose", ["column"], ["told"], ints("perm", 0, 2, 1, 3)),
        operator("Add", ["wide", "told"], ["sum"]),
        operator("Add", ["features", "sum"], ["answer"]),
    ]
    tensors = [weight("taps", (CHANNELS, CHANNELS, 1, 1)), sizes("last", 3)]
    tensors += [tensor("scale", np.float32(0.02)), tensor("middle", np.uint8(128), 2)]
    ports = [port("latents", FLOAT, "batch", CHANNELS, "height", "width"), port("time", FLOAT, 1)]
    ports.append(port("text", FLOAT, "batch", "tokens", CHANNELS))
    plain = model(nodes, tensors, ports, [port("answer", FLOAT, "batch", CHANNELS, "height", "width")])
    content, count = shared(plain)
    assert count == 3
    made = [(node.op, node.inputs[0]) for node in graph_place(content).nodes if node.outputs[0].endswith("/all")]
    assert made == [("Tile", "rounded"), ("DequantizeLinear", "rounded/all"), ("Tile", "features")]
    assert np.array_equal(answer(plain, np.concatenate([latents(2)] * 3)), answer(content, latents(2)))


def without_latents():
    nodes = [operator("Softmax", ["text"], ["answer"])]
    return model(nodes, [], [port("text", FLOAT, "batch", "tokens", 4)], [port("answer", FLOAT, "batch", "tokens", 4)])


def latents_answered():
    nodes = [operator("Tanh", ["latents"], ["bent"]), operator("Add", ["bent", "text"], ["answer"])]
    ports = [port(name, FLOAT, "batch", 4) for name in ("latents", "text")]
    return model(nodes, [], ports, [port("answer", FLOAT, "batch", 4), port("bent", FLOAT, "batch", 4)])


def nested():
    nodes = [operator("Tanh", ["latents"], ["bent"]), operator("If", ["text"], ["answer"])]
    ports = [port("latents", FLOAT, "batch", 4), port("text", FLOAT)]
    return model(nodes, [], ports, [port("answer", FLOAT, "batch", 4)])


@pytest.mark.parametrize("made", [without_latents, latents_answered, nested])
def test_a_graph_of_another_kind_is_left_as_it_is(made):
    assert shared(made()) == (made(), 0)


def of_itself():
    """Two arrays that are made of each other, which ONNX forbids."""
    nodes = [operator("Add", ["b"] * 9, ["a"]), operator("Add", ["a"] * 9, ["b"])]
    ports = [port("latents", FLOAT, "batch", 4), port("text", FLOAT, "batch", 4)]
    nodes += [operator("Mul", ["latents", "a"], ["c"]), operator("Add", ["c", "text"], ["answer"])]
    return model(nodes, [], ports, [port("answer", FLOAT, "batch", 4)])


def doubling():
    """A list that is twice as long with every operator."""
    nodes = [operator("Shape", ["latents"], ["list0"])]
    nodes += [operator("Concat", [f"list{n}"] * 2, [f"list{n + 1}"], flag("axis", 0)) for n in range(60)]
    nodes.append(operator("Add", ["text", "list60"], ["answer"]))
    ports = [port("latents", FLOAT, "batch", 4), port("text", FLOAT, "batch", 4)]
    return model(nodes, [], ports, [port("answer", FLOAT, "batch", 4)])


def squared():
    """A number that has twice as many digits with every operator, and operators that read too many."""
    nodes = [operator("Mul", [f"n{n}"] * 2, [f"n{n + 1}"]) for n in range(60)]
    nodes += [operator("Mul", ["n60"] * 5, ["many"]), operator("Shape", ["latents"], ["sides"])]
    nodes += [operator("Equal", ["sides", "n15"], ["equal"]), operator("Where", ["equal", "many"], ["chosen"])]
    nodes.append(operator("Add", ["text", "chosen"], ["answer"]))
    ports = [port("latents", FLOAT, "batch", 4), port("text", FLOAT, "batch", 4)]
    return model(nodes, [sizes("n0", 3)], ports, [port("answer", FLOAT, "batch", 4)])


@pytest.mark.parametrize("made", [of_itself, doubling, squared])
def test_hostile_graphs_take_no_time(made):
    shared(made())


def painted(model, share=True, **how):
    with pleinair.load(model, engine="onnx", share=share) as pipe:
        return pipe.generate(**{**JOB, **how})


@pytest.mark.parametrize("how", [{}, {"count": 2, "batch": 2}, {"count": 2}, {"prompt": "a house AND a tree"}])
def test_pictures_are_the_same_and_their_records_say_so(sketch, how):
    made, plain = painted(sketch, **how), painted(sketch, share=False, **how)
    assert made.settings["shared"] == {"unet": 1} and "shared" not in plain.settings
    assert np.array_equal(made.pixels, plain.pixels)


def test_a_model_paints_with_guidance_before_and_after_it_paints_without(sketch):
    alone = painted(sketch, guidance=1)
    with pleinair.load(sketch, engine="onnx") as pipe:
        found = [pipe.generate(**JOB, guidance=guidance) for guidance in (1, 7, 1)]
    assert [each.settings.get("shared") for each in found] == [None, {"unet": 1}, None]
    assert np.array_equal(found[0].pixels, alone.pixels) and np.array_equal(found[2].pixels, alone.pixels)
    assert np.array_equal(found[1].pixels, painted(sketch, share=False, guidance=7).pixels)


def test_graphs_with_their_weights_in_them_are_not_read_where_they_are_large(sketch, monkeypatch):
    plain = painted(sketch, share=False)
    monkeypatch.setattr(onnx, "LARGEST_READ", 100)
    made = painted(sketch)
    assert "shared" not in made.settings
    assert np.array_equal(made.pixels, plain.pixels)


def test_a_graph_in_int8_shares_too(sketch, tmp_path):
    folder = shutil.copytree(sketch, tmp_path / "w8a8")
    edit_manifest(folder, lambda raw: raw["graphs"]["unet"].update(weights="int8", activations="int8"))
    seal(folder)
    made = painted(folder)
    assert made.settings["shared"] == {"unet": 1}
    assert np.array_equal(made.pixels, painted(folder, share=False).pixels)


def test_a_damaged_graph_is_one_line(sketch, tmp_path):
    folder = shutil.copytree(sketch, tmp_path / "damaged")
    (folder / "unet" / "model.onnx").write_bytes(b"\x3a\x7f")
    with pytest.raises(BundleError, match=r"unet.*model\.onnx"):
        pleinair.load(folder, engine="onnx", verify=False).generate(**JOB)


def test_what_controlnets_add_is_told_apart():
    """Ports that an edit adds have all rows: what reads them has all, too."""
    noise = np.random.default_rng(0)
    channels, sides = (64, 64, 64, 128, 128, 192, 192), (16, 16, 8, 8, 4, 4, 4)
    edit = Residuals(channels)
    whole = {"timestep": np.array([500], np.float32)}
    whole |= {"encoder_hidden_states": noise.standard_normal((2, 9, 128), np.float32)}
    for name, width, side in zip(edit.ports, channels, sides, strict=True):
        whole[name] = noise.standard_normal((2, width, side, side), np.float32)
    latents = noise.standard_normal((1, 4, 16, 16), np.float32)
    graphs = Graphs(pleinair.open_bundle(), engine_named("onnx"))
    graph = graphs.open("unet", [edit])
    plain = graph(sample=np.concatenate([latents] * 2), **whole)["out_sample"]
    assert np.array_equal(plain, graph(sample=latents, **whole)["out_sample"])
    assert graphs.rewritten["shared"]["unet"] > 50
