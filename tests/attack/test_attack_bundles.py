"""Bundles from strangers: each is one line that says what is wrong, before anything is painted."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import pleinair
from bundles import edit_manifest, light_copy, old_copy, seal
from every import every
from hostile import external, listing, onnx_model, operator, run, with_graph
from odd_files import circle, dangling, directory, outside, pipe, sparse, zeros
from pairwise import all_pairs
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.cli import app as cli
from pleinair.cli.sandbox import tried
from pleinair.engines.engine import ENGINES
from pleinair.engines.telemetry import without_telemetry
from pleinair.errors import BundleError, PleinairError
from pleinair.sampling.scheduler_config import FLAGS, REAL, TEXTS, WHOLE
from pleinair.text.reader import PromptReader
from pleinair_bench.onnx_file import field, number, text

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

SCHEDULER = "scheduler/scheduler_config.json"
TOKENIZER = "tokenizer/tokenizer.json"
NORM = "text_encoder/final_layer_norm.npy"
CONFIG = "text_encoder/config.json"


def paint(folder, engine="fake", **options):
    return pleinair.load(folder, engine=engine).generate("a boat", seed=1, steps=1, **options)


@pytest.fixture
def copy(sketch, tmp_path):
    """A bundle that every engine opens, to spoil."""
    return shutil.copytree(sketch, tmp_path / "sketch")


def refused(call, *arguments, **options):
    """The one printable line with which a call is refused."""
    with pytest.raises(BundleError) as caught:
        call(*arguments, **options)
    line = str(caught.value)
    assert "\n" not in line and ("; " in line or " (" in line), line
    return line


# ---- what bundle.json says ----


def set_at(path, value):
    def change(raw):
        *outer, last = path
        for key in outer:
            raw = raw[key]
        raw[last] = value

    return change


ENCODER = ("text_encoders", 0)
UNET = ("graphs", "unet")
NOT_NUMBERS = ["x", None, [], {}, True, 1e30, "1", [1], float("nan")]
IMPOSSIBLE = [
    *((("latents", "channels"), value) for value in (0, -4, 10**9, *NOT_NUMBERS)),
    *((("latents", "downsample"), value) for value in (0, -8, 3, 65, *NOT_NUMBERS)),
    *((("latents", "scale"), value) for value in (0, float("inf"), "1", 10**400)),
    *((("latents", "shift"), value) for value in (float("-inf"), "1", [])),
    *((("defaults", "width"), value) for value in (0, 1, 12, 10**9, *NOT_NUMBERS)),
    *((("defaults", "steps"), value) for value in (0, -1, 10**6, *NOT_NUMBERS)),
    *((("defaults", "guidance"), value) for value in (-1, 1e9, float("nan"), "7", None)),
    *((("defaults", "sampler"), value) for value in (1, None, ["euler"])),
    *(((*ENCODER, "pad_id"), value) for value in (-1, 1 << 40, *NOT_NUMBERS)),
    *(
        ((*ENCODER, name), value)
        for name in ("bos_id", "eos_id")  # which some tokenizers do not have
        for value in (-1, 1 << 40, *(each for each in NOT_NUMBERS if each is not None))
    ),
    *(((*ENCODER, "length"), value) for value in (0, 2, 10**7, 78, *NOT_NUMBERS)),
    *(((*ENCODER, "output"), value) for value in ("nothing", "pooler_output", 1, None)),
    *(((*ENCODER, "graph"), value) for value in ("nothing", "unet", None)),
    *(((*ENCODER, "tokenizer"), value) for value in ("../tokenizer", "nowhere", "", None)),
    *((("scheduler",), value) for value in ("../x.json", "nowhere.json", 1, "", [])),
    *(
        (("name",), value)
        for value in ("", " ", "a/b", "a\\b", "C:x", "\x1b[31m", "a\nb", "\ud800", "n" * 200, None, 5)
    ),
    *((("format",), value) for value in (0.5, "1", None, True, 99, 10**30)),
    *((("tasks",), value) for value in ("text2image", [1], None, {})),
    *((("files",), value) for value in ([], None, {"a": 1}, {"a": {"size": "1", "sha256": ""}})),
    *((("files", "a"), {"size": size, "sha256": sha}) for size, sha in ((-1, "0" * 64), (1, "Z" * 64), (1, ""))),
    *(
        (("files", name), {"size": 1, "sha256": "0" * 64})
        for name in (
            "../a",
            "/a",
            "a/../b",
            "a\\b",
            "C:a",
            "",
            ".",
            "a//b",
            "a/",
            "a\0b",
            "\x1b",
            "a" * 300,
            "a\u202eb",
        )
    ),
    *(((*UNET, "files", "openvino"), files) for files in ([], ["unet/model.onnx"], [SCHEDULER, TOKENIZER], "x")),
    *(((*UNET, "files", "onnx"), files) for files in ([], ["unet/openvino_model.xml"], ["/etc/passwd"], ["../x.onnx"])),
    *(((*UNET, "inputs", "sample", "shape"), shape) for shape in ([], ["b", 5, "h", "w"], ["b", 4], [1, 4, 0, 8], "x")),
    *(((*UNET, "inputs", "sample", "dtype"), dtype) for dtype in ("float64", "string", "", 1)),
    *(((*UNET, "outputs", "out_sample", "dtype"), dtype) for dtype in ("int64", "bool")),
    *(((*UNET, "outputs", "out_sample", "shape"), shape) for shape in (["b", 8, "h", "w"], [])),
    ((*UNET, "inputs", "encoder_hidden_states", "shape"), ["batch", "tokens", 129]),
    ((*UNET, "inputs", "text_embeds"), {"dtype": "float32", "shape": ["batch", 1280]}),
    (("graphs", "text_encoder", "inputs", "attention_mask"), {"dtype": "int64", "shape": ["batch", 77]}),
    (("graphs", "vae_decoder", "outputs", "sample", "shape"), ["batch", 4, "image_height", "image_width"]),
    (("graphs", "vae_encoder", "outputs", "latent_parameters", "shape"), ["batch", 4, "height", "width"]),
    (("graphs",), {}),
    (("graphs",), []),
    (("text_encoders",), {}),
    (("origin",), None),
]


def refused_each(folder, changes):
    """Every one of these values in a manifest is refused."""
    whole = (folder / MANIFEST).read_text()

    def check(path, value):
        (folder / MANIFEST).write_text(whole)
        edit_manifest(folder, set_at(path, value))
        refused(paint, folder)

    every({repr(change)[:100]: change for change in changes}, check)


def test_a_manifest_of_impossible_things(tmp_path):
    refused_each(old_copy(tmp_path / "copy"), IMPOSSIBLE)


VAE, PAINTER = ("vaes", "default"), ("denoisers", 0)
SECOND = {"graph": "unet", "feeds": {"sample": "latents", "timestep": "timestep"}, "output": "out_sample"}
IMPOSSIBLE_IN_FORMAT_2 = [
    *((("latents", "multiple"), value) for value in (0, -8, 3, 12, 10**9, *NOT_NUMBERS)),
    *(((*VAE, "downsample"), value) for value in (0, -8, 3, 65, *NOT_NUMBERS)),
    *(((*VAE, "scale"), value) for value in (0, float("inf"), "1", 10**400)),
    *(((*VAE, "shift"), value) for value in (float("nan"), "1", [])),
    *(((*VAE, name), value) for name in ("mean", "std") for value in ([0.0] * 4, [], "x", [1.0])),
    *(((*VAE, "kind"), value) for value in ("plain", "laplace", "", None, 1)),
    *(((*VAE, name), value) for name in ("decoder", "encoder") for value in ("unet", "nowhere", 1)),
    ((*VAE, "decoder"), None),
    *((("vaes",), value) for value in ({}, [], None, {"other": {}})),
    *((("guidance",), value) for value in ("embedded", "image_text", "", None, "CFG", 7)),
    *((("conditioning",), value) for value in ({}, [], None, {"text": {"encoders": []}}, {"text": {}})),
    *((("conditioning", "text", "encoders"), value) for value in ([], ["nowhere"], ["unet"], "text_encoder", [1])),
    *((("conditioning", "text", "pooled"), value) for value in (True, 1, "yes")),
    *((("conditioning", name), {"encoders": ["text_encoder"]}) for name in ("more", "latents", "size_ids", "")),
    *(((*PAINTER, "graph"), value) for value in ("nowhere", "vae_decoder", 1, None)),
    *(((*PAINTER, "output"), value) for value in ("nowhere", "sample", 1, None)),
    *(((*PAINTER, "channels"), value) for value in (["mask"], ["mask", "masked_image"], ["image"], ["depth"], "mask")),
    *(((*PAINTER, "feeds"), value) for value in ({}, [], {"sample": "latents"}, {"sample": "text"}, None)),
    *(((*PAINTER, "feeds", "sample"), value) for value in ("timestep", "nothing", "size_ids", 1)),
    *(((*PAINTER, "feeds", "timestep"), value) for value in ("latents", "nothing", "guidance_embedding")),
    *(((*PAINTER, "feeds", "encoder_hidden_states"), value) for value in ("nothing", "latents", "size_ids", "pooled")),
    ((*PAINTER, "feeds", "nowhere"), "text"),
    *((("denoisers",), value) for value in ([], {}, None, [SECOND, SECOND])),
    *(((*ENCODER, "empty"), value) for value in ("", "nothing", None, 1)),
    *(((*ENCODER, "pooled"), value) for value in ("nowhere", "last_hidden_state", 1)),
    *((("defaults", "image_guidance"), value) for value in (0, -1, 1e9, "2", None)),
    *((("defaults", "timesteps"), value) for value in ([], [500, 800], [800], [-1] * 20, "800", [None])),
    *((("weights",), value) for value in ([], None, {"unet": []}, {"unet": {"conv_in": 1}})),
    *((("format",), value) for value in (1, 3, 0, -1, "2", None)),
]


def test_a_manifest_of_format_2_of_impossible_things(tmp_path):
    refused_each(light_copy(tmp_path / "copy"), IMPOSSIBLE_IN_FORMAT_2)


def test_a_second_text_encoder_is_not_ignored(tmp_path):
    folder = light_copy(tmp_path / "copy")

    def double(raw):
        raw["text_encoders"].append({**raw["text_encoders"][0], "graph": "text_encoder_2"})
        raw["graphs"]["text_encoder_2"] = raw["graphs"]["text_encoder"]

    edit_manifest(folder, double)
    assert "text_encoder_2" in refused(open_bundle, folder)


def test_a_second_vae_is_not_ignored(tmp_path):
    folder = light_copy(tmp_path / "copy")

    def double(raw):
        raw["vaes"]["preview"] = {**raw["vaes"]["default"], "decoder": "taesd", "encoder": None}
        raw["graphs"]["taesd"] = raw["graphs"]["vae_decoder"]

    edit_manifest(folder, double)
    assert "second VAE 'preview'" in refused(open_bundle, folder)


def test_a_graph_that_nothing_runs_is_not_ignored(tmp_path):
    folder = light_copy(tmp_path / "copy")
    edit_manifest(folder, lambda raw: raw["graphs"].update(adapter=raw["graphs"]["unet"]))
    assert "adapter" in refused(open_bundle, folder)


@pytest.mark.parametrize("engine, downsample", [("openvino", 4), *(("onnx", factor) for factor in (1, 4, 16, 64))])
def test_latents_of_another_size_than_the_vae_has(copy, engine, downsample):
    folder = copy
    edit_manifest(folder, set_at(("vaes", "default", "downsample"), downsample))
    edit_manifest(folder, set_at(("latents", "multiple"), downsample))
    side = 8 * downsample
    assert "covers" in refused(paint, folder, engine, width=side, height=side)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
@pytest.mark.parametrize("name", ["bos_id", "eos_id", "pad_id"])
def test_token_ids_beyond_the_table(copy, engine, name):
    edit_manifest(copy, set_at((*ENCODER, name), 49407))
    refused(paint, copy, engine)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_tokenizer_with_more_tokens_than_the_table(copy, engine):
    folder, file = copy, copy / TOKENIZER
    raw = json.loads(file.read_text(encoding="utf-8"))
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": 9000, "content": "boat"})
    file.write_text(json.dumps(raw))
    seal(folder)
    with pytest.raises(PleinairError):
        paint(folder, engine)


# ---- the scheduler's config ----

WRONG = ["a", 1e30, -5, [], {}, [[[1]]], "x" * 100_000, 10**30, 0, 2, True, "\x1b[31m"]
KEYS = [*WHOLE, *REAL, *FLAGS, *TEXTS, "trained_betas", "disable_corrector", "tau_func", "solver_p"]


@pytest.mark.parametrize("value", WRONG, ids=lambda each: repr(each)[:20])
def test_a_scheduler_setting_of_the_wrong_kind(tmp_path, value):
    """Each key is refused in one line or followed; whichever, nothing else is raised."""
    folder = light_copy(tmp_path / "copy")
    config = json.loads((folder / SCHEDULER).read_text())
    odd = []
    for key in KEYS:
        (folder / SCHEDULER).write_text(json.dumps({**config, key: value}))
        seal(folder)
        try:
            paint(folder)
        except PleinairError as error:
            if not str(error).isprintable() or len(str(error)) > 500:
                odd.append((key, str(error)))
    assert not odd


@pytest.mark.parametrize("key, value", [("steps_offset", "a"), ("solver_order", 2.5), ("thresholding", "yes")])
def test_a_scheduler_setting_is_named(tmp_path, key, value):
    folder = light_copy(tmp_path / "copy")
    (folder / SCHEDULER).write_text(json.dumps({**json.loads((folder / SCHEDULER).read_text()), key: value}))
    seal(folder)
    assert f"scheduler config's {key} is {value!r}" in refused(open_bundle, folder)


def test_a_setting_that_is_null_is_as_if_it_were_absent(tmp_path):
    folder = light_copy(tmp_path / "copy")
    config = json.loads((folder / SCHEDULER).read_text())
    (folder / SCHEDULER).write_text(json.dumps({**config, **dict.fromkeys(config)}))
    seal(folder)
    assert open_bundle(folder).scheduler_config == {}


# ---- kinds and sizes of files ----


def large(file):
    file.write_bytes(b'{"a": "' + b"x" * (20 << 20) + b'"}')


def deep(file):
    file.write_bytes(b'{"a":' * 200_000)


def wide(file):
    file.write_bytes(b"[" + b"[]," * 300_000 + b"[]]")


def binary(file):
    file.write_bytes(bytes(range(256)) * 40)


KINDS = [pipe, zeros, sparse, large, deep, wide, directory, dangling, circle, outside, binary]


SMALL_FILES = [MANIFEST, SCHEDULER, TOKENIZER, NORM, CONFIG]


@pytest.mark.parametrize(
    "kind, name, listed",
    all_pairs(KINDS, SMALL_FILES, [True, False]),
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_small_file_of_another_kind(tmp_path, kind, name, listed):
    root = light_copy(tmp_path / "copy")
    (root / name).unlink()
    kind(root / name)
    if listed and name != MANIFEST and (root / name).is_file() and kind is not sparse:
        seal(root)
    refused(paint, root, clip_skip=2)


@pytest.mark.parametrize("kind", [pipe, zeros, sparse, directory, dangling, circle, outside], ids=lambda k: k.__name__)
@pytest.mark.parametrize("name", ["unet/openvino_model.xml", "unet/openvino_model.bin", "unet/model.onnx"])
def test_a_graph_file_of_another_kind(tmp_path, kind, name):
    root = light_copy(tmp_path / "copy")
    for file in ("openvino_model.xml", "openvino_model.bin", "model.onnx"):
        shutil.copyfile(default_path() / "unet" / file, root / "unet" / file)
    (root / name).unlink()
    kind(root / name)
    refused(run, root, "unet", "onnx" if name.endswith("onnx") else "openvino")


def open_all(root):
    """Open all that painting opens, but for the engines' own reading."""
    bundle = open_bundle(root)
    PromptReader(bundle)
    for graph in bundle.manifest.graphs:
        for form in bundle.formats:
            bundle.graph_file(graph, form)


def test_a_flipped_bit_is_refused_wherever_it_is(copy):
    for name in open_bundle(copy).manifest.files:
        whole = (copy / name).read_bytes()
        for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            (copy / name).write_bytes(flipped)
            if name != SCHEDULER or flipped.startswith(b"{") and flipped.endswith(b"}\n"):
                assert open_bundle(copy, verify=False).damage() == [f"{name}: content differs from its SHA-256"]
            if name in (SCHEDULER, TOKENIZER) or "/openvino_model." in name or name.endswith(".onnx"):
                assert "SHA-256" in refused(open_all, copy)
        (copy / name).write_bytes(whole)


@pytest.mark.parametrize("engine, name", [("openvino", "openvino_model.bin"), ("onnx", "model.onnx")])
def test_altered_weights_do_not_paint(copy, engine, name):
    root = copy
    flipped = bytearray((root / "unet" / name).read_bytes())
    flipped[-100] ^= 64
    (root / "unet" / name).write_bytes(flipped)
    assert "SHA-256" in refused(paint, root, engine)


def test_a_copy_that_is_altered_can_be_opened_on_purpose(copy):
    file = copy / "unet" / "openvino_model.bin"
    flipped = bytearray(file.read_bytes())
    flipped[-1] ^= 1
    file.write_bytes(flipped)
    pipe = pleinair.load(copy, engine="openvino", verify=False)
    assert pipe.generate("a boat", seed=1, steps=1).images


# ---- graphs that reach out ----

HERE = "w.bin"
LOCATIONS = [
    "../secret",
    "{secret}",
    "/etc/hostname",
    "link",
    "a/../../secret",
    "*/_ORT_MEM_ADDR_/*",
    HERE,
    "",
    ".",
    "..",
]


def in_tensor(location):
    return onnx_model([], [], [], [external(location)])


def in_attribute(location):
    constant = text(1, "value") + field(5, external(location)) + number(20, 4)
    return onnx_model([operator("Constant", [], ["w"], constant)], [], [])


def in_subgraph(location):
    branch = text(1, "then_branch") + field(6, field(5, external(location)) + text(2, "inner")) + number(20, 5)
    return onnx_model([operator("If", ["c"], ["y"], branch)], [], [])


def in_function(location):
    constant = field(5, text(1, "value") + field(5, external(location)) + number(20, 4))
    body = text(1, "f") + field(7, text(2, "w") + text(4, "Constant") + constant)
    return onnx_model([], [], [], more=field(25, body))


def in_sparse(location):
    return onnx_model([], [], []) + field(7, field(15, field(1, external(location))))


def in_training(location):
    return onnx_model([], [], [], more=field(20, field(1, field(5, external(location)))))


WHERES = [in_tensor, in_attribute, in_subgraph, in_function, in_sparse, in_training]


@pytest.mark.parametrize("where", WHERES, ids=lambda where: where.__name__)
@pytest.mark.parametrize("name", ["model.onnx", "openvino_model.xml"])
def test_weights_from_elsewhere(tmp_path, where, name):
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    root = with_graph(tmp_path / "copy", b"", name=name)
    (root / "unet" / "link").symlink_to("../../secret")
    (root / "unet" / HERE).write_bytes(secret.read_bytes())

    def check(location):
        (root / "unet" / name).write_bytes(where(location.format(secret=secret)))
        line = refused(run, seal(root), "unet", "onnx" if name == "model.onnx" else "openvino")
        assert ("not a file that bundle.json lists" if name == "model.onnx" else "not an OpenVINO graph") in line

    within = LOCATIONS if name == "model.onnx" else LOCATIONS[:2]  # which no IR is looked into for
    every({location: [location] for location in within}, check)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "hard"])
def test_a_listed_file_that_is_not_the_bundles_own(tmp_path, name):
    """A hard link is as good as the file; only that nobody can list the SHA-256 of what they have not read."""
    (tmp_path / "secret").write_bytes(bytes(16))
    root = with_graph(tmp_path / "copy", in_tensor(name))
    (root / "unet" / "link").symlink_to("../../secret")
    os.link(tmp_path / "secret", root / "unet" / "hard")

    def change(raw):
        raw["graphs"]["unet"]["files"]["onnx"].append(f"unet/{name}")
        raw["files"][f"unet/{name}"] = {"size": 16, "sha256": "0" * 64}

    edit_manifest(root, change)
    refused(run, root, "unet", "onnx")


def test_one_file_for_each_tensor_is_fine_and_one_more_is_not(tmp_path):
    root = with_graph(tmp_path / "copy", onnx_model([], [], [], [external("a"), external("b"), external("c")]))
    for name in "abc":
        (root / "unet" / name).write_bytes(bytes(16))
    listing(root, "unet", "a", "b")
    assert "'c'" in refused(run, root, "unet", "onnx")
    assert "unet: wants weights from 'c', which bundle.json does not list" in open_bundle(root).damage()


def test_weights_beside_a_graph_are_read(tmp_path):
    """The decoder of one tensor in a listed file, painted with."""
    ports = [("latent_sample", np.float32, (1, 4, 16, 16))], [("sample", np.float32, (1, 3, 128, 128))]
    nodes = [operator("Identity", ["w"], ["sample"])]
    model = onnx_model(nodes, *ports, [external("w.bin", (1, 3, 128, 128))])
    root = with_graph(tmp_path / "copy", model, "vae_decoder")
    (root / "vae_decoder" / "w.bin").write_bytes(np.full((3, 128, 128), 0.5, np.float32).tobytes())
    listing(root, "vae_decoder", "w.bin")
    assert (run(root, "vae_decoder", "onnx")["sample"] == 0.5).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"location",
        b"\x3a\xff\xff\xff\xff\x0flocation",
        b"\x3a" * 50 + b"location",
        b"\x0b" * 9 + b"location",
        b"\xff" * 99,
    ]
    + [
        field(7, field(1, field(5, field(6, b"")))) + b"location",
        b"PK\x03\x04location",
        b"<?xml version='1.0'?><net/>",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("name", ["model.onnx", "openvino_model.xml"])
def test_bytes_that_are_no_graph(tmp_path, content, name):
    root = with_graph(tmp_path / "copy", content, name=name)
    refused(run, root, "unet", "onnx" if name == "model.onnx" else "openvino")


# ---- what graphs return ----

LATENT, SMALL = (1, 4, 16, 16), (1, 3, 16, 16)


def attribute(name, value):
    return text(1, name) + number(3, value) + number(20, 2)


def whole(name, value):
    """An attribute that is a list of one number."""
    return text(1, name) + number(8, value) + number(20, 7)


def decoder(nodes, output="sample", kind=np.float32, shape=LATENT, inputs=("latent_sample",), given=np.float32):
    ports = [(name, given, LATENT) for name in inputs]
    return onnx_model(nodes, ports, [(output, kind, shape)])


MEAN = operator("ReduceMean", ["latent_sample"], ["sample"], attribute("keepdims", 0))
SAME = operator("Identity", ["latent_sample"], ["sample"])
ANSWERS = {
    "a scalar": decoder([MEAN], shape=()),
    "four channels": decoder([SAME]),
    "whole numbers": decoder([operator("Cast", ["latent_sample"], ["sample"], attribute("to", 6))], kind=np.int32),
    "another name": decoder([operator("Identity", ["latent_sample"], ["other"])], "other"),
    "another input": decoder([operator("Identity", ["x"], ["sample"])], inputs=["x"]),
    "one more input": decoder([SAME], inputs=["latent_sample", "x"]),
    "whole latents": decoder([SAME], kind=np.int32, given=np.int32),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_graph_that_answers_with_something_else(tmp_path, name):
    root = with_graph(tmp_path / "copy", ANSWERS[name], "vae_decoder")
    assert "vae_decoder" in refused(run, root, "vae_decoder", "onnx")


def sliced(x, start, stop):
    return ops.slice(x, *(ops.constant(np.array([n])) for n in (start, stop, 1, 1)))


IR_ANSWERS = {
    "a scalar": lambda x: ops.reduce_mean(x, ops.constant(np.arange(4)), keep_dims=False),
    "four channels": ops.relu,
    "empty": lambda x: sliced(x, 0, 0),
    "truth": lambda x: ops.greater(x, ops.constant(np.float32(0))),
    "whole numbers": lambda x: ops.convert(x, "i64"),
    "half": lambda x: ops.convert(x, "f16"),
}


def write_ir(folder, answer, given="latent_sample", named="sample", kind=np.float32):
    """A copy of storybook with a decoder that gives `answer` of its input."""
    root = with_graph(folder, b"", "vae_decoder", "openvino_model.xml")
    parameter = ops.parameter([-1, 4, -1, -1], kind, given)
    parameter.output(0).get_tensor().set_names({given})
    result = answer(parameter)
    if named:
        result.output(0).get_tensor().set_names({named})
    file = root / "vae_decoder" / "openvino_model.xml"
    ov.save_model(ov.Model([result], [parameter], "m"), file, compress_to_fp16=False)
    return seal(root)


@pytest.mark.parametrize("name", IR_ANSWERS)
def test_an_ir_that_answers_with_something_else(tmp_path, name):
    root = write_ir(tmp_path / "copy", IR_ANSWERS[name])
    assert "vae_decoder" in refused(run, root, "vae_decoder", "openvino")


@pytest.mark.parametrize("ports", [{"given": "x"}, {"named": "other"}, {"named": None}, {"kind": np.int64}], ids=str)
def test_an_ir_of_other_ports(tmp_path, ports):
    root = write_ir(tmp_path / "copy", lambda x: sliced(x, 0, 3), **ports)
    assert "vae_decoder" in refused(run, root, "vae_decoder", "openvino")


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_three_channels_of_another_size_are_no_picture(tmp_path, copy, engine):
    root = copy
    if engine == "openvino":
        small = write_ir(tmp_path / "small", lambda x: sliced(x, 0, 3))
        shutil.copytree(small / "vae_decoder", root / "vae_decoder", dirs_exist_ok=True)
    else:
        ends = [operator("Constant", [], [name], whole("value_ints", n)) for name, n in (("a", 0), ("b", 3), ("c", 1))]
        model = decoder([*ends, operator("Slice", ["latent_sample", *"abc"], ["sample"])], shape=SMALL)
        (root / "vae_decoder" / "model.onnx").write_bytes(model)
    seal(root)
    assert "covers" in refused(paint, root, engine)


# ---- tokenizers ----


TOKENIZERS = {
    "replace chains": lambda raw: raw["normalizer"]["normalizers"].extend(
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100} for _ in range(50)
    ),
    "a regular expression": lambda raw: raw["normalizer"]["normalizers"][1].update(pattern={"Regex": "(a+)+$"}),
    "another content": lambda raw: raw["normalizer"]["normalizers"][1].update(content=" " * 1000),
    "prepend": lambda raw: raw.update(normalizer={"type": "Prepend", "prepend": "x" * 10**6}),
    "no normalizer": lambda raw: raw.update(normalizer=None),
    "a split of its own": lambda raw: raw["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "((a*)*)*b"}),
    "a split before the words": lambda raw: raw["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(
        Regex="(a+)+|" + raw["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    ),
    "a third pretokenizer": lambda raw: raw["pre_tokenizer"]["pretokenizers"].append({"type": "Whitespace"}),
    "a text for a pattern": lambda raw: raw["pre_tokenizer"]["pretokenizers"][0].update(pattern={"String": "a"}),
    "unigram": lambda raw: raw.update(model={"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]}),
    "wordpiece": lambda raw: raw["model"].update(type="WordPiece"),
    "dropout": lambda raw: raw["model"].update(dropout=0.5),
    "a prefix": lambda raw: raw["model"].update(continuing_subword_prefix="##"),
    "no end of word": lambda raw: raw["model"].update(end_of_word_suffix=""),
    "an unknown key": lambda raw: raw["model"].update(cache_capacity=10**12),
    "ids that are text": lambda raw: raw["model"]["vocab"].update(a="1"),
    "ids below zero": lambda raw: raw["model"]["vocab"].update(a=-1),
    "ids without end": lambda raw: raw["model"]["vocab"].update(a=10**12),
    "long tokens": lambda raw: raw["model"]["vocab"].update({"a" * 10**5: 1}),
    "no vocabulary": lambda raw: raw["model"].update(vocab={}),
    "merges of unknown tokens": lambda raw: raw["model"].update(merges=[["zzzz", "yyyy"]]),
    "merges of three": lambda raw: raw["model"].update(merges=[["a", "b", "c"]]),
    "merges of numbers": lambda raw: raw["model"].update(merges=[1, 2]),
    "merges without a space": lambda raw: raw["model"].update(merges=["ab"]),
    "merges that are no list": lambda raw: raw["model"].update(merges="x"),
    "no model": lambda raw: raw.update(model=None),
    "an added token without end": lambda raw: raw["added_tokens"].append({"id": 1, "content": "x" * 10**6}),
    "an empty added token": lambda raw: raw["added_tokens"].append({"id": 1, "content": ""}),
    "many added tokens": lambda raw: raw["added_tokens"].extend([{"id": 1, "content": "x"}] * 3000),
    "added tokens that are none": lambda raw: raw.update(added_tokens=[1]),
    "an added token of odd flags": lambda raw: raw["added_tokens"].append({"id": 1, "content": "x", "lstrip": "no"}),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_that_does_more_than_clips(tmp_path, name):
    root = light_copy(tmp_path / "copy")
    file = root / TOKENIZER
    raw = json.loads(file.read_text(encoding="utf-8"))
    TOKENIZERS[name](raw)
    file.write_text(json.dumps(raw))
    seal(root)
    refused(paint, root)


@pytest.mark.parametrize("extra", ["post_processor", "decoder", "truncation", "padding"])
def test_parts_of_a_tokenizer_that_are_not_used_are_not_built(tmp_path, extra):
    root = light_copy(tmp_path / "copy")
    raw = json.loads((root / TOKENIZER).read_text(encoding="utf-8"))
    raw[extra] = {"type": "nonsense"}
    (root / TOKENIZER).write_text(json.dumps(raw))
    seal(root)
    assert np.array_equal(paint(root).pixels, paint(light_copy(tmp_path / "plain")).pixels)


def test_every_published_form_of_clips_tokenizer_is_read(tmp_path):
    """transformers 4 has no special tokens in the expression, and writes merges as texts."""
    root = light_copy(tmp_path / "copy")
    raw = json.loads((root / TOKENIZER).read_text(encoding="utf-8"))
    split = raw["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    split["Regex"] = split["Regex"].replace(r"<\|startoftext\|>|<\|endoftext\|>|", "")
    raw["model"]["merges"] = [" ".join(merge) for merge in raw["model"]["merges"]]
    (root / TOKENIZER).write_text(json.dumps(raw))
    seal(root)
    assert np.array_equal(paint(root).pixels, paint(light_copy(tmp_path / "plain")).pixels)


# ---- graphs that never end or eat memory, which only a limited process can tell ----


def value(name, kind, shape=()):
    """A port of a subgraph, by ONNX's number of its kind."""
    sides = b"".join(field(1, number(1, side)) for side in shape)
    return text(1, name) + field(2, field(1, number(1, kind) + field(2, sides)))


def endless():
    """A Loop whose condition is always true."""
    body = operator("Identity", ["go"], ["keep"]) + operator("Identity", ["x"], ["next"]) + text(2, "body")
    for name, kind, shape in (("n", 7, ()), ("go", 9, ()), ("x", 1, LATENT)):
        body += field(11, value(name, kind, shape))
    body += field(12, value("keep", 9)) + field(12, value("next", 1, LATENT))
    true = text(1, "value") + field(5, number(2, 9) + field(9, b"\1")) + number(20, 4)
    loop = text(1, "body") + field(6, body) + number(20, 5)
    return decoder(
        [operator("Constant", [], ["true"], true), operator("Loop", ["", "true", "latent_sample"], ["sample"], loop)]
    )


def huge():
    """A constant of a hundred gigabytes, made of one number."""
    shape = operator("Constant", [], ["shape"], whole("value_ints", 25 << 30))
    constant = operator("ConstantOfShape", ["shape"], ["zeros"])
    total = operator("ReduceSum", ["zeros"], ["nothing"], attribute("keepdims", 0))
    return decoder([shape, constant, total, operator("Add", ["latent_sample", "nothing"], ["sample"])])


@pytest.mark.parametrize("graph", [endless, huge], ids=lambda graph: graph.__name__)
def test_a_graph_that_takes_all_is_tried_within_limits(copy, graph):
    (copy / "vae_decoder" / "model.onnx").write_bytes(graph())
    trial = tried(seal(copy), "onnx", memory_mb=2000, seconds=3 if graph is endless else 60)
    assert ("within 3 seconds" if graph is endless else "not enough memory") in trial.problem


def test_a_bundle_that_crashes_or_lacks_memory_in_the_trial_is_said(copy, capsys, monkeypatch):
    (copy / "vae_decoder" / "model.onnx").write_bytes(huge())
    seal(copy)
    monkeypatch.setitem(ENGINES, "openvino", replace(ENGINES["openvino"], requires="no_such_module"))
    assert cli.run(["info", str(copy), "--sandbox"]) == 3
    assert "tried on onnx within limits: not enough memory to run 'vae_decoder'; do not" in capsys.readouterr().err


def test_a_sound_bundle_passes_the_trial(sketch, capsys):
    assert cli.run(["info", str(sketch), "--sandbox", "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)["sandbox"]
    assert set(tried) == {"openvino", "onnx"}
    assert all(trial["painted"] and 50 < trial["peak_mb"] < 2000 for trial in tried.values())
