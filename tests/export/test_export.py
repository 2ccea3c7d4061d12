"""What a bundle holds, and that its graphs answer like torch: every format, kind of weights, size and batch."""

import copy
import dataclasses
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from onnx import TensorProto
from transformers import CLIPTextModel, CLIPTokenizer

import pleinair
from pleinair.bundle.lone_parts import Autoencoder
from pleinair.bundle.manifest import GraphInfo, Sizes
from pleinair.bundle.opening import open_bundle
from pleinair.errors import BundleError, QualityError
from pleinair.sampling.names import CLASSES, default_sampler
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sources.describing import Described
from pleinair.sources.families import STABLE_DIFFUSION
from pleinair.sources.folder import open_source
from pleinair.sources.schedulers import habits
from pleinair_export import (
    check,
    graphs,
    onnx_files,
    preview,
    quantize,
    text_graphs,
    torch_picture,
    trials,
    vae_graphs,
)
from pleinair_export.loading import load
from pleinair_export.tokenizer import PROMPTS
from pleinair_export.tracing import STORE, TRACE, WRITE
from tiny_pipeline import FLAT, UNET, write_tiny_pipeline

BUNDLES = [("sd1", "fp32"), ("least", "fp16"), ("sd2", "int8"), ("sd1-inpaint", "fp32")]
CHANNELS = {"sd1": 4, "least": 4, "sd2": 4, "sd1-inpaint": 9}
GATE = {"fp32": 60, "fp16": 68, "int8": 35}
ELSEWHERE = {"fp32": 60, "fp16": 60, "int8": 35}  # sizes and texts that the gate does not try
STORYBOOK = Path(__file__).parents[2] / "models" / "storybook" / "source"
GRAPHS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")
ports = pytest.mark.parametrize("form", ["openvino", "onnx"])
bundles = pytest.mark.parametrize("family, weights", BUNDLES)


def tokens(source, prompts):
    tokenizer = CLIPTokenizer.from_pretrained(source / "tokenizer")
    ids = tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="np")["input_ids"]
    return ids.astype(np.int64)


def specs(source, size=(8, 8)):
    """The four Specs of a source, put together without convert.py."""
    context = trials.Context(size, {"text_encoder": tokens(source, PROMPTS)})
    encoder = CLIPTextModel.from_pretrained(source / "text_encoder").eval().requires_grad_(False)
    text = text_graphs.text_encoder("text_encoder", encoder, context)
    embeddings = graphs.run_torch(text, text.cases[1])["last_hidden_state"]
    vae, unet = AutoencoderKL.from_pretrained(source / "vae"), UNet2DConditionModel.from_pretrained(source / "unet")
    for module in (vae, unet):
        module.requires_grad_(False)
    made = [
        graphs.unet("unet", unet.eval(), dataclasses.replace(context, feeds={"text": embeddings})),
        vae_graphs.vae_encoder("vae_encoder", vae.eval(), context),
        vae_graphs.vae_decoder("vae_decoder", vae, context),
    ]
    return {spec.name: spec for spec in (text, *made)}


@pytest.fixture(scope="session")
def torch_specs(tiny_sources):
    return {family: specs(tiny_sources[family]) for family in CHANNELS}


def accepted(spec, stage, form, weights, traced=None):
    """Write one graph and hold it against torch, as an export does; what bundle.json is to say of it."""
    (stage / spec.name).mkdir()
    traced = TRACE[form](spec) if traced is None else copy.deepcopy(traced)
    files = tuple(f"{spec.name}/{file}" for file in STORE[form](traced, spec, stage / spec.name, weights).files)
    info = GraphInfo({form: files}, weights, "fp32", spec.inputs, spec.outputs, {})
    trial = trials.Trial([*spec.cases, *spec.unsteady], graphs.answers(spec), len(spec.cases))
    info.fidelity[form] = check.measure(stage, spec.name, info, form, trial)
    check.require(spec.name, form, weights, info.fidelity[form])
    return info


@cache
def opened(path, form):
    """A graph as a stranger would run it, but for the timestep that our runtime widens: arrays in, arrays out."""
    if form == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda case: dict(zip(names, session.run(None, case), strict=True))
    model = openvino.Core().read_model(path)
    for port in model.inputs:
        if port.get_any_name() == "timestep":
            port.get_node().set_element_type(openvino.Type.f32)
    model.validate_nodes_and_infer_types()
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda case: {output.get_any_name(): value for output, value in compiled(case).items()}


def decibel(expected, actual):
    error = max(np.mean((expected - actual) ** 2, dtype=np.float64), 1e-30)
    return 10 * np.log10((expected.max() - expected.min()) ** 2 / error)


@ports
@bundles
def test_stored_fidelity_is_what_is_measured(exported, torch_specs, family, weights, form):
    bundle = open_bundle(exported(family, weights))
    assert set(bundle.manifest.graphs) == set(GRAPHS)
    for name, info in bundle.manifest.graphs.items():
        spec = torch_specs[family][name]
        worst = np.inf
        for case in spec.cases:
            expected = graphs.run_torch(spec, case)
            actual = opened(bundle.graph_file(name, form), form)(case)
            assert list(actual) == list(info.outputs)
            worst = min(worst, *(decibel(expected[output], actual[output]) for output in expected))
        stored = info.fidelity[form]
        assert stored.gate_db == GATE[weights] <= stored.psnr_db
        assert abs(stored.psnr_db - worst) < (6 if weights == "fp32" else 0.5)  # fp32 measures rounding itself
        assert (info.weights, info.activations) == (weights, "fp32")


@ports
@bundles
def test_other_sizes_batches_and_times(exported, torch_specs, family, weights, form):
    """Nothing of the traced shapes is baked in."""
    bundle, rng = open_bundle(exported(family, weights)), np.random.default_rng(7)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    ids = rng.integers(0, 500, (5, 77))
    ids[:, 40:] = bundle.manifest.text_encoders[0].eos_id
    cases = [
        ("text_encoder", {"input_ids": ids}),
        ("vae_decoder", {"latent_sample": 4 * normal(3, 4, 5, 11)}),
        ("vae_encoder", {"sample": np.tanh(normal(3, 3, 40, 88))}),
    ]
    for batch, length, height, width, t in ((1, 77, 8, 8, 0), (3, 154, 5, 11, 733.37), (2, 77, 13, 6, 999)):
        sample = {"sample": normal(batch, CHANNELS[family], height, width), "timestep": np.array([t], np.float32)}
        cases.append(("unet", {**sample, "encoder_hidden_states": normal(batch, length, 32)}))
    for name, case in cases:
        expected = graphs.run_torch(torch_specs[family][name], case)
        actual = opened(bundle.graph_file(name, form), form)(case)
        for output, value in expected.items():
            assert value.shape == actual[output].shape
            assert decibel(value, actual[output]) > ELSEWHERE[weights], (name, output)


@bundles
def test_ports(exported, family, weights):
    bundle = open_bundle(exported(family, weights))
    for name, info in bundle.manifest.graphs.items():
        model = openvino.Core().read_model(bundle.graph_file(name, "openvino"))
        session = onnxruntime.InferenceSession(str(bundle.graph_file(name, "onnx")))
        declared = [*info.inputs.items(), *info.outputs.items()]
        theirs = [*session.get_inputs(), *session.get_outputs()]
        ours = [*model.inputs, *model.outputs]
        for (port, expected), onnx_port, ir_port in zip(declared, theirs, ours, strict=True):
            integer = port == "input_ids"
            assert expected.dtype == ("int64" if integer else "float32")
            assert (onnx_port.name, ir_port.get_any_name()) == (port, port)
            assert onnx_port.type == ("tensor(int64)" if integer else "tensor(float)")
            assert ir_port.element_type.to_dtype() == ("int64" if integer or port == "timestep" else "float32")
            if port in info.inputs:
                assert tuple(onnx_port.shape) == expected.shape
                sizes = [size if isinstance(size, int) else -1 for size in expected.shape]
                assert ir_port.partial_shape == openvino.PartialShape(sizes)
    unet = bundle.manifest.graphs["unet"]
    assert list(unet.inputs) == ["sample", "timestep", "encoder_hidden_states"]
    assert unet.inputs["sample"].shape == ("batch", CHANNELS[family], "height", "width")
    assert unet.outputs["out_sample"].shape == ("batch", 4, "height", "width")
    shown = ("mask", "masked_image") if family == "sd1-inpaint" else ()
    assert bundle.manifest.denoiser.channels == shown
    assert unet.inputs["timestep"].shape == (1,)
    text = bundle.manifest.graphs["text_encoder"].outputs
    assert list(text) == ["last_hidden_state", "pooler_output", *(f"hidden_states.{n}" for n in range(4))]


@bundles
def test_weights_are_stored_as_asked(exported, family, weights):
    """Large tensors are, small ones (norms, biases, the table of timestep frequencies) stay float32."""
    bundle = open_bundle(exported(family, weights))
    onnx_type = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8": TensorProto.INT8}[weights]
    ir_type = {"fp32": "f32", "fp16": "f16", "int8": "i8"}[weights]
    for name in GRAPHS:
        path = bundle.graph_file(name, "onnx")
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert {entry.domain: entry.version for entry in model.opset_import}[""] == 17
        large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= 1024]
        vectors = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 1 and tensor.dims[0] > 1]
        assert {tensor.data_type for tensor in vectors} <= {TensorProto.FLOAT, TensorProto.INT64}
        assert {tensor.data_type for tensor in large} == {onnx_type}
        constants = [
            node
            for node in openvino.Core().read_model(bundle.graph_file(name, "openvino")).get_ops()
            if node.get_type_name() == "Constant" and node.get_output_size() == 1
        ]
        kinds = {node.get_element_type().get_type_name() for node in constants if node.data.size >= 1024}
        assert kinds - {"i64", "boolean"} == {ir_type}


def test_int8_has_a_scale_for_every_output_channel(exported):
    path = open_bundle(exported("sd2", "int8")).graph_file("unet", "onnx")
    model = onnx.load(path)
    dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    users = {name: node.op_type for node in model.graph.node for name in node.input}
    assert {users[node.output[0]] for node in nodes} == {"MatMul", "Gemm", "Conv"}
    for node in nodes:
        axis = node.attribute[0].i
        assert axis == (1 if users[node.output[0]] == "MatMul" else 0)
        assert dims[node.input[1]] == (dims[node.input[0]][axis],)


def test_int8_is_the_same_whether_nncf_compiles_its_arithmetic_or_not(torch_specs, tmp_path, monkeypatch):
    """For users it does, for these tests it does not: see tests/conftest.py."""
    written = []
    for name in ("by NumPy", "compiled"):
        (tmp_path / name).mkdir()
        WRITE["openvino"](torch_specs["sd1"]["text_encoder"], tmp_path / name, "int8")
        written.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
        monkeypatch.delenv("NNCF_DISABLE_OPTIMIZED_COMPRESSION", raising=False)
    assert written[0] == written[1]


@bundles
def test_manifest(exported, tiny_sources, family, weights):
    path, source = exported(family, weights), tiny_sources[family]
    bundle = open_bundle(path)
    manifest = bundle.manifest
    assert bundle.damage() == []
    present = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert set(manifest.files) == present - {"bundle.json"}
    assert bundle.formats == ("onnx", "openvino")
    assert (manifest.name, manifest.family) == (source.name, "sd2" if family == "sd2" else "sd1")
    paints = ("text2image", "image2image", "inpaint")
    assert manifest.tasks == (("inpaint",) if family == "sd1-inpaint" else paints)
    factor = 2 if family == "least" else 8
    assert (manifest.latents.channels, manifest.latents.multiple) == (4, factor)
    assert manifest.vaes == {"default": Autoencoder("vae_decoder", "vae_encoder", factor, 0.18215)}
    assert (manifest.defaults.width, manifest.defaults.height) == (8 * factor, 8 * factor)
    assert manifest.defaults.sampler == default_sampler(bundle.scheduler_config)
    assert np.abs(manifest.latents.rgb).max() < 10 and np.shape(manifest.latents.rgb) == (5, 3)
    text = manifest.text_encoders[0]
    assert (text.graph, text.tokenizer, text.length, text.output) == (
        "text_encoder",
        "tokenizer",
        77,
        "last_hidden_state",
    )
    assert text.pad_id == (0 if family == "sd2" else text.eos_id) and text.bos_id == text.eos_id - 1
    origin = manifest.origin
    assert (origin.source, origin.licence) == (source.name, "apache-2.0")
    assert origin.command == f"pleinair export {source.name} --format both --weights {weights}"
    assert {"torch", "diffusers", "transformers", "openvino", "onnxruntime"} <= set(origin.tools)
    assert str(source.parent) not in (path / "bundle.json").read_text()


def test_configs_are_the_sources(exported, tiny_sources):
    path, source = exported("least", "fp16"), tiny_sources["least"]
    for ours, theirs in (
        ("scheduler/scheduler_config", "scheduler/scheduler_config"),
        ("vae_decoder/config", "vae/config"),
    ):
        assert (path / f"{ours}.json").read_bytes() == (source / f"{theirs}.json").read_bytes()
    index = json.loads((path / "model_index.json").read_text())
    assert set(index) == set(json.loads((source / "model_index.json").read_text()))
    assert index["safety_checker"] == [None, None]
    index = json.loads((exported("sd1-inpaint", "fp32") / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInpaintPipeline"  # whose loaders know what nine channels are


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_tokenizer_files_agree(exported, tiny_sources, family):
    """tokenizer.json, vocab.json + merges.txt and the IR all encode like the source's tokenizer."""
    import openvino_tokenizers  # noqa: F401  registers its operations
    from tokenizers import Tokenizer

    folder = exported(family, "fp32") / "tokenizer"
    # SD 2 pads with "!": transformers finds that special token within a prompt too, the other two forms do not.
    prompts = [prompt.replace("!", ".") for prompt in PROMPTS]
    expected = tokens(tiny_sources[family], prompts)
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    compiled = openvino.Core().compile_model(folder / "openvino_tokenizer.xml", "CPU")
    rebuilt = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    for prompt, row in zip(prompts, expected, strict=True):
        ids = fast.encode(prompt).ids[:77]
        assert ids == list(row[: len(ids)])
        assert list(compiled([prompt])["input_ids"][0])[: len(ids)] == ids
        assert rebuilt(prompt)["input_ids"][: len(ids)] == ids


def test_half_precision_source(tmp_path):
    """A fp16 source is traced, and compared, in float32."""
    source = write_tiny_pipeline(tmp_path / "half", dtype="float16")
    for kind, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        file = source / kind / f"{name}.safetensors"
        file.rename(file.with_name(f"{name}.fp16.safetensors"))
    model = open_source(source)
    context = trials.Context((8, 8), {"text_encoder": tokens(source, PROMPTS)})
    for folder, kind in (("text_encoder", text_graphs.text_encoder), ("vae", vae_graphs.vae_decoder)):
        spec = kind(folder, load(model, model.family.part(folder)), context)
        info = accepted(spec, tmp_path, "onnx", "fp16")
        assert info.fidelity["onnx"].psnr_db > 100  # every weight is a fp16 number already


def test_psnr():
    wave = np.sin(np.linspace(0, 9, 1000)).reshape(10, 100)
    noisy = wave + 0.01 * np.where(np.arange(1000).reshape(10, 100) % 2, 1, -1)
    assert abs(check.psnr(wave, noisy) - decibel(wave, noisy)) < 1e-9
    assert check.psnr(wave, wave) == 200
    assert check.psnr(wave, wave[1:]) == -200
    assert check.psnr(wave, np.full_like(wave, np.nan)) == -200
    assert check.psnr(np.zeros(3), np.zeros(3)) == 200


def test_a_channel_that_is_lost_beside_a_loud_one_is_seen():
    """PSNR is blind to it: one channel of 768 is a hundred times as loud as the others, which are all lost."""
    expected = np.random.default_rng(0).standard_normal((2, 77, 768))
    expected[..., 3] *= 1000
    lost = np.zeros_like(expected)
    lost[..., 3] = expected[..., 3]
    assert check.psnr(expected, lost) > 68
    assert 0.99 < check.channel_error(expected, lost) <= 2
    assert check.channel_error(expected, expected) == 0
    assert check.channel_error(expected, expected[:1]) == check.channel_error(lost, lost * np.nan) == np.inf
    silent = expected.copy()
    silent[..., 5] = 1e-9  # a channel next to zero is measured against an ordinary one
    assert check.channel_error(silent, silent + 1e-3) < 0.01
    for weights, gate in check.GATES.items():
        found = check.fidelity(weights, [{"states": expected}], [{"states": lost}])
        assert found.worst_channel > gate.channel
        with pytest.raises(QualityError, match="has a channel that is"):
            check.require("text_encoder", "onnx", weights, found)


def test_groups_of_two_numbers_are_compared_at_a_larger_size():
    deep = {"norm_num_groups": 32, "block_out_channels": [32, 64, 64, 64]}
    assert trials.steady_size(deep, (8, 8)) == (16, 16)
    assert trials.steady_size({**deep, "block_out_channels": [32, 64, 64]}, (8, 8)) == (8, 8)
    assert trials.steady_size({**deep, "block_out_channels": [320, 640, 1280, 1280]}, (8, 8)) == (8, 8)
    assert trials.steady_size({**deep, "norm_num_groups": None}, (1, 1)) == (1, 1)


@pytest.fixture(scope="module")
def one_pixel():
    """A UNet tried on one latent pixel, and its trace."""
    torch.manual_seed(3)
    unet = UNet2DConditionModel(**UNET | FLAT | {"block_out_channels": (96,), "norm_num_groups": 32})
    texts = np.random.default_rng(3).standard_normal((3, 77, 32), np.float32)
    spec = graphs.unet("unet", unet.eval().requires_grad_(False), trials.Context((1, 1), feeds={"text": texts}))
    return spec, TRACE["openvino"](spec)


def test_int8_runs_where_one_latent_pixel_is_left(one_pixel, tmp_path):
    """OpenVINO takes the reshape before a 1x1 convolution for a transpose there, once there is a batch."""
    spec, traced = one_pixel
    accepted(spec, tmp_path, "openvino", "int8", traced)
    case = {name: np.concatenate([value] * 2) if name != "timestep" else value for name, value in spec.cases[0].items()}
    file = tmp_path / "unet" / "openvino_model.xml"
    answer = opened(file, "openvino")(case)["out_sample"]
    assert answer.shape == case["sample"].shape and decibel(graphs.run_torch(spec, case)["out_sample"], answer) > 35
    kinds = {
        node.get_element_type().get_type_name() for node in openvino.Core().read_model(file).get_ops() if is_large(node)
    }
    assert kinds == {"i8"}


def is_large(node):
    return node.get_type_name() == "Constant" and node.data.size >= 4096 and node.data.dtype.kind in "if"


def test_a_graph_that_an_engine_cannot_run_is_not_accepted(one_pixel, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "flatten_kernels", lambda model: None)
    with pytest.raises(QualityError, match=r"unet \(openvino, int8\) cannot be run .*nothing was written.*fp16"):
        accepted(one_pixel[0], tmp_path, "openvino", "int8", one_pixel[1])


def test_a_bundle_that_paints_something_else_is_not_accepted(tiny_sources, exporting, tmp_path, monkeypatch):
    """Every graph is right, and what the manifest says of the latents is not."""
    by_torch = torch_picture.paint_by_torch

    def scaled(manifest, scale):
        return dataclasses.replace(manifest, vaes={"default": dataclasses.replace(manifest.vae, scale=scale)})

    def right_and_then_wrong(model, stage, size):
        expected = yield from by_torch(model, stage, size)
        manifest = open_bundle(stage).manifest
        (stage / "bundle.json").write_text(scaled(manifest, 1.0).to_json())
        return expected

    monkeypatch.setattr(torch_picture, "paint_by_torch", right_and_then_wrong)
    with pytest.raises(QualityError, match="a picture .* dB from torch's and the gate is 55 dB"):
        exporting(tiny_sources["sd1"], tmp_path / "out", formats=("onnx",), weights="fp32")
    assert not (tmp_path / "out").exists()


def test_large_onnx_graphs_keep_their_weights_beside_them(tmp_path, torch_specs, monkeypatch):
    """protobuf ends at 2 GiB; the limit is lowered here."""
    monkeypatch.setattr(onnx_files, "EXTERNAL", 100_000)
    for name, files in (("text_encoder", ["model.onnx"]), ("unet", ["model.onnx", "model.onnx_data"])):
        info = accepted(torch_specs["sd1"][name], tmp_path, "onnx", "int8")
        assert info.files == {"onnx": tuple(f"{name}/{file}" for file in files)}
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == files


@pytest.mark.parametrize("family, attentions", [("sd1", 8), ("sd2", 2)])
def test_attention_is_one_onnx_operator(exported, family, attentions):
    """No matrix of queries times keys is written out."""
    bundle = open_bundle(exported(family, "fp32"))
    for name, count in (("unet", attentions), ("vae_encoder", 1), ("vae_decoder", 1)):
        kinds = [node.op_type for node in onnx.load(bundle.graph_file(name, "onnx")).graph.node]
        assert (kinds.count("MultiHeadAttention"), kinds.count("Softmax")) == (count, 0)


def test_the_map_to_colours_shows_what_the_vae_shows():
    """Storybook's real latents through the map, against its decoded pictures at the size of the latents."""
    vae = AutoencoderKL.from_pretrained(STORYBOOK / "vae", torch_dtype=torch.float32).eval()
    rgb = np.array(preview.fit_rgb(vae))  # (5, 3)
    pipe = pleinair.load(threads=1, precision="f32")
    for prompt in ("a red house on a snowy hill at night", "a white cat in the desert at dusk"):
        made = pipe.generate(prompt, seed=5, steps=12)
        colours = np.clip(np.einsum("bchw,cd->bhwd", made.latents, rgb[:-1]) + rgb[-1], 0, 1)
        batch, height, width, _ = colours.shape
        small = made.pixels.reshape(batch, height, 8, width, 8, 3).mean((2, 4))
        assert -10 * np.log10(np.mean((colours - small) ** 2)) > 25


def test_the_map_of_a_vae_that_says_nothing_is_none_and_of_a_dull_one_is_small():
    vae = AutoencoderKL.from_pretrained(STORYBOOK / "vae", torch_dtype=torch.float32).eval()
    vae.register_to_config(scaling_factor=1e-6)
    assert np.abs(preview.fit_rgb(vae)).max() < 1
    vae.register_to_config(scaling_factor=float("inf"))
    assert preview.fit_rgb(vae) is None


def test_every_scheduler_of_diffusers_means_its_own_sampler_or_none():
    """A distilled model is given few steps."""
    import diffusers

    model = Described(STABLE_DIFFUSION, {}, {"unet": {}, "vae": {}})
    for name in sorted(name for name in vars(diffusers.schedulers) if name.endswith("Scheduler")):
        config = {"_class_name": name}
        ours = [kind for kind, info in SAMPLERS.items() if info.diffusers == name]
        try:
            assert not ours or default_sampler(config) in ours, name
        except BundleError:
            assert not ours and name not in CLASSES
        found = habits(model, config)
        assert (found.steps, 1 <= found.guidance <= 2) == (
            (4, True) if name in ("LCMScheduler", "TCDScheduler") else (20, False)
        )
    multistep = {"_class_name": "DPMSolverMultistepScheduler"}
    assert default_sampler(multistep) == "dpmpp_2m"
    assert default_sampler({**multistep, "solver_order": 3}) == "dpmpp_3m"
    assert default_sampler({**multistep, "algorithm_type": "sde-dpmsolver++"}) == "dpmpp_2m_sde"


def test_a_folder_by_another_name_claims_and_is_painted_as_it_says(tiny_sources, exporting, tmp_path):
    """An inpainting folder that holds an ordinary UNet is an ordinary model; its pleinair.json is believed."""
    source = shutil.copytree(tiny_sources["sd1"], tmp_path / "model")
    claims = {"vocabulary": ["house", "boat"], "sizes": {"smallest": 32, "largest": 64}}
    (source / "pleinair.json").write_text(json.dumps(claims))
    index = json.loads((source / "model_index.json").read_text())
    (source / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionInpaintPipeline"}))
    exporting(source, tmp_path / "out", formats=("onnx",), weights="fp32", sampler="Euler a")
    manifest = open_bundle(tmp_path / "out").manifest
    assert manifest.tasks == ("text2image", "image2image", "inpaint")
    assert (manifest.vocabulary, manifest.sizes) == (("house", "boat"), Sizes(smallest=32, largest=64))
    assert manifest.defaults.sampler == "euler_a" and manifest.origin.command.endswith("--sampler euler_a")
    assert not list((tmp_path / "out").rglob("openvino*"))  # no more than was asked for


@pytest.mark.parametrize("name", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"])
def test_other_names_of_the_same_parts(tiny_sources, tmp_path, name):
    folder = shutil.copytree(tiny_sources["sd1"], tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
    model = open_source(folder)
    assert model.rules.tasks(model) == ("text2image", "image2image", "inpaint")
