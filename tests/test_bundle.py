"""Reading bundles: what is right round-trips, what is wrong is named with a remedy."""

import json

import pytest

from bundles import edit_manifest, full_copy, light_copy
from pleinair.bundle import MANIFEST, damaged_files, default_path, open_bundle
from pleinair.errors import BundleError


def test_a_manifest_survives_writing_and_reading(tmp_path):
    bundle = open_bundle()
    folder = light_copy(tmp_path / "copy")
    (folder / MANIFEST).write_text(bundle.manifest.to_json(), encoding="utf-8")
    assert open_bundle(folder).manifest == bundle.manifest


def test_storybook_is_whole_and_has_both_formats():
    bundle = open_bundle()
    assert bundle.manifest.name == "storybook"
    assert damaged_files(bundle) == []
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
        (lambda raw: raw.update(format=2), "update pleinair"),
        (lambda raw: raw.pop("latents"), "lacks 'latents'"),
        (lambda raw: raw.update(latents=[]), "latents is not an object"),
        (lambda raw: raw["defaults"].update(steps="many"), "steps should be int"),
        (lambda raw: raw["defaults"].update(steps=True), "steps should be int"),
        (lambda raw: raw["files"].update({"../evil": {"size": 1, "sha256": ""}}), "outside the bundle"),
        (lambda raw: raw["files"].update({"/etc/passwd": {"size": 1, "sha256": ""}}), "outside the bundle"),
        (lambda raw: raw["graphs"]["unet"]["files"].update(onnx=["../../x.onnx"]), "export the model again"),
        (lambda raw: raw["graphs"].pop("unet"), "does not describe 'unet'"),
        (lambda raw: raw.update(text_encoders=[]), "a text encoder"),
        (lambda raw: raw["text_encoders"][0].update(output="nope"), "does not describe 'text_encoder'"),
        (lambda raw: raw["text_encoders"][0].update(graph="vae_decoder"), "does not describe 'vae_decoder'"),
        (lambda raw: raw["text_encoders"][0].update(length=1), "impossible values in text_encoders"),
        (lambda raw: raw["text_encoders"][0].update(output="pooler_output"), "impossible values in text_encoders"),
        (lambda raw: raw["latents"].update(downsample=0), "impossible values in latents: downsample"),
        (lambda raw: raw["latents"].update(channels=0), "impossible values in latents: channels"),
        (lambda raw: raw["latents"].update(scale=0.0), "impossible values in latents: scale"),
        (lambda raw: raw["graphs"]["unet"]["files"].update(openvino=[]), "impossible values in graphs: files"),
    ],
)
def test_malformed_manifests_are_named(tmp_path, change, message):
    folder = light_copy(tmp_path / "copy")
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "1"}', "[" * 100_000])
def test_text_that_is_no_manifest_is_refused(tmp_path, text):
    folder = light_copy(tmp_path / "copy")
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="malformed"):
        open_bundle(folder)


def test_folders_that_are_no_bundles_say_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="pleinair export SOURCE"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BundleError, match="diffusers folder: convert it with: pleinair export"):
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
    damage = damaged_files(open_bundle(folder))
    assert [line.split(":")[0] for line in sorted(damage)] == [
        "text_encoder/openvino_model.bin",
        "unet/openvino_model.bin",
        "vae_decoder/openvino_model.bin",
    ]


def test_bundle_json_is_plain_and_says_nothing_of_this_machine():
    text = (default_path() / MANIFEST).read_text(encoding="utf-8")
    raw = json.loads(text)
    assert raw["format"] == 1
    assert "/" not in raw["origin"]["source"] and "\\" not in raw["origin"]["source"]
    assert "/home" not in text and "/root" not in text
