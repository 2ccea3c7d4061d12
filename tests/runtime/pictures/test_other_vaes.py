"""A VAE in place of the model's own, on the fake engine: what decodes, what is recorded, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import edit_manifest, light_upscaler, light_vae, seal
from pleinair.bundle.opening import open_bundle
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError, RequestError
from pleinair.files.metadata import read_record
from pleinair.system.home import models_folder
from pleinair.tasks import rerun as reruns

QUICK = {"prompt": "a red house", "seed": 5, "steps": 3, "size": "64x48"}
pytestmark = pytest.mark.usefixtures("silent_storybook")


@pytest.fixture
def taesd(tmp_path):
    """One of another scale and shift, whose encoder says latents."""
    return plain(light_vae(tmp_path / "taesd", scale=0.5, shift=0.25, kind="plain"))


def plain(folder):
    def narrow(raw):
        channels = raw["latents"]["channels"]
        raw["graphs"]["vae_encoder"]["outputs"]["latent_parameters"]["shape"][1] = channels

    edit_manifest(folder, narrow)
    return folder


@pytest.fixture
def told():
    return []


@pytest.fixture
def pipe(told):
    return pleinair.load(engine=FakeEngine(lambda graph, inputs: told.append((graph, inputs))))


def inputs_of(told, graph):
    return [inputs for name, inputs in told if name == graph]


@pytest.mark.parametrize("memory", ["high", "low"])
def test_graphs_and_numbers_are_replaced_together(taesd, memory):
    told = []
    pipe = pleinair.load(engine=FakeEngine(lambda graph, inputs: told.append((graph, inputs))), memory=memory)
    picture = Image.new("RGB", (64, 48), "red")
    own = pipe.generate(**QUICK, image=picture, strength=0.7)
    told.clear()
    other = pipe.generate(**QUICK, image=picture, strength=0.7, vae=taesd)
    (decoded,) = inputs_of(told, "vae_decoder")
    assert np.allclose(decoded["latent_sample"], other.latents / 0.5 + 0.25, atol=1e-6)
    assert len(inputs_of(told, "vae_encoder")) == 1 and not np.array_equal(own.latents, other.latents)
    assert (own.settings.get("vae"), other.settings["vae"]) == (None, "taesd")
    again = pipe.generate(**QUICK, image=picture, strength=0.7, vae="default")
    assert np.array_equal(again.latents, own.latents) and "vae" not in again.settings


def test_steps_are_shown_through_a_vae_of_their_own(pipe, told, taesd):
    for frame in pipe.stream(**QUICK, preview_vae=taesd):
        if frame.result:
            assert "preview_vae" not in frame.result.settings
            continue
        told.clear()
        (shown,) = frame.preview()
        (decoded,) = inputs_of(told, "vae_decoder")
        assert shown.size == (64, 48) and np.abs(decoded["latent_sample"]).max() > 0
    told.clear()
    pipe.generate(**QUICK, preview_vae=taesd)
    assert len(inputs_of(told, "vae_decoder")) == 1  # the picture's own


def test_the_record_names_it_and_rerun_finds_it_among_the_models(pipe, taesd, tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    kept = models_folder() / "taesd"
    kept.parent.mkdir(parents=True, exist_ok=True)
    taesd.rename(kept)
    result = pipe.generate(**QUICK, vae="taesd")
    (file,) = result.save(tmp_path / "house.png")
    record = read_record(file)
    sha = record.ours["vae_sha256"]
    texts = Image.open(file).info["parameters"]
    assert (record.ours["vae"], len(sha)) == ("taesd", 16) and str(tmp_path) not in json.dumps(record.ours)
    assert f"VAE hash: {sha[:10]}" in texts and "VAE: taesd" in texts
    again = reruns.rerun(file, engine=FakeEngine())
    assert again.difference.max_abs == 0 and not any("--vae" in warning for warning in again.warnings)
    other = light_vae(tmp_path / "other")
    (other / "vae_decoder" / "config.json").write_text("{}")
    seal(other)
    given = reruns.rerun(file, engine=FakeEngine(), vae=other)
    assert any("what --vae gives is not what this picture was made with" in warning for warning in given.warnings)
    kept.rename(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="made with vae, which no record holds: taesd; give --vae BUNDLE"):
        reruns.rerun(file, engine=FakeEngine())


REFUSED = {  # how a VAE's bundle is changed -> what is said
    "channels": (lambda raw: raw["latents"].update(channels=16), "for latents of 16 channels and 8 pixels a side"),
    "downsample": (lambda raw: raw["latents"].update(multiple=16), "4 channels and 16 pixels a side"),
    "encoder": (lambda raw: raw["vaes"]["default"].update(encoder=None), "has no encoder, which a picture"),
    "tile": (lambda raw: raw["vaes"]["default"].update(tile=7), "impossible values in vaes"),
    "scale": (lambda raw: raw["vaes"]["default"].update(scale=0.0), "impossible values in vaes"),
    "a graph more": (lambda raw: raw["graphs"].update(unet=raw["graphs"]["vae_decoder"]), "has a graph 'unet'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_loaded(pipe, told, tmp_path, case):
    change, words = REFUSED[case]
    folder = light_vae(tmp_path / "vae")
    edit_manifest(folder, change)

    def widen(raw):
        graphs, channels, side = raw["graphs"], raw["latents"]["channels"], raw["latents"]["multiple"]
        raw["vaes"]["default"]["downsample"] = side
        graphs["vae_decoder"]["inputs"]["latent_sample"]["shape"][1] = channels
        graphs["vae_encoder"]["outputs"]["latent_parameters"]["shape"][1] = 2 * channels
        if raw["vaes"]["default"]["encoder"] is None:
            graphs.pop("vae_encoder")

    edit_manifest(folder, widen)
    with pytest.raises(BundleError) as caught:
        pipe.generate(**QUICK, image=Image.new("RGB", (64, 48)), vae=folder)
    assert words in str(caught.value) and "\n" not in str(caught.value) and ";" in str(caught.value)
    assert told == []


def test_what_is_no_vae_is_refused(pipe, tmp_path):
    with pytest.raises(BundleError, match="can do upscale, but not decode; give it to --upscale"):
        pipe.generate(**QUICK, vae=light_upscaler(tmp_path / "larger"))
    with pytest.raises(BundleError, match="no VAE 'taesd' here or among your models; make one from its file"):
        pipe.generate(**QUICK, vae="taesd")
    for odd in ("x" * 5000, "a\0b", "", tmp_path):
        with pytest.raises(BundleError) as caught:
            pipe.generate(**QUICK, vae=odd)
        assert "\n" not in str(caught.value) and ";" in str(caught.value)
    with pytest.raises(RequestError, match="vae must be the folder of a bundle"):
        pipe.generate(**QUICK, vae=3)


def test_a_vae_of_another_family_is_told_by_its_scale(pipe, taesd, tmp_path):
    """SDXL's has as many channels as SD 1's; TAESD has the scale of none."""
    cases = {"sdxl": {"scale": 0.13025}, "shifted": {"shift": 0.1}, "tuned": {"scale": 0.182151}}
    folders = {name: light_vae(tmp_path / name, **numbers) for name, numbers in cases.items()} | {"taesd": taesd}
    said = {name: " ".join(pipe.generate(**QUICK, vae=folder).warnings) for name, folder in folders.items()}
    assert "the VAE 'sdxl' scales latents by 0.13025, and that of 'storybook' by 0.18215" in said["sdxl"]
    assert {name for name, words in said.items() if "colours may be off" in words} == {"sdxl", "shifted"}


def test_a_vae_paints_nothing(tmp_path):
    bundle = light_vae(tmp_path / "taesd")
    with pytest.raises(BundleError, match="can do decode, encode, but not text2image; give it to --vae"):
        pleinair.load(bundle, engine=FakeEngine())
    with pytest.raises(BundleError, match="can do decode, encode, but not image2image"):
        pleinair.load(engine=FakeEngine()).generate(**QUICK, refiner=bundle)
    assert open_bundle(bundle).manifest.is_vae


def test_a_vae_that_makes_no_numbers_is_one_line(tmp_path):
    def broken(graph, inputs):
        if graph == "vae_decoder":
            inputs["latent_sample"] *= np.nan

    with pytest.raises(pleinair.EngineError, match="when decoding.*;"):
        pleinair.load(engine=FakeEngine(broken)).generate(**QUICK, vae=light_vae(tmp_path / "vae"))


def test_a_line_of_a_list_and_info(run, taesd, tmp_path):
    lines = tmp_path / "list.jsonl"
    lines.write_text(json.dumps({"prompt": "a boat", "vae": str(taesd), "output": "boat.png"}) + "\n")
    how = ("-o", tmp_path / "out", "--engine", "fake", "--steps", 1, "--json")
    code, out, _ = run("generate", "--prompts", lines, *how)
    assert code == 0 and json.loads(out)["settings"]["vae"] == "taesd"
    code, out, _ = run("info", taesd, "--json")
    facts = json.loads(out)
    assert (facts["channels"], facts["downsample"], facts["scale"], facts["kind"]) == (4, 8, 0.5, "plain")
    code, _, err = run("generate", "a boat", "--vae", "taef1", "--engine", "fake")
    assert (code, "no VAE 'taef1'" in err) == (3, True)
