"""Bundles that compute in int8, made of a tiny model's: what they hold, how near they are, and what is refused."""

import json
from functools import partial

import numpy as np
import pytest

import pleinair
from loras import kohya, write_lora
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import networks_in
from pleinair.adapters.merging import Use, planned
from pleinair.bundle.opening import open_bundle
from pleinair.engines.engine import engine_named
from pleinair.engines.graphs import open_graph
from pleinair.engines.openvino import ov, read_model
from pleinair.errors import BundleError, RequestError, ResourceError
from pleinair.quantizing.quantize import quantize
from pleinair.quantizing.starting import starting_options
from pleinair_export.quantized import check_activations

ENGINES = ("openvino", "onnx")
PROMPT = "the red thread"
RNG = np.random.default_rng(0)
GIVEN = {
    "sample": RNG.standard_normal((1, 4, 8, 8)).astype(np.float32),
    "timestep": np.array([400], np.float32),
    "encoder_hidden_states": RNG.standard_normal((1, 77, 32)).astype(np.float32),
}


def run(source, out, **how):
    return [step.stage for step in quantize(source, out, pictures=2, size="64x64", **how)]


@pytest.fixture(scope="module")
def wide(exported):
    return exported("sd1", "fp16")


@pytest.fixture(scope="module")
def made(wide, once):
    return once("bundles/sd1-w8a8", lambda folder: run(wide, folder))


def test_denoiser_and_decoder_compute_in_int8_and_say_what_stays_wide(made, wide):
    bundle, old = open_bundle(made), open_bundle(wide)
    assert not bundle.damage()
    forms = {name: graph.form for name, graph in bundle.manifest.graphs.items()}
    assert forms == {"text_encoder": "fp16", "unet": "w8a8", "vae_decoder": "w8a8", "vae_encoder": "fp16"}
    for graph in ("unet", "vae_decoder"):
        info = bundle.manifest.graphs[graph]
        assert set(info.fidelity) == set(ENGINES)
        assert all(found.psnr_db >= found.gate_db for found in info.fidelity.values())
        assert 0 < info.wide_layers["openvino"].share < info.wide_layers["onnx"].share < 0.5
    for kept in bundle.manifest.graphs["unet"].wide_layers.values():
        assert {"conv_in", "conv_out"} <= {*kept.layers}
    assert bundle.manifest.origin.command.startswith(old.manifest.origin.command)
    assert bundle.manifest.files["unet/openvino_model.bin"].size < old.manifest.files["unet/openvino_model.bin"].size


@pytest.mark.parametrize("engine", ENGINES)
def test_pictures_are_near_those_of_the_wide_model(engine, made, wide):
    how = {"size": "64x64", "steps": 3, "seed": 5}
    pictures = [
        pleinair.load(each, engine=engine, precision="f32").generate(PROMPT, **how).pixels for each in (made, wide)
    ]
    assert 0 < np.abs(pictures[0].astype(np.float64) - pictures[1]).mean() < 0.05


@pytest.mark.parametrize("engine", ENGINES)
def test_loras_change_answers_of_quantized_layers_as_those_of_wide_ones(engine, made, wide, tmp_path):
    def merged(folder):
        bundle = open_bundle(folder)
        uses = [Use(open_lora(file), 1.0, 1.0)]
        plan = planned(networks_in(bundle.manifest), uses, partial(layers_of, bundle))
        plain, changed = (
            open_graph(bundle, "unet", engine, None, 1, edits=edits)(**GIVEN) for edits in ((), plan.edits("unet"))
        )
        return changed["out_sample"] - plain["out_sample"]

    def layers_of(bundle, graph):
        return engine_named(engine).layers(bundle, graph)

    shapes = {path: layer.shape for path, layer in layers_of(open_bundle(made), "unet").items() if len(layer.shape) > 1}
    file = write_lora(tmp_path / "lora.safetensors", kohya(shapes))
    exact, quantized = merged(wide), merged(made)
    assert np.abs(quantized - exact).mean() < 0.25 * np.abs(exact).mean()


@pytest.mark.parametrize(("name", "weights"), [("sd1-inpaint", "fp32"), ("sdxl-refiner", "fp32")])
def test_models_that_need_a_picture_are_given_drawn_ones(name, weights, exported, tmp_path):
    steps = quantize(exported(name, weights), tmp_path / "out", pictures=1, size="64x64")
    assert [next(steps).stage for _ in range(2)] == ["paint 1 of 1", "unet: choose what stays wide"]
    steps.close()


def test_drawn_pictures_and_masks_differ_and_are_the_same_again():
    options = [starting_options(("inpaint",), place) for place in (0, 1, 0)]
    pictures, masks = ([np.asarray(each[name]) for each in options] for name in ("image", "mask"))
    for first, other, again in (pictures, masks):
        assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert {np.mean(mask > 0) for mask in masks} == {0.5}
    assert starting_options(("edit",), 0).keys() == {"image"} and not starting_options(("text2image", "inpaint"), 0)


def test_what_was_painted_is_kept_by_an_interrupted_run(wide, tmp_path, monkeypatch):
    steps = quantize(wide, tmp_path / "out", pictures=2, size="64x64")
    stages = [next(steps).stage for _ in range(3)]
    steps.close()
    assert stages == ["paint 1 of 2", "paint 2 of 2", "unet: choose what stays wide"]
    assert not (tmp_path / "out").exists()
    assert next(quantize(wide, tmp_path / "out", pictures=2, size="64x64")).stage == stages[2]
    assert next(quantize(wide, tmp_path / "out", pictures=3, size="64x64")).stage == "paint 1 of 3"


def test_what_was_tried_is_kept_and_not_tried_again(wide, tmp_path, monkeypatch):
    """Choosing by kinds, as large models do, is interrupted after its first kind of several layers."""
    monkeypatch.setattr("pleinair.quantizing.quantize.SECONDS", 0.0)
    told = "unet: choose what stays wide ("
    first = quantize(wide, tmp_path / "out", pictures=1, size="64x64")
    begun = next(step.stage for step in first if step.stage.startswith(told))
    first.close()
    (kept,) = tmp_path.glob(".out*/unet/errors-openvino.json")
    before = json.loads(kept.read_text())
    second = quantize(wide, tmp_path / "out", pictures=1, size="64x64")
    again = next(step.stage for step in second if step.stage.startswith(told))
    second.close()
    after = json.loads(kept.read_text())
    assert begun != again and len(before) < len(after)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("form", ["f32", "bf16", "w8a8"])
def test_attention_is_executed_fused(made, wide, form):
    """Neither softmax nor a product of its own is left of it in the graph that OpenVINO computes."""
    bundle, sides = open_bundle(made if form == "w8a8" else wide), {"sample": (2, 4, 8, 16), "timestep": (1,)}
    model = read_model(ov.Core(), bundle.graph_file("unet", "openvino"))
    model.reshape(sides | {"encoder_hidden_states": (2, 77, GIVEN["encoder_hidden_states"].shape[2])})
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if form == "bf16" else "f32"}
    told = ov.Core().compile_model(model, "CPU", settings).get_runtime_model().get_ops()
    kinds = [str(each.get_rt_info()["layerType"].astype(str)) for each in told]
    assert kinds.count("Softmax") == kinds.count("MatMul") == 0 and "Convolution" in kinds


def test_what_cannot_be_quantized_is_refused_before_anything_is_written(made, wide, tmp_path):
    with pytest.raises(BundleError, match="computes in int8 already"):
        next(quantize(made, tmp_path / "out"))
    with pytest.raises(RequestError, match="overlap"):
        next(quantize(wide, wide / "inside"))
    with pytest.raises(ResourceError, match="exists"):
        next(quantize(wide, made))
    with pytest.raises(RequestError, match="size"):
        next(quantize(wide, tmp_path / "out", size="never"))
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(RequestError, match="no prompts|is empty"):
        next(quantize(wide, tmp_path / "out", prompts=tmp_path / "empty.txt"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty.txt"]


def test_activations_of_an_export_ask_for_weights_and_graphs_that_go_with_them():
    check_activations("fp32", "fp16", ("onnx",))
    with pytest.raises(RequestError, match="add --weights int8"):
        check_activations("int8", "fp16", ("openvino",))
    with pytest.raises(RequestError, match="choose --format both"):
        check_activations("int8", "int8", ("onnx",))
    with pytest.raises(RequestError, match="unknown activations"):
        check_activations("int4", "int8", ("openvino",))
