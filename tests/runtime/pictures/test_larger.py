"""Sizes beyond what fits: the VAE in tiles and upscaler bundles, through the pipeline and the command line."""

import json

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import light_copy, light_upscaler
from engines import Altered
from pleinair.cli import app as cli
from pleinair.engines.fake import FakeEngine, FakeGraph
from pleinair.errors import BundleError, EngineError, RequestError
from pleinair.files.metadata import read_record
from pleinair.pictures.vae import tile_shape

pytestmark = pytest.mark.usefixtures("silent_storybook")
JOB = {"prompt": "a red house on a snowy hill", "seed": 3, "steps": 3}
QUICK = {"prompt": "a boat", "seed": 3, "steps": 2, "width": 64, "height": 48}
FAKE = ["generate", "a boat", "--engine", "fake", "--steps", "2", "--seed", "3", "--size", "64x48"]


@pytest.fixture
def twice(tmp_path):
    return light_upscaler(tmp_path / "twice")


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def psnr(a, b):
    return -10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2))


# ---- the VAE in tiles ----


@pytest.fixture(scope="module")
def storybook():
    return pleinair.load(engine="onnx", threads=1)


def test_a_picture_decoded_in_tiles_is_near_the_whole(storybook):
    size = {"width": 256, "height": 192}
    whole, tiled, automatic = (storybook.generate(**JOB, **size, vae_tile=side) for side in (0, 128, None))
    assert np.array_equal(whole.latents, tiled.latents) and whole.pixels.shape == (1, 192, 256, 3)
    assert 35 <= psnr(whole.pixels, tiled.pixels) < 100
    assert np.array_equal(whole.pixels, automatic.pixels)  # so small a picture is not cut unless asked
    assert tiled.settings["vae_tile"] == 128 and "vae_tile" not in automatic.settings


def test_a_picture_encoded_in_tiles_is_near_the_whole(storybook):
    size = {"width": 256, "height": 192}
    image = storybook.generate(**JOB, **size).images[0]
    start = {"image": image, "strength": 0.4, **size}
    whole, tiled = (storybook.generate(**JOB, **start, vae_tile=side).pixels for side in (0, 128))
    assert 35 <= psnr(whole, tiled) < 100


def test_tiles_are_all_that_the_vae_of_a_pipeline_is_given():
    shapes = set()

    def seen(graph, inputs):
        shapes.update((name, *array.shape[2:]) for name, array in inputs.items() if name in ("sample", "latent_sample"))

    pipe = pleinair.load(engine=FakeEngine(seen))
    size = {"width": 256, "height": 192}
    image = Image.new("RGB", (256, 192), (200, 60, 30))
    tiled = pipe.generate(**{**QUICK, **size}, image=image, vae_tile=128)
    down, across = tile_shape(24, 32, pipe.bundle.manifest.vae, 128)
    assert down * across <= 16 * 16
    assert shapes == {("sample", 8 * down, 8 * across), ("sample", 24, 32), ("latent_sample", down, across)}
    np.testing.assert_allclose(tiled.pixels, pipe.generate(**{**QUICK, **size}, image=image).pixels, atol=1e-5)


@pytest.mark.parametrize("side", [63, -1, 10**9, 64.5, "big", True])
def test_bad_tiles_are_refused(pipe, side):
    with pytest.raises(RequestError, match="tile"):
        pipe.stream(**QUICK, vae_tile=side)


# ---- upscaler bundles ----


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_finished_picture_is_enlarged(pipe, tmp_path, scale):
    folder = light_upscaler(tmp_path / "larger", scale)
    plain, larger = pipe.generate(**QUICK, count=2), pipe.generate(**QUICK, count=2, upscale=folder)
    assert larger.pixels.shape == (2, 48 * scale, 64 * scale, 3)
    assert {image.size for image in larger.images} == {(64 * scale, 48 * scale)}
    np.testing.assert_allclose(larger.pixels, plain.pixels.repeat(scale, 1).repeat(scale, 2), atol=1e-6)
    assert np.array_equal(larger.latents, plain.latents)
    assert larger.settings["upscale"] == "larger" and larger.settings["width"] == 64
    frames = list(pipe.stream(**QUICK, upscale=str(folder)))
    assert [frame.result is not None for frame in frames] == [False, False, True]
    assert frames[-1].preview()[0].size == (64 * scale, 48 * scale)


def test_large_pictures_are_enlarged_in_tiles(pipe, twice):
    plain, larger = (pipe.generate(**{**QUICK, "width": 520}, **more).pixels for more in ({}, {"upscale": twice}))
    np.testing.assert_allclose(larger, plain.repeat(2, 1).repeat(2, 2), atol=1e-6)


def test_what_is_put_back_is_put_back_before_it_is_enlarged(pipe, twice):
    image, mask = Image.new("RGB", (96, 80), (200, 60, 30)), Image.new("L", (96, 80), 0)
    mask.paste(255, (24, 24, 56, 56))
    job = {**QUICK, "image": image, "mask": mask, "mask_blur": 0, "only_masked": True}
    larger = np.asarray(pipe.generate(**job, upscale=twice).images[0])
    assert larger.shape == (160, 192, 3)
    outside = np.asarray(mask.resize((192, 160), Image.Resampling.NEAREST)) == 0
    assert (larger[outside] == (200, 60, 30)).all()


def test_the_command_enlarges(run, twice):
    code, out, err = run(*FAKE, "--upscale", twice, "--count", 2, "-o", "a.png", "--json")
    assert (code, err) == (0, "")
    assert [(each["width"], each["height"]) for each in json.loads(out)["images"]] == [(128, 96)] * 2
    with Image.open("a-2.png") as picture:
        assert picture.size == (128, 96)
    found = read_record("a-2.png")
    assert found.ours["upscale"] == "twice" and (found.ours["width"], found.ours["height"]) == (64, 48)
    code, out, err = run(*FAKE, "--upscale", twice, "-o", "a.npz")
    with np.load("a.npz") as arrays:
        assert (code, arrays["images"].shape, arrays["latents"].shape) == (0, (1, 96, 128, 3), (1, 4, 6, 8))


def test_enlarging_between_the_passes_and_after_them(run, twice):
    assert run(*FAKE, "--hires", "2x", "--enlarger", twice, "--upscale", twice, "-o", "a.png")[0] == 0
    with Image.open("a.png") as picture:
        assert picture.size == (256, 192)


@pytest.mark.parametrize("options", [["--upscale"], ["--hires", "2x", "--enlarger"]])
@pytest.mark.parametrize("kind", ["nowhere", "painter", "file"])
def test_what_does_not_enlarge_is_refused_before_anything_is_painted(run, tmp_path, monkeypatch, options, kind):
    monkeypatch.setattr(FakeGraph, "__call__", lambda *_, **__: pytest.fail("painted"))
    if kind == "painter":
        light_copy(tmp_path / kind)
    elif kind == "file":
        (tmp_path / kind).write_text("no bundle")
    code, out, err = run(*FAKE, *options, kind, "-o", "a.png")
    assert (code, out, err.count("\n")) == (3, "", 1) and err.startswith("pleinair: ")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("options", [{"upscale": "twice"}, {"hires": 2.0, "enlarger": "twice"}])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_upscaler_that_returns_nan_makes_no_black_picture(twice, monkeypatch, options, number):
    monkeypatch.chdir(twice.parent)
    with pytest.raises(EngineError, match="NaN or infinity"):
        pleinair.load(engine=Altered("upscaler", lambda array: array * 0 + number)).generate(**QUICK, **options)


def with_a_hole(array):
    array[:, :, 5:9, 5:9] = np.nan
    return array


def test_nan_from_an_upscaler_is_one_line_and_no_file(run, twice, tmp_path, monkeypatch):
    monkeypatch.setattr("pleinair.engines.fake.FakeEngine", lambda: Altered("upscaler", with_a_hole))
    code, out, err = run(*FAKE, "--upscale", twice, "-o", "a.png")
    assert (code, out, err.count("\n")) == (EngineError.exit_code, "", 1) and "NaN" in err
    assert not (tmp_path / "a.png").exists()


def test_an_upscaler_of_another_scale_than_it_says(twice):
    with pytest.raises(BundleError, match="not 2 times"):
        pleinair.load(engine=Altered("upscaler", lambda array: array[:, :, ::2, ::2])).generate(**QUICK, upscale=twice)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_decoder_that_overflows_makes_no_white_picture(number):
    with pytest.raises(EngineError, match="NaN or infinity when decoding"):
        pleinair.load(engine=Altered("vae_decoder", lambda array: array + number)).generate(**QUICK)
