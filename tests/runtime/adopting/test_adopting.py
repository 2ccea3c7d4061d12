"""Folders of other tools, made of storybook's graphs: adopted they paint its pictures, and stay as they were."""

import errno
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import pleinair
from foreign import as_olive, as_optimum, edit_json, everything
from hostile import external, onnx_model, operator
from odd_files import circle, dangling, outside, pipe, sparse
from pleinair.adopting.adopt import judged
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.cli import app as cli
from pleinair.engines.telemetry import without_telemetry
from pleinair.request.request import resolve
from pleinair_bench.onnx_file import field, number, text

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

HOW = {"seed": 3, "steps": 2, "size": "64x64", "guidance": 4.0}
PROMPT = "a red house"
SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture(scope="module")
def storybook():
    """Storybook's picture on an engine."""
    painted = {}

    def picture(engine):
        if engine not in painted:
            painted[engine] = pleinair.load(engine=engine, precision="f32", threads=1).generate(PROMPT, **HOW).pixels
        return painted[engine]

    return picture


def paint(folder, engine, **how):
    return pleinair.load(folder, engine=engine, precision="f32", threads=1).generate(PROMPT, **{**HOW, **how}).pixels


def test_what_optimum_exports(tmp_path, storybook):
    folder = as_optimum(default_path(), tmp_path / "model", "openvino")
    before = everything(folder)
    bundle = pleinair.adopt(folder)
    pipe = pleinair.load(folder, engine="openvino", precision="f32", threads=1)
    assert np.array_equal(pipe.generate(PROMPT, **HOW).pixels, storybook("openvino"))
    after = everything(folder)
    assert (
        after.keys() - before.keys() == {"bundle.json", "tokenizer/tokenizer.json"} and before.items() <= after.items()
    )
    assert bundle.damage() == [] and bundle.formats == ("openvino",)
    defaults = bundle.manifest.defaults
    assert (defaults.width, defaults.steps, defaults.guidance, defaults.sampler) == (256, 20, 7.5, "dpmpp_2m")
    assert {graph.weights for graph in bundle.manifest.graphs.values()} == {"fp16"}
    skipping = pipe.generate(PROMPT, **HOW, clip_skip=2)
    assert np.array_equal(skipping.pixels, storybook("openvino"))  # there is no layer norm beside the text encoder
    assert any("'clip_skip' has no effect" in words for words in skipping.warnings)


def test_what_microsoft_and_diffusers_old_converter_export(tmp_path, storybook):
    """No configs: all that is known of the components is in their graphs."""
    folder = as_olive(default_path(), tmp_path / "model")
    assert pleinair.adopt(folder).manifest.defaults.width == 512
    assert np.array_equal(paint(folder, "onnx"), storybook("onnx"))
    steps = {**HOW, "image": Image.new("RGB", (64, 64), "red"), "strength": 0.5}
    assert pleinair.load(folder, threads=1).generate(PROMPT, **steps).pixels.shape == (1, 64, 64, 3)


def test_the_scheduler_is_walked_as_diffusers_does_and_left_as_it_is(tmp_path, storybook):
    folder = as_optimum(default_path(), tmp_path / "model", "onnx")
    edit_json(folder / SCHEDULER, steps_offset=None)
    before = (folder / SCHEDULER).read_bytes()
    bundle = pleinair.adopt(folder)
    assert bundle.scheduler_config["steps_offset"] == 1 and (folder / SCHEDULER).read_bytes() == before
    assert bundle.manifest.scheduler == "scheduler/pleinair_scheduler_config.json"
    assert np.array_equal(paint(folder, "onnx"), storybook("onnx"))


def kernel():
    return np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32) / 8


def plain_encoder(folder):
    """A VAE encoder that answers with latents, whose ports have no sizes and whose weights have a file each."""
    strides = text(1, "strides") + number(8, 8) + number(8, 8) + number(20, 7)
    node = operator("Conv", ["sample", "w"], ["latent_sample"], strides)
    sides = b"".join(field(1, text(2, name)) for name in ("batch", "channels", "height", "width"))
    kind = field(2, field(1, number(1, 1) + field(2, sides)))
    graph = node + text(2, "g") + field(5, external("./vae.w", (4, 3, 8, 8)))
    graph += field(11, text(1, "sample") + kind) + field(12, text(1, "latent_sample") + kind)
    (folder / "vae_encoder" / "model.onnx").write_bytes(number(1, 8) + field(7, graph) + field(8, number(2, 17)))
    (folder / "vae_encoder" / "vae.w").write_bytes(kernel().tobytes())


def test_an_encoder_that_answers_with_latents(tmp_path):
    folder = as_olive(default_path(), tmp_path / "model")
    plain_encoder(folder)
    bundle = pleinair.adopt(folder)
    vae = bundle.manifest.vae
    assert (vae.kind, vae.answer, vae.scale) == ("plain", "latent_sample", 0.18215)
    assert bundle.manifest.graphs["vae_encoder"].files["onnx"] == ("vae_encoder/model.onnx", "vae_encoder/vae.w")
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    pipe = pleinair.load(folder, engine="onnx")
    request = resolve(bundle, PROMPT, image=Image.fromarray(picture), strength=0.5, **HOW)
    sample = picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    blocks = sample.reshape(3, 8, 8, 8, 8).transpose(1, 3, 0, 2, 4)  # (8, 8, 3, 8, 8): what each latent is made of
    expected = 0.18215 * np.einsum("hwcij,ocij->ohw", blocks, kernel())
    assert np.abs(pipe.encoded(request, pipe.generators(request))[0] - expected).max() < 1e-5


def test_another_vae_is_copied_and_takes_the_latents_of_the_loop(sketch, tmp_path):
    """As FastSD's users have it: a TAESD in a folder of its own."""
    folder = as_optimum(sketch, tmp_path / "model", "openvino")
    for name in ("vae_decoder", "vae_encoder"):
        shutil.copytree(folder / name, tmp_path / "taesd" / name)
        edit_json(tmp_path / "taesd" / name / "config.json", _class_name="AutoencoderTiny", scaling_factor=0.18215)
    with pytest.raises(pleinair.RequestError, match="holds a VAE, not a model; leave --vae"):
        pleinair.adopt(tmp_path / "taesd", vae=folder)
    lone = pleinair.adopt(tmp_path / "taesd")
    assert lone.manifest.is_vae and lone.manifest.tasks == ("decode", "encode")
    assert (lone.manifest.vae.scale, lone.manifest.vae.kind, lone.manifest.latents.channels) == (1.0, "gaussian", 4)
    assert lone.damage() == []
    bundle = pleinair.adopt(folder, vae=tmp_path / "taesd")
    assert (bundle.manifest.vae.scale, bundle.manifest.vae.downsample, bundle.manifest.vae.tile) == (1.0, 8, 1536)
    assert bundle.manifest.graphs["vae_decoder"].files["openvino"][0].startswith("pleinair_vae/")
    shutil.rmtree(tmp_path / "taesd")
    pipe = pleinair.load(folder, engine="openvino", threads=1)
    painted = pipe.generate(PROMPT, **HOW)
    decoded = pipe.graphs.open("vae_decoder")(latent_sample=painted.latents)["sample"]
    assert np.allclose(painted.pixels, (decoded / 2 + 0.5).clip(0, 1).transpose(0, 2, 3, 1), atol=1e-6)


def rewritten(folder, change):
    """Save a changed model in a graph's place; its weights are mapped while it is read."""
    file = folder / "openvino_model.xml"
    ov.save_model(change(ov.Core().read_model(file)), folder / "new.xml", compress_to_fp16=False)
    (folder / "new.xml").replace(file)
    (folder / "new.bin").replace(file.with_suffix(".bin"))


def half_and_fixed(model):
    """Latents in float16, and no text but one chunk, as newer exports have it."""
    model.reshape({"sample": [-1, 4, -1, -1], "timestep": [1], "encoder_hidden_states": [-1, 77, 128]})
    ports = ov.preprocess.PrePostProcessor(model)
    ports.input("sample").tensor().set_element_type(ov.Type.f16)
    ports.output("out_sample").tensor().set_element_type(ov.Type.f16)
    return ports.build()


def small_ids(model):
    ports = ov.preprocess.PrePostProcessor(model)
    ports.input("input_ids").tensor().set_element_type(ov.Type.i32)
    return ports.build()


def brain(model):
    """Ports in bfloat16, which NumPy does not have."""
    ports = ov.preprocess.PrePostProcessor(model)
    ports.input().tensor().set_element_type(ov.Type.bf16)
    ports.output().tensor().set_element_type(ov.Type.bf16)
    return ports.build()


def test_openvino_graphs_with_ports_in_other_numbers(sketch, tmp_path):
    folder = as_optimum(sketch, tmp_path / "model", "openvino")
    rewritten(folder / "unet", half_and_fixed)
    rewritten(folder / "text_encoder", small_ids)
    graphs = pleinair.adopt(folder).manifest.graphs
    assert graphs["text_encoder"].inputs["input_ids"].dtype == "int32"
    assert {port.dtype for port in (graphs["unet"].inputs["sample"], graphs["unet"].outputs["out_sample"])} == {
        "float16"
    }
    assert np.abs(paint(folder, "openvino") - paint(sketch, "openvino")).mean() < 3e-3
    (folder / "bundle.json").unlink()
    rewritten(folder / "vae_decoder", brain)
    assert pleinair.adopt(folder).manifest.graphs["vae_decoder"].outputs["sample"].dtype == "float32"
    assert np.abs(paint(folder, "openvino") - paint(sketch, "openvino")).mean() < 3e-3
    long = " and ".join(["a red house"] * 40)  # three chunks
    assert pleinair.load(folder).generate(long, **HOW).pixels.dtype == np.float32


def asking_for_a_mask(model):
    """A text encoder that leaves out the tokens whose mask is 0."""
    mask = ops.parameter([-1, 77], np.int64, name="attention_mask")
    mask.output(0).tensor.set_names({"attention_mask"})
    (hidden,) = (result.input_value(0) for result in model.get_results())
    kept = ops.multiply(hidden, ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(2)))
    kept.output(0).tensor.set_names({"last_hidden_state"})
    return ov.Model([ops.result(kept)], [*model.get_parameters(), mask])


def for_two_pictures(model):
    """A UNet saved for one size, which is told the time of each picture."""
    alone = model.input("timestep").get_node()
    times = ops.parameter([2], np.float32)
    mean = ops.reduce_mean(times, ops.constant([0]), True)
    for taking in alone.output(0).get_target_inputs():
        taking.replace_source_output(mean.output(0))
    alone.output(0).tensor.set_names(set())
    times.output(0).tensor.set_names({"timestep"})
    model.add_parameters([times])
    model.remove_parameter(alone)
    model.reshape({"sample": [2, 4, 16, 16], "encoder_hidden_states": [2, 77, 128]})
    return model


def test_graphs_with_a_mask_and_of_fixed_sizes_and_no_scheduler_config(sketch, tmp_path):
    folder = as_optimum(sketch, tmp_path / "model", "openvino")
    rewritten(folder / "text_encoder", asking_for_a_mask)
    rewritten(folder / "unet", for_two_pictures)
    with pytest.raises(pleinair.BundleError, match="scheduler_config.json' is missing.*--sampler euler"):
        (folder / SCHEDULER).rename(tmp_path / "away")
        pleinair.adopt(folder)
    (warning,) = judged(folder, sampler="euler").warnings
    bundle = pleinair.adopt(folder, sampler="euler")
    assert "predicts noise" in warning
    assert bundle.manifest.text_encoders[0].reads_all and bundle.manifest.defaults.sampler == "euler"
    assert bundle.manifest.graphs["unet"].inputs["timestep"].shape == (1,)
    (tmp_path / "away").rename(folder / SCHEDULER)
    pleinair.adopt(folder, force=True)
    apart = np.abs(paint(folder, "openvino") - paint(sketch, "openvino"))
    assert apart.max() < 1e-5


def test_graphs_of_two_formats_with_other_ports_are_not_mixed(tmp_path, capsys):
    folder = as_optimum(default_path(), tmp_path / "model", "openvino")
    shutil.copytree(as_olive(default_path(), tmp_path / "olive") / "unet", folder / "unet", dirs_exist_ok=True)
    assert pleinair.adopt(folder).formats == ("openvino",)  # one ONNX graph alone is none to paint with
    with pytest.raises(pleinair.BundleError, match="no onnx graph of its text_encoder"):
        pleinair.adopt(folder, format="onnx", force=True)
    for name in ("text_encoder", "vae_decoder"):
        shutil.copytree(tmp_path / "olive" / name, folder / name, dirs_exist_ok=True)
    assert cli.run(["adopt", str(folder), "--force"]) == 0
    assert "the onnx graphs have other ports and are left out" in capsys.readouterr().err  # no encoder among them
    assert pleinair.adopt(folder, format="onnx", force=True).manifest.tasks == ("text2image",)
    with pytest.raises(pleinair.BundleError, match="can do text2image, but not image2image"):
        paint(folder, "onnx", image=Image.new("RGB", (64, 64)))


def test_the_command(tmp_path, capsys):
    folder = as_optimum(default_path(), tmp_path / "a model", "openvino")
    assert (
        cli.run(["info", str(folder)]) == 3 and f'adopt it first: pleinair adopt "{folder}"' in capsys.readouterr().err
    )
    (tmp_path / "a b.ckpt").touch()
    for file, words in (
        (tmp_path / "a b.ckpt", f'checkpoint: pleinair pour "{tmp_path / "a b.ckpt"}"'),
        (folder / "model_index.json", "give the folder of the whole model"),
    ):
        assert cli.run(["adopt", str(file)]) == 2 and words in capsys.readouterr().err
    edit_json(folder / SCHEDULER, _class_name="NobodyKnowsScheduler")
    edit_json(folder / "model_index.json", scheduler=["diffusers", "NobodyKnowsScheduler"])
    assert cli.run(["adopt", str(folder)]) == 3 and "--sampler dpmpp_2m" in capsys.readouterr().err
    assert cli.run(["adopt", str(folder), "--sampler", "euler"]) == 0
    assert capsys.readouterr() == (f"{folder}\n", "")
    assert cli.run(["adopt", str(folder)]) == 4 and "is a bundle already" in capsys.readouterr().err
    assert cli.run(["adopt", str(folder), "--force", "--sampler", "heun", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["defaults"]["sampler"] == "heun"
    shutil.copytree(default_path(), tmp_path / "exported")
    assert cli.run(["adopt", str(tmp_path / "exported"), "--force"]) == 4
    assert "says more than adopting can tell" in capsys.readouterr().err
    assert open_bundle(tmp_path / "exported").manifest.vocabulary


def replaced(name, put):
    """What puts something else in a file's place."""

    def change(folder):
        (folder / name).unlink()
        put(folder / name)

    return change


def written(name, content):
    return replaced(name, lambda file: file.write_bytes(content))


def weights_at(location):
    return written("unet/model.onnx", onnx_model([], [("sample", np.float32, (1,))], [], [external(location)]))


def xml(text):
    return written("unet/openvino_model.xml", text.encode())


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><net>&b;</net>'
STRANGE = (
    '<?xml version="1.0"?><net><layers><layer id="0" name="latent_model_input" type="Parameter"><data shape="2,4,64,64"'
)
STRANGE += (
    ' element_type="f32"/></layer><layer id="1" name="r" type="Result"><input><port/></input></layer></layers></net>'
)
OPENVINO = {
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "no model_index.json"),
    "a pipeline of a deep index": (written("model_index.json", b"[" * 100_000), "nested too deeply"),
    "a long index": (replaced("model_index.json", sparse), "too large"),
    "a pipe": (replaced("unet/config.json", pipe), "not an ordinary file"),
    "a pipe for weights": (replaced("unet/openvino_model.bin", pipe), "not an ordinary file"),
    "a link out": (replaced("unet/openvino_model.bin", outside), "a link out of the folder"),
    "a link to nothing": (replaced("unet/openvino_model.bin", dangling), "is missing"),
    "a circle": (replaced("tokenizer/vocab.json", circle), "cannot be read"),
    "weights cut short": (written("unet/openvino_model.bin", b"x" * 1000), "cut short"),
    "no weights": (lambda folder: (folder / "unet/openvino_model.bin").unlink(), "is missing"),
    "entities": (xml(BOMB), "document type"),
    "no graph": (xml("version https://git-lfs.github.com/spec/v1"), "not an OpenVINO graph"),
    "a graph without ports": (xml('<?xml version="1.0"?><net></net>'), "no inputs"),
    "a graph of gigabytes": (replaced("unet/openvino_model.xml", sparse), "too large"),
    "a port of another model": (xml(STRANGE), "latent_model_input"),
    "a model for NPUs": (lambda folder: (folder / "time_proj_constants.npy").touch(), "FastSD's LCM for NPUs"),
    "no scheduler": (lambda folder: (folder / SCHEDULER).unlink(), "is missing"),
    "no unet": (lambda folder: shutil.rmtree(folder / "unet"), "no openvino graph of its unet"),
    "no vocabulary": (lambda folder: (folder / "tokenizer/vocab.json").unlink(), "get vocab.json and merges.txt"),
    "merges of nothing": (written("tokenizer/merges.txt", b"#version\nq q q\n"), "merges.txt"),
    "merges of unknown tokens": (written("tokenizer/merges.txt", b"#version\nnobody knows\n"), "cannot be read"),
    "a vocabulary of texts": (written("tokenizer/vocab.json", b'{"a": "b"}'), "vocab.json"),
    "a width of text": (
        lambda folder: edit_json(folder / "unet/config.json", cross_attention_dim=768),
        "another width",
    ),
    "channels of another kind": (lambda folder: edit_json(folder / "unet/config.json", in_channels="4"), "impossible"),
    "sizes of another graph": (
        lambda folder: edit_json(folder / "text_encoder/config.json", max_position_embeddings=64),
        "where this model has",
    ),
    "a transformer": (
        lambda folder: edit_json(folder / "model_index.json", _class_name="FluxPipeline"),
        "no openvino graph of its text_encoder_2",
    ),
}
ONNX = {
    "weights above": (weights_at("../secret"), "is not beside it"),
    "weights of the system": (weights_at("/etc/hostname"), "is not beside it"),
    "weights below": (weights_at("data/secret"), "is not beside it"),
    "weights that are missing": (weights_at("weights.pb"), "is missing"),
    "a file cut short": (lambda folder: cut(folder / "unet/model.onnx"), "not an ONNX file"),
    "no file": (written("unet/model.onnx", b""), "not an ONNX file"),
    "two files": (
        lambda folder: (
            [shutil.move(folder / "unet/model.onnx", folder / f"unet/{name}.onnx") for name in "a"]
            + [(folder / "unet/b.onnx").write_bytes(b"")]
        ),
        "2 .onnx files and no model.onnx",
    ),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:-1000])


CASES = {**{name: ("openvino", *case) for name, case in OPENVINO.items()}}
CASES |= {name: ("onnx", *case) for name, case in ONNX.items()}


@pytest.fixture(scope="module")
def exported(sketch, tmp_path_factory):
    """A folder as optimum exports it, by format; do not write there."""
    root = tmp_path_factory.mktemp("exported")
    return {form: as_optimum(sketch, root / form, form) for form in ("openvino", "onnx")}


@pytest.mark.parametrize("form, change, words", CASES.values(), ids=CASES)
def test_what_cannot_be_adopted_is_one_line_and_left_as_it_is(tmp_path, exported, form, change, words):
    folder = tmp_path / "in" / "model"
    shutil.copytree(exported[form], folder)
    change(folder)
    names = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(pleinair.PleinairError, match=words) as caught:
        pleinair.adopt(folder)
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    assert sorted(path.name for path in folder.rglob("*")) == names


def in_a_cache(folder):
    """The folder of its repository, without a branch: files are links to blobs."""
    cache = folder.with_name("models--org--story")
    (cache / "snapshots").mkdir(parents=True)
    shutil.copytree(folder, cache / "snapshots" / ("a" * 40))
    for place, file in enumerate(sorted(each for each in cache.rglob("*") if each.is_file())):
        blob = file.rename(cache / str(place))
        file.symlink_to(blob)
    return cache


def test_what_is_given_wrongly_is_led_on(tmp_path, exported):
    """A part of a model, a hub's cache, a VAE that is not where it is said to be, a sampler of no name."""
    folder = shutil.copytree(exported["openvino"], tmp_path / "model")
    cache = in_a_cache(folder)
    for given, how, words in (
        (folder / "unet", {}, f"no model_index.json.*; give {folder}$"),
        (cache, {}, "link out of the folder.*: pleinair pull org/story"),
        (cache / "snapshots", {}, "no model_index.json.*; give .*/a{40}$"),
        (folder, {"vae": tmp_path}, "has no vae_decoder; give --vae the folder"),
        (folder, {"sampler": "nope"}, "unknown sampler 'nope'"),
        (folder, {"sampler": "Euler Karras"}, "has no spacing.*; choose euler$"),
    ):
        with pytest.raises(pleinair.PleinairError, match=words):
            pleinair.adopt(given, **how)
    (folder / "unet" / "openvino_model.xml").rename(folder / "unet" / "u.xml")
    (folder / "unet" / "openvino_model.bin").rename(folder / "unet" / "u.bin")
    (folder / "unet" / "._u.xml").touch()  # which macOS leaves in archives
    assert pleinair.adopt(folder, sampler="DPM++ 2M").manifest.defaults.sampler == "dpmpp_2m"


def test_a_full_disk_and_ctrl_c_leave_the_folder_as_it_was(tmp_path, exported, monkeypatch, capsys):
    folder = tmp_path / "model"
    shutil.copytree(exported["openvino"], folder)
    before, synced = everything(folder), []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(pleinair.ResourceError, match="No space left.*; check"):
        pleinair.adopt(folder)
    assert everything(folder) == before

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("pleinair.adopting.adopt.file_info", interrupted)
    assert cli.run(["adopt", str(folder)]) == 130 and len(capsys.readouterr().err.splitlines()) == 1
    assert everything(folder) == before


def test_long_and_odd_names(tmp_path, exported):
    names = {
        "模型 with spaces": "模型 with spaces",
        "m" * 250: f"{'m' * 90}...",
        "new\nline": "new line",
        "a:b. ": "a-b.",
    }
    for name, called in names.items():
        folder = tmp_path / ("très long " * 11) / name
        shutil.copytree(exported["onnx"], folder)
        assert pleinair.adopt(folder).manifest.name == called
    (tmp_path / "circle").symlink_to("circle")
    for name in ("a\0b", "a\ud800", "x" * 300, tmp_path / "circle"):
        with pytest.raises(pleinair.RequestError, match="; check the path"):
            pleinair.adopt(name)
