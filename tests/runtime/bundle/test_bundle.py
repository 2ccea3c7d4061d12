"""Reading bundles: what is right round-trips, what is wrong is named with a remedy."""

import json
import os

import numpy as np
import pytest

import pleinair
from bundles import edit_manifest, full_copy, light_copy, light_inpaint_copy, light_upscaler, old_copy
from pleinair.bundle import verifying as verify
from pleinair.bundle.manifest import FORMAT, MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.bundle.verifying import file_info
from pleinair.cli.app import run
from pleinair.engines.graphs import open_graph
from pleinair.errors import BundleError


def test_a_manifest_survives_writing_and_reading(tmp_path):
    bundle = open_bundle()
    folder = light_copy(tmp_path / "copy")
    (folder / MANIFEST).write_text(bundle.manifest.to_json(), encoding="utf-8")
    assert open_bundle(folder).manifest == bundle.manifest


def test_storybook_is_whole_and_has_both_formats():
    bundle = open_bundle()
    assert bundle.manifest.name == "storybook"
    assert bundle.damage() == []
    assert set(bundle.formats) == {"openvino", "onnx"}
    for graph in bundle.manifest.graphs.values():
        for found in graph.fidelity.values():
            assert found.psnr_db >= found.gate_db >= 35


def test_storybook_lists_every_file_of_its_folder():
    root = default_path()
    on_disk = {str(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file()}
    assert on_disk - {MANIFEST} == set(open_bundle().manifest.files)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda raw: raw.update(format=3), "update pleinair"),
        (lambda raw: raw.pop("latents"), "lacks 'latents'"),
        (lambda raw: raw.update(latents=[]), "latents is not an object"),
        (lambda raw: raw["defaults"].update(steps="many"), "steps should be int"),
        (lambda raw: raw["defaults"].update(steps=True), "steps should be int"),
        (lambda raw: raw["files"].update({"../evil": {"size": 1, "sha256": ""}}), "outside the bundle"),
        (lambda raw: raw["files"].update({"/etc/passwd": {"size": 1, "sha256": ""}}), "outside the bundle"),
        (lambda raw: raw["graphs"]["unet"]["files"].update(onnx=["../../x.onnx"]), "export the model again"),
        (lambda raw: raw["graphs"].pop("unet"), "does not describe 'unet'"),
        (lambda raw: raw.update(text_encoders=[]), "does not describe 'text_encoders'"),
        (lambda raw: raw["text_encoders"][0].update(output="nope"), "does not describe 'text_encoder'"),
        (lambda raw: raw["text_encoders"][0].update(graph="vae_decoder"), "does not describe 'vae_decoder'"),
        (lambda raw: raw["text_encoders"][0].update(length=1), "impossible values in text_encoders"),
        (lambda raw: raw["text_encoders"][0].update(output="pooler_output"), "impossible values in text_encoders"),
        (lambda raw: raw["latents"].update(downsample=0), "impossible values in latents"),
        (lambda raw: raw["latents"].update(channels=0), "impossible values in latents: channels"),
        (lambda raw: raw["latents"].update(scale=0.0), "impossible values in vaes"),
        (lambda raw: raw["graphs"]["unet"]["files"].update(openvino=[]), "impossible values in graphs: files"),
        (lambda raw: raw.update(latents=None), "does not describe 'latents'"),
        (lambda raw: raw.update(defaults=None), "does not describe 'defaults'"),
        (lambda raw: raw.update(scheduler=None), "does not describe 'scheduler'"),
        (lambda raw: raw["latents"].update(rgb=[[1.0, 2.0, 3.0]]), "impossible values in latents: rgb"),
        (lambda raw: raw["latents"].update(rgb=[[1.0, 2.0]] * 5), "impossible values in latents: rgb"),
        (lambda raw: raw["latents"].update(rgb=[[1.0, 2.0, float("nan")]] * 5), "impossible values in latents: rgb"),
        (lambda raw: raw["latents"].update(rgb=[["red"] * 3] * 5), "rgb should be float"),
        (lambda raw: raw["graphs"]["unet"]["inputs"].pop("sample"), "impossible values in graphs: unet"),
        (lambda raw: raw["graphs"]["unet"]["inputs"]["sample"].update(shape=[1, 7, 8, 8]), "graphs: unet"),
    ],
)
def test_malformed_manifests_are_named(tmp_path, change, message):
    folder = old_copy(tmp_path / "copy")
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_later_versions_added_may_be_absent(tmp_path):
    folder = old_copy(tmp_path / "copy")

    def age(raw):
        raw["latents"].pop("rgb", None)
        raw.pop("scale", None)
        raw["tasks"] = ["text2image", "image2image"]

    edit_manifest(folder, age)
    old = open_bundle(folder)
    assert (old.manifest.format, old.manifest.latents.rgb, old.manifest.scale) == (FORMAT, None, None)
    assert old.manifest.tasks == ("text2image", "image2image", "inpaint")


def test_the_map_to_colours_is_read_and_written(tmp_path):
    folder, rgb = light_copy(tmp_path / "copy"), [[0.1, 0, -0.2]] * 5
    edit_manifest(folder, lambda raw: raw["latents"].update(rgb=rgb))
    bundle = open_bundle(folder)
    assert bundle.manifest.latents.rgb == tuple(map(tuple, rgb))
    (folder / MANIFEST).write_text(bundle.manifest.to_json())
    assert open_bundle(folder).manifest == bundle.manifest


def test_an_inpainting_unet_is_known_by_its_channels(tmp_path):
    bundle = open_bundle(light_inpaint_copy(tmp_path / "inpaint"))
    assert (
        bundle.manifest.denoiser.channels == ("mask", "masked_image") and not open_bundle().manifest.denoiser.channels
    )
    bundle.require("inpaint")
    with pytest.raises(BundleError, match="can do inpaint, but not text2image; give it a picture and a mask"):
        bundle.require("text2image")
    noise = np.zeros((2, 9, 5, 7), np.float32)
    text = np.zeros((2, 77, 8), np.float32)
    unet = open_graph(bundle, "unet", "fake", None, None)
    answer = unet(sample=noise, timestep=np.zeros(1, np.float32), encoder_hidden_states=text)["out_sample"]
    assert answer.shape == (2, 4, 5, 7)


def test_an_upscaler_opens_and_enlarges_and_does_not_paint(tmp_path, capsys):
    bundle = open_bundle(light_upscaler(tmp_path / "big", scale=3))
    assert (bundle.upscales, bundle.manifest.tasks, bundle.manifest.scale) == (True, ("upscale",), 3)
    assert bundle.scheduler_config == {} and bundle.damage() == []
    bundle.require("upscale")
    image = np.zeros((1, 3, 4, 6), np.float32)
    assert open_graph(bundle, "upscaler", "fake", None, None)(image=image)["upscaled"].shape == (1, 3, 12, 18)
    with pytest.raises(BundleError, match="'big' can do upscale, but not text2image; give it to --upscale"):
        pleinair.load(bundle.path, engine="fake")
    with pytest.raises(BundleError, match="not upscale"):
        open_bundle().require("upscale")
    assert run(["info", str(bundle.path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["family"], facts["scale"], "defaults" in facts) == ("upscaler", 3, False)
    assert run(["info", str(bundle.path)]) == 0


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda raw: raw.pop("scale"), "does not describe 'scale'"),
        (lambda raw: raw.update(scale=0), "does not describe 'scale'"),
        (lambda raw: raw.update(scale=-2), "impossible values in scale"),
        (lambda raw: raw.update(scale=2.5), "scale should be int"),
        (lambda raw: raw["graphs"]["upscaler"]["inputs"].update(mask={"dtype": "float32", "shape": [1]}), "upscaler"),
        (lambda raw: raw.update(graphs={}), "does not describe 'latents'"),
    ],
)
def test_malformed_upscalers_are_named(tmp_path, change, message):
    folder = light_upscaler(tmp_path / "big")
    edit_manifest(folder, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_the_fake_vae_encodes_what_it_decodes():
    encoder, decoder = (open_graph(open_bundle(), name, "fake", None, None) for name in ("vae_encoder", "vae_decoder"))
    latents = np.zeros((1, 4, 2, 3), np.float32)
    latents[:, :3] = np.random.default_rng(0).uniform(-1, 1, (1, 3, 2, 3))
    parameters = encoder(sample=decoder(latent_sample=latents)["sample"])["latent_parameters"]
    assert parameters.shape == (1, 8, 2, 3)
    np.testing.assert_allclose(parameters[:, :4], latents, atol=1e-5)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "1"}', "[" * 100_000])
def test_text_that_is_no_manifest_is_refused(tmp_path, text):
    folder = light_copy(tmp_path / "copy")
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="malformed"):
        open_bundle(folder)


def test_folders_that_are_no_bundles_say_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="pleinair pour SOURCE"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BundleError, match="diffusers folder: make one with: pleinair pour"):
        open_bundle(tmp_path)


def test_a_missing_scheduler_config_is_named(tmp_path):
    folder = light_copy(tmp_path / "copy")
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(BundleError, match="scheduler_config.json"):
        open_bundle(folder)


def test_every_kind_of_damage_is_found(tmp_path):
    folder = full_copy(tmp_path / "copy")
    unet, decoder, encoder = (folder / name / "openvino_model.bin" for name in ("unet", "vae_decoder", "text_encoder"))
    flipped = bytearray(unet.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    unet.write_bytes(flipped)
    decoder.write_bytes(decoder.read_bytes()[:-1])
    encoder.unlink()
    damage = open_bundle(folder).damage()
    assert [line.split(":")[0] for line in sorted(damage)] == [
        "text_encoder/openvino_model.bin",
        "unet/openvino_model.bin",
        "vae_decoder/openvino_model.bin",
    ]


def test_bundle_json_is_plain_and_says_nothing_of_this_machine():
    text = (default_path() / MANIFEST).read_text(encoding="utf-8")
    raw = json.loads(text)
    assert raw["format"] == FORMAT
    assert "/" not in raw["origin"]["source"] and "\\" not in raw["origin"]["source"]
    assert "/home" not in text and "/root" not in text


def test_a_large_file_is_hashed_once_for_as_long_as_nobody_touches_it(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(verify, "LARGE", 1 << 20)
    monkeypatch.setattr(verify, "file_info", lambda path: hashed.append(path.name) or file_info(path))
    folder = full_copy(tmp_path / "copy")
    graph = folder / "unet" / "model.onnx"
    for _ in range(3):
        open_bundle(folder).graph_file("unet", "onnx")
    assert hashed == ["model.onnx"] and (folder / verify.STATE).is_file()
    os.utime(graph, ns=(1, 1))
    open_bundle(folder).graph_file("unet", "onnx")
    assert hashed == ["model.onnx"] * 2
    assert open_bundle(folder).damage() == []


@pytest.mark.parametrize("state", ["", "[]", '{"unet/model.onnx": 1}', '{"a":' * 10_000, None])
def test_what_is_remembered_is_not_trusted(tmp_path, monkeypatch, state):
    monkeypatch.setattr(verify, "LARGE", 1 << 20)
    folder = full_copy(tmp_path / "copy")
    if state is None:
        (folder / verify.STATE).mkdir()
    else:
        (folder / verify.STATE).write_text(state)
    open_bundle(folder).graph_file("unet", "onnx")
    with (folder / "unet" / "model.onnx").open("r+b") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleError, match="SHA-256"):
        open_bundle(folder).graph_file("unet", "onnx")
    assert not [file for file in folder.iterdir() if file.name.startswith(verify.STATE) and file.name != verify.STATE]


def test_an_altered_bundle_paints_where_that_was_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = light_copy(tmp_path / "copy") / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"steps_offset": 1', '"steps_offset": 2'))
    command = ["generate", "a boat", "--model", "copy", "--engine", "fake", "--steps", "1", "-o", "a.png"]
    assert run(command) == 3 and "SHA-256" in capsys.readouterr().err
    assert run([*command, "--no-verify"]) == 0
