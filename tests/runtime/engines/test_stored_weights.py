"""16-bit weights of int8 graphs that ONNX Runtime leaves as they are stored, and what that is taken to save."""

import shutil

import numpy as np
import onnxruntime
import pytest

import pleinair
from bundles import edit_manifest, seal
from pleinair.bundle import onnx_data
from pleinair.engines import memory
from pleinair.engines.onnx_stored import with_stored_weights
from pleinair.errors import BundleError
from sketch import FLOAT, HALF, flag, model, operator, port, weight


@pytest.fixture
def in_int8(sketch, tmp_path):
    """The sketch with a UNet that is said to compute in int8."""
    folder = shutil.copytree(sketch, tmp_path / "w8a8")
    edit_manifest(folder, lambda raw: raw["graphs"]["unet"].update(weights="int8", activations="int8"))
    return seal(folder)


def test_weights_that_casts_alone_read_become_inputs_with_a_default(tmp_path):
    nodes = [
        operator("Cast", ["widened"], ["wide"], flag("to", FLOAT)),
        operator("MatMul", ["x", "wide"], ["y"]),
        operator("Cast", ["both"], ["other"], flag("to", FLOAT)),
        operator("MatMul", ["y", "other"], ["z"]),
        operator("Neg", ["both"], ["negative"]),
    ]
    weights = [weight("widened", (4, 3), HALF), weight("both", (3, 2), HALF)]
    outputs = [port("z", FLOAT, "rows", 2), port("negative", HALF, 3, 2)]
    file = tmp_path / "graph.onnx"
    file.write_bytes(model(nodes, weights, [port("x", FLOAT, "rows", 4)], outputs))
    kept = onnxruntime.InferenceSession(with_stored_weights(file.read_bytes(), onnx_data.initializers(file)))
    plain = onnxruntime.InferenceSession(file)
    assert [each.name for each in kept.get_overridable_initializers()] == ["widened"]
    assert [each.name for each in kept.get_inputs()] == ["x"]
    feed = {"x": np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)}
    for one, other in zip(kept.run(None, feed), plain.run(None, feed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_graph_in_int8_paints_as_it_did(sketch, in_int8):
    job = {"seed": 1, "steps": 2}
    plain, stored = (pleinair.load(each, engine="onnx").generate("a house", **job).pixels for each in (sketch, in_int8))
    np.testing.assert_allclose(stored, plain, atol=1e-4)


def test_a_damaged_graph_in_int8_is_one_line(in_int8):
    (in_int8 / "unet" / "model.onnx").write_bytes(b"\x3a\x7f")
    with pytest.raises(BundleError, match=r"unet.*model\.onnx"):
        pleinair.load(in_int8, engine="onnx", verify=False).generate("a house", steps=1)


def test_stored_weights_are_counted_as_small_as_they_are(sketch, in_int8):
    held = [memory.graph_cost(pleinair.open_bundle(each), "unet", "onnx", "f32", 1).held for each in (sketch, in_int8)]
    numbers = 8 * 4 * 9 + 4 * 8 * 9
    assert held[0] - held[1] == 2 * numbers
