"""Hostile sources: whatever a folder from a stranger holds ends in one line, before anything large is read."""

import json
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import pytest

from every import every
from odd_files import circle, dangling, directory, outside, pipe, sparse, zeros
from pleinair.errors import ExportError, PleinairError, ResourceError
from pleinair.sources.folder import open_source
from pleinair_export import export, parts
from pleinair_export.upscaler import open_upscaler
from tiny_pipeline import write_index

DEEP = "[" * 100_000 + "]" * 100_000
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
READ = ["model_index.json", UNET, VAE, TEXT, SCHEDULER, WEIGHTS, "README.md", "pleinair.json", "tokenizer/vocab.json"]
OBJECTS = ["model_index.json", UNET, VAE, TEXT, SCHEDULER, "pleinair.json"]


@pytest.fixture(scope="module")
def pristine(tiny_sources):
    return tiny_sources["sd1"]


@pytest.fixture
def source(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "model")


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch):
    monkeypatch.setattr(parts, "load", lambda *_: pytest.fail("weights were loaded"))


def refused(source, match=".", kind=ExportError):
    with pytest.raises(kind, match=match) as caught:
        list(export(source, source.parent / "out"))
    told = str(caught.value)
    assert told.isprintable() and "; " in told and len(told) < 600, told
    assert not (source.parent / "out").exists()


def edit(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def refused_each(source, changes, match="."):
    """Whatever these changes make of a file, by its name and what else is in a key, is refused."""

    def check(name, change):
        whole = (source / name).read_bytes()
        change(source / name)
        try:
            refused(source, match)
        finally:
            (source / name).write_bytes(whole)

    every({key: (key[0], change) for key, change in changes.items()}, check)


def saying(key, value):
    """What writes a value for a key into a file of an object."""
    return lambda file: edit(file, lambda config: config.update({key: value}))


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
@pytest.mark.parametrize(
    "make", [pipe, zeros, sparse, directory, outside, dangling, circle], ids=lambda make: make.__name__
)
@pytest.mark.parametrize("name", READ)
def test_files_that_are_none(source, name, make):
    (source / name).unlink(missing_ok=True)
    make(source / name)
    refused(source, kind=(ExportError, ResourceError))


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_links_within_the_model_and_to_the_blobs_of_a_hub_cache(source, tmp_path):
    snapshot = shutil.copytree(source, tmp_path / "hub" / "snapshots" / "1a2b")
    (tmp_path / "hub" / "blobs").mkdir()
    for name in (UNET, WEIGHTS):
        blob = (snapshot / name).rename(tmp_path / "hub" / "blobs" / name.replace("/", "-"))
        (snapshot / name).symlink_to(blob)
    assert open_source(snapshot).sizes == open_source(source).sizes
    (source / VAE).rename(source / "vae" / "real.json")
    (source / VAE).symlink_to("real.json")
    assert open_source(source).factor == 8


NO_OBJECTS = [DEEP, "", "[]", "7", "null", "\x00\x01", '{"a": ' + DEEP + "}", '{"a"', "\ud800"]


@pytest.mark.parametrize("name", OBJECTS)
def test_json_that_is_none(source, name):
    (source / name).touch()
    texts = {text[:9]: text.encode("utf-8", "surrogatepass") for text in NO_OBJECTS}
    refused_each(source, {(name, key): partial(Path.write_bytes, data=text) for key, text in texts.items()})


WRONG = ["x", -1, 0, 1e400, float("nan"), {}, True, 10**30, 10**400, [64], ["x"] * 4, 3.5, [10**9, 10**9], "a" * 9999]


NUMBERS = [
    (UNET, "sample_size"),
    (UNET, "in_channels"),
    (VAE, "block_out_channels"),
    (VAE, "latent_channels"),
    (VAE, "scaling_factor"),
    (TEXT, "max_position_embeddings"),
    (SCHEDULER, "num_train_timesteps"),
]
FINE = [("scaling_factor", -1), ("scaling_factor", 3.5), ("block_out_channels", [64])]


@pytest.mark.parametrize("name, key", NUMBERS)
def test_numbers_that_are_none(source, name, key):
    wrongs = [wrong for wrong in WRONG if (key, wrong) not in FINE]
    refused_each(source, {(name, key, f"{wrong!r:.40}"): saying(key, wrong) for wrong in wrongs})


NO_ENTRIES = ["\x1b[31m\n" * 9999, 7, None, [], {}, ["a"], [[], {}], [1e400, True], ["x", "y" * 9999]]


@pytest.mark.parametrize("key", ["_class_name", "scheduler", "unet", "vae", "text_encoder"])
def test_an_index_of_wrong_types(source, key):
    wrongs = NO_ENTRIES if key != "scheduler" else NO_ENTRIES[-1:]
    refused_each(source, {("model_index.json", key, f"{wrong!r:.20}"): saying(key, wrong) for wrong in wrongs})


@pytest.mark.parametrize("wrong", NO_ENTRIES[:-1], ids=lambda value: repr(value)[:16])
def test_a_scheduler_is_of_the_class_that_its_config_says(source, wrong):
    edit(source / "model_index.json", lambda index: index.update(scheduler=wrong))
    assert open_source(source).scheduler["_class_name"] == "PNDMScheduler"


@pytest.mark.parametrize("where", [UNET, VAE, TEXT])
def test_numbers_that_no_model_has_at_any_depth(source, where):
    wrongs = {"flat": 10**7, "list": [[10**7]], "object": {"a": {"b": float("-inf")}}}
    keys = ("num_layers", "cross_attention_dim", "unheard_of")
    changes = {(where, key, depth): saying(key, wrong) for key in keys for depth, wrong in wrongs.items()}
    refused_each(source, changes, "as .* of its")


@pytest.mark.parametrize(
    "defaults",
    [
        {"sampler": "no_such"},
        {"sampler": "DPM++ 2M Karras"},
        {"sampler": "\x1b[2J" * 999},
        {"sampler": None},
        {"steps": 0},
        {"steps": 10**9},
        {"steps": True},
        {"steps": 4.5},
        {"sampler": "lcm", "steps": 200},
        {"guidance": float("nan")},
        {"guidance": -1},
        {"guidance": 10**400},
        {"guidance": "7"},
        {"width": 65},
        {"width": 0},
        {"height": 10**6},
        {"cfg": 4},
        {"": 4},
        [],
        "steps",
    ],
    ids=lambda defaults: repr(defaults)[:24],
)
def test_defaults_that_no_picture_could_be_painted_with(source, defaults):
    (source / "pleinair.json").write_text(json.dumps({"defaults": defaults}))
    refused(source)


@pytest.mark.parametrize("settings", [{"name": 7}, {"name": ""}, {"name": "a\nb"}, {"name": "a" * 999}, {"nmae": "x"}])
def test_settings_of_the_maker(source, settings):
    (source / "pleinair.json").write_text(json.dumps(settings))
    refused(source, "pleinair.json")


def tensors(**changes):
    return {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


def safetensors(header, data=16, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        safetensors(tensors(), length=2**64 - 1),
        safetensors(tensors(), length=2**31),
        safetensors(DEEP.encode()),
        safetensors([]),
        safetensors({"a": 7}),
        safetensors({"a": {}}),
        safetensors({}),
        safetensors(tensors(shape=None)),
        safetensors(tensors(shape=["x"])),
        safetensors(tensors(shape=[10**400, 10**400])),
        safetensors(tensors(shape=[-1, -4])),
        safetensors(tensors(shape=[1] * 100_000)),
        safetensors(tensors(data_offsets=[0])),
        safetensors(tensors(data_offsets=["x", "y"])),
        safetensors(tensors(data_offsets=[0, 10**400])),
        safetensors(tensors(data_offsets=[0, float("nan")])),
        safetensors(tensors(), data=15),
    ],
    ids=range(19),
)
def test_weights_whose_header_lies(source, content):
    (source / WEIGHTS).write_bytes(content)
    refused(source, "not a safetensors file|damaged or cut short")
    (source.parent / "upscaler.safetensors").write_bytes(content)
    with pytest.raises(PleinairError) as caught:
        open_upscaler(source.parent / "upscaler.safetensors")
    assert "\n" not in str(caught.value)


def test_a_header_of_200_megabytes(source):
    with (source / WEIGHTS).open("wb") as stream:
        stream.write(struct.pack("<Q", 200 << 20))
        stream.truncate(1 << 30)
    refused(source, "damaged or cut short")


@pytest.mark.parametrize(
    "name", ["../vae/diffusion_pytorch_model.safetensors", "/etc/passwd", "a\x00b", "", ".", 7, None, ["x"], "x" * 9999]
)
def test_shards_that_lie_elsewhere(source, name):
    (source / WEIGHTS).unlink()
    index = {"weight_map": {"conv_in.weight": name}}
    (source / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    refused(source, "not a file beside it")


@pytest.mark.parametrize("table", [None, [], {}, 7, "x"])
def test_an_index_of_no_shards(source, table):
    (source / WEIGHTS).unlink()
    (source / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": table}))
    refused(source, "no weight_map")


def test_a_licence_is_short_and_one_line(source):
    (source / "README.md").write_text("---\nlicense: " + "x" * 10**6 + "\n---\n")
    assert len(open_source(source).licence) == 100
    (source / "README.md").write_bytes(b"---\n" + b"\xff\n" * 10**6)
    assert open_source(source).licence is None


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000])
def test_names_that_no_system_takes(source, tmp_path, name):
    for pair in ((name, tmp_path / "out"), (source, tmp_path / name)):
        with pytest.raises(PleinairError) as caught:
            list(export(*pair))
        assert len(str(caught.value)) < 600


def bundle(path):
    (path / "bundle.json").write_text("{}")


def openvino_folder(path):
    write_index(path, "PNDMScheduler", "StableDiffusionPipeline")
    (path / "unet").mkdir()
    (path / "unet" / "openvino_model.xml").touch()


def onnx_folder(path):
    write_index(path, "PNDMScheduler", "OnnxStableDiffusionPipeline")
    (path / "unet").mkdir()
    (path / "unet" / "model.onnx").touch()


def aura_folder(path):
    write_index(path, "FlowMatchEulerDiscreteScheduler", "AuraFlowPipeline")


@pytest.mark.parametrize(
    "make, match",
    [
        (bundle, "is a bundle already; give its folder to --model"),
        (openvino_folder, "graphs of another tool .*export the diffusers folder"),
        (onnx_folder, "graphs of another tool .*export the diffusers folder"),
        (
            aura_folder,
            "AuraFlowPipeline, which cannot be exported yet; choose a model of Stable",
        ),
    ],
)
def test_folders_of_other_kinds_are_led_on(tmp_path, make, match):
    (tmp_path / "model").mkdir()
    make(tmp_path / "model")
    refused(tmp_path / "model", match)


@pytest.mark.parametrize(
    "name, weight, match",
    [
        (
            "model.safetensors",
            "model.diffusion_model.out.2.weight",
            "not a model that its weights' names and sizes identify",
        ),
        ("lora.safetensors", "lora_unet_down_blocks_0.lora_down.weight", "holds a LoRA.*merged into"),
        ("peft.safetensors", "unet.down_blocks.0.to_q.lora_A.weight", "LoRA"),
        ("word.safetensors", "emb_params", "textual inversion; give it to a picture"),
        ("model.ckpt", "", "Stable Diffusion in one file.*pleinair pour"),
        ("model.gguf", "", "give one that ends with .safetensors"),
    ],
)
def test_files_of_other_kinds_are_led_on(tmp_path, name, weight, match):
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    (tmp_path / name).write_bytes(safetensors({weight: tensor}))
    refused(tmp_path / name, match)


@pytest.mark.parametrize("name", ["stabilityai/sd-turbo", "https://huggingface.co/stabilityai/sd-turbo", "hf://a/b"])
def test_a_hub_id_is_told_what_fetches_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PleinairError, match="pleinair pull [a-z]+/[a-z-]+$"):
        list(export(name, tmp_path / "out"))


def test_a_tokenizer_that_does_more_than_clips_is_not_run(source):
    file = source / "tokenizer" / "tokenizer.json"
    bomb = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    file.write_text(json.dumps({"version": "1.0", "normalizer": {"type": "Sequence", "normalizers": [bomb] * 10}}))
    refused(source, "tokenizer.json' has a normalizer that CLIP's tokenizers do not have")
