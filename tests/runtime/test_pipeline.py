"""The flow, on the fake engine: seeds, batches, cancelling, settings, warnings."""

import ast
import inspect
import json
import re

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import light_copy, seal
from engines import Altered, Closed, Witness
from pleinair.bundle.opening import open_bundle
from pleinair.errors import EngineError, RequestError, ResourceError
from pleinair.files.metadata import read_record
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.request import resolve


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def test_a_picture_for_every_seed_whatever_the_batch(pipe):
    one_by_one = pipe.generate("a red house", steps=3, seed=5, count=5)
    in_batches = pipe.generate("a red house", steps=3, seed=5, count=5, batch=2)
    assert one_by_one.seeds == (5, 6, 7, 8, 9)
    assert len(one_by_one.images) == 5
    np.testing.assert_allclose(one_by_one.latents, in_batches.latents, atol=1e-5)
    alone = pipe.generate("a red house", steps=3, seed=8)
    assert np.array_equal(alone.pixels[0], one_by_one.pixels[3])


def test_the_same_request_gives_the_same_bytes(pipe):
    first, second = (pipe.generate("a boat", seed=1, sampler="euler_a").pixels.tobytes() for _ in range(2))
    assert first == second


def test_prompt_negative_guidance_and_seed_each_change_the_picture(pipe):
    base = {"prompt": "a boat", "seed": 1, "steps": 3, "guidance": 5.0}
    pictures = [
        pipe.generate(**{**base, **change}).pixels.tobytes()
        for change in ({}, {"prompt": "a cat"}, {"negative": "blue"}, {"guidance": 1.0}, {"guidance": 9.0}, {"seed": 2})
    ]
    assert len(set(pictures)) == len(pictures)


def test_guidance_of_one_or_less_ignores_the_negative_prompt(pipe):
    one, other = (
        pipe.generate("a boat", negative, seed=1, steps=2, guidance=1.0).pixels.tobytes() for negative in ("", "blue")
    )
    assert one == other


def test_stream_shows_every_step_and_each_batch_ends_with_its_result(pipe):
    frames = list(pipe.stream("a red house", seed=[3, 9, 4], batch=2, steps=4))
    assert [(frame.step, frame.seeds, frame.result is not None) for frame in frames] == [
        *((step, (3, 9), False) for step in (1, 2, 3, 4)),
        (4, (3, 9), True),
        *((step, (4,), False) for step in (1, 2, 3, 4)),
        (4, (4,), True),
    ]
    assert frames[4].result.seeds == (3, 9) and len(frames[4].result.images) == 2
    assert len(frames[0].preview()) == 2
    assert frames[0].preview()[0].size == frames[-1].result.images[0].size


def test_leaving_the_loop_cancels_and_the_pipeline_goes_on(pipe):
    before = pipe.generate("a red house", seed=1, steps=5).pixels
    for frame in pipe.stream("a red house", seed=1, steps=5):
        if frame.step == 2:
            break
    assert np.array_equal(before, pipe.generate("a red house", seed=1, steps=5).pixels)


def test_sizes_that_are_not_square(pipe):
    result = pipe.generate("a red house", width=136, height=72, steps=2, seed=1)
    assert result.pixels.shape == (1, 72, 136, 3) and result.latents.shape == (1, 4, 9, 17)
    assert result.images[0].size == (136, 72)
    assert result.pixels.dtype == np.float32 and 0 <= result.pixels.min() <= result.pixels.max() <= 1


def test_settings_are_resolved_and_name_nothing_of_this_machine(pipe):
    settings = pipe.generate("a red house", steps=2, seed=1, spacing="trailing,karras").settings
    assert settings["spacing"] == "trailing,karras"
    assert settings["sampler"] == pipe.bundle.manifest.defaults.sampler
    assert settings["width"] == pipe.bundle.manifest.defaults.width
    assert settings["model"] == "storybook" and settings["engine"] == "fake"
    assert not any("/" in str(value) for value in settings.values())


def test_long_prompts_are_read_to_their_end(pipe):
    long = "a red house " * 60
    results = [pipe.generate(prompt, steps=1, seed=1) for prompt in (long, long + "with a kitten")]
    assert not np.array_equal(*(result.pixels for result in results))
    assert not any(result.warnings for result in results)


def test_a_prompt_that_changes_halfway_paints_neither_of_its_ends(pipe):
    both, start, end = (pipe.generate(p, steps=4, seed=1).pixels for p in ("[cat:dog:0.5]", "cat", "dog"))
    assert not np.array_equal(both, start) and not np.array_equal(both, end)
    assert np.array_equal(pipe.generate("[cat:dog:4]", steps=4, seed=1).pixels, start)


def test_parts_joined_by_and_are_weighed(pipe):
    base = {"steps": 2, "seed": 1, "guidance": 4.0}
    both, less = (pipe.generate(p, **base).pixels for p in ("cat AND dog", "cat AND dog:0.5"))
    assert not np.array_equal(both, less)
    weightless = pipe.generate("cat AND dog:0", **base).pixels
    np.testing.assert_allclose(weightless, pipe.generate("cat", **base).pixels, atol=1e-5)
    np.testing.assert_allclose(both, pipe.generate("cat AND dog", **base, count=2, batch=2).pixels[:1], atol=1e-5)


def test_nothing_malformed_becomes_nan(pipe):
    for prompt in ("(a:1e9)", "(a:99999999999999)", "(" * 9_000 + "a", "(a:-1) (b:0)", "a AND b:999999999"):
        result = pipe.generate(prompt, steps=1, seed=1)
        assert np.isfinite(result.latents).all() and result.warnings or prompt.startswith("(a:-1)")


@pytest.mark.parametrize("prompt", ["", " ", "\n", "\0", "ünïcödé 家 🏠", "x" * 10_000, "(((", "<|endoftext|> a"])
def test_any_text_is_a_prompt(pipe, prompt):
    assert np.isfinite(pipe.generate(prompt, steps=1, seed=1).latents).all()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"width": 100}, "nearest is"),
        ({"width": 0}, "width 0"),
        ({"height": -8}, "height -8"),
        ({"width": 1 << 20}, "4096"),
        ({"width": 64.5}, "whole number"),
        ({"steps": 0}, "1 to 1000"),
        ({"steps": 100_000}, "1 to 1000"),
        ({"steps": None, "guidance": float("nan")}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": "strong"}, "guidance"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"seed": (1 << 64) - 1, "count": 2}, "seed"),
        ({"seed": []}, "empty"),
        ({"seed": [1, 2], "count": 5}, "contradict"),
        ({"guidance": 10**400}, "guidance"),
        ({"spacing": 5}, "spacing"),
        ({"spacing": ","}, "choose from"),
        ({"seed": "x"}, "whole number"),
        ({"count": 0}, "count"),
        ({"batch": 0}, "batch"),
        ({"sampler": "dpm++2mm"}, "did you mean 'dpmpp_2m'"),
        ({"sampler": "Eular"}, "did you mean 'euler'"),
        ({"sampler": "quantum"}, "choose from"),
        ({"spacing": "karas"}, "choose from"),
        ({"prompt": b"bytes"}, "string"),
        ({"prompt": "\ud800"}, "UTF-8"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_loaded(wrong, message):
    pipe = pleinair.load(engine=Closed())
    with pytest.raises(RequestError) as caught:
        pipe.stream(**{"prompt": "a house", **wrong})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_that_are_not_finite_never_become_a_black_picture():
    factors = iter([1, 1, np.nan])
    pipe = pleinair.load(engine=Altered("unet", lambda array: array * next(factors)))
    with pytest.raises(EngineError, match="at step 3 of 5"):
        pipe.generate("a house", seed=1, steps=5)


def test_a_decoder_that_returns_nan_is_no_black_picture():
    pipe = pleinair.load(engine=Altered("vae_decoder", lambda array: array * np.nan))
    with pytest.raises(EngineError, match="when decoding"):
        pipe.generate("a house", seed=1, steps=2)


def test_graphs_are_loaded_for_their_shapes_before_they_are_asked():
    """Or the seconds of compiling them would count as those of encoding, painting or decoding."""
    engine, image = Witness(), Image.new("RGB", (96, 128), "navy")
    job = {"image": image, "width": 96, "height": 128, "hires": 1.5, "enlarger": "lanczos", "vae_tile": 64}
    pleinair.load(engine=engine).generate("a red house", seed=1, steps=3, batch=2, count=3, **job)
    assert engine.called == {"text_encoder", "unet", "vae_encoder", "vae_decoder"} and not engine.unprepared


def test_settings_without_effect_are_said(pipe):
    for passes in ({}, {"hires": 1.125}):
        (warning,) = pipe.generate("a boat", "a cat", seed=1, steps=2, guidance=1.0, **passes).warnings
        assert "negative prompt has no effect" in warning


def test_scheduler_settings_that_are_not_followed_are_said(tmp_path):
    folder = light_copy(tmp_path / "copy")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "timestep_type": "continuous"}))
    seal(folder)
    (warning,) = pleinair.load(folder, engine="fake").generate("a boat", seed=1, steps=1).warnings
    assert "timestep_type" in warning
    assert not pleinair.load(folder, engine="fake").generate("a boat", seed=1, steps=1, sampler="euler").warnings


@pytest.mark.parametrize("threads", [0, -1, 5000, "two", True])
def test_absurd_thread_counts_are_refused(threads):
    with pytest.raises(RequestError, match="threads"):
        pleinair.load(threads=threads)


def test_unknown_engines_and_devices_are_named():
    with pytest.raises(RequestError, match="openvino, onnx"):
        pleinair.load(engine="cuda")
    with pytest.raises(RequestError, match="choose from"):
        pleinair.load(engine="openvino", device="tpu").generate("a house")


def test_thresholding_is_followed_where_the_scheduler_config_asks_for_it(tmp_path):
    folder = light_copy(tmp_path / "copy")
    config = folder / "scheduler" / "scheduler_config.json"
    asked = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
    config.write_text(json.dumps({**json.loads(config.read_text()), **asked}))
    seal(folder)
    followed = resolve(open_bundle(folder), "a boat").guidance
    assert (followed.threshold, followed.ceiling) == (0.9, 1.5)
    assert (
        resolve(open_bundle(folder), "a boat", sampler="euler").guidance.threshold is None
    )  # Euler's class has no such key
    assert resolve(open_bundle(folder), "a boat", threshold=0.99).guidance.ceiling is None


# ---- what the docstrings say ----

LISTED = re.compile(r"^(\w+) = (.*?)  ", re.M)  # an option and its default


@pytest.mark.parametrize("method", [pleinair.Pipeline.generate, pleinair.Pipeline.stream])
def test_docstrings_list_every_option_and_what_may_be_raised(method):
    text = inspect.getdoc(method)
    assert [name for name, _ in LISTED.findall(text)] == [name for name in OPTIONS if name not in PARAMETERS]
    raised = {"RequestError", "BundleError", "ResourceError", "EngineError", "Cancelled"}
    if method is pleinair.Pipeline.generate:
        assert all(name in text for name in raised)


INPAINTING = {"image": Image.new("RGB", (64, 64)), "mask": Image.new("L", (64, 64), 255)}
COMPANY = {  # what an option needs to have an effect
    **dict.fromkeys(("mask_blur", "fill", "only_masked", "restore"), INPAINTING),
    "padding": {**INPAINTING, "only_masked": True},
    **dict.fromkeys(("hires_strength", "hires_steps", "hires_sampler", "hires_spacing", "enlarger"), {"hires": 1.5}),
}


def test_a_default_that_the_docstrings_name_is_what_happens_without_it(pipe):
    for name, default in LISTED.findall(inspect.getdoc(pleinair.Pipeline.generate)):
        company, named = {"width": 64, "height": 64, **COMPANY.get(name, {})}, {name: ast.literal_eval(default)}
        requests = [resolve(pipe.bundle, "a boat", **company | given) for given in ({}, named)]
        silent, told = (pipe.settings(request, request.seeds) for request in requests)
        for settings in (silent, told):  # random unless asked for
            assert len(settings.pop("seeds")) == 1
        assert silent == told if name not in ("width", "height") else silent.keys() == told.keys(), name


# ---- results save themselves ----


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".npz"])
def test_a_result_saves_itself_as_the_command_line_does(pipe, tmp_path, suffix):
    result = pipe.generate("a boat", "fog", seed=5, count=3, steps=2)
    files = result.save(tmp_path / f"b{suffix}")
    names = ["b.npz"] if suffix == ".npz" else [f"b-{number}{suffix}" for number in (1, 2, 3)]
    assert [file.name for file in files] == names == sorted(path.name for path in tmp_path.iterdir())
    if suffix == ".npz":
        with np.load(files[0]) as arrays:
            assert arrays["images"].shape[0] == 3 and json.loads(str(arrays["settings"]))["seeds"] == [5, 6, 7]
    else:
        assert [read_record(file).ours["seed"] for file in files] == [5, 6, 7]


def test_one_picture_of_a_result_saves_itself(pipe, tmp_path):
    result = pipe.generate("a boat", seed=5, count=3, steps=2)
    (file,) = result.picture(-1).save(str(tmp_path / "last.png"))
    assert file == tmp_path / "last.png" and read_record(file).options()["seed"] == 7
    with Image.open(file) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(result.images[2]))
    assert result.picture(0).seeds == (5,) and result.picture(1).pixels.shape[0] == 1
    with pytest.raises(IndexError):
        result.picture(3)


def test_a_result_overwrites_nothing_unless_asked(pipe, tmp_path):
    result = pipe.generate("a boat", seed=5, count=2, steps=1)
    (tmp_path / "b-2.png").write_text("precious")
    with pytest.raises(ResourceError, match="overwrite=True"):
        result.save(tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["b-2.png"]
    assert len(result.save(tmp_path / "b.png", overwrite=True)) == 2 and read_record(tmp_path / "b-2.png").ours
    with pytest.raises(RequestError, match=".png"):
        result.save(tmp_path / "b.bmp")
    with pytest.raises(ResourceError, match="no folder"):
        result.save(tmp_path / "nowhere" / "b.png")


def test_a_result_saves_no_settings_where_none_are_wanted_and_says_what_has_no_room(pipe, tmp_path):
    long = "\U0001f6a4" * 8_500  # 4 bytes each, as EXIF has them
    result = pipe.generate(long, long, seed=5, steps=1, width=64, height=64)
    (bare,) = result.save(tmp_path / "bare.png", metadata=False)
    with pytest.raises(RequestError, match="no record"):
        read_record(bare)
    (said,) = result.no_room(tmp_path / "full.jpg")
    assert "64 KiB" in said and result.no_room(tmp_path / "full.png") == ()


def test_a_pipeline_gives_its_memory_back_at_the_end_of_a_with():
    opened = []
    with pleinair.load(engine="fake", on_load=opened.append) as pipe:
        first = pipe.generate("a boat", seed=1, steps=1)
        pipe.generate("a boat", seed=1, steps=1)
        assert opened == ["text_encoder", "vae_decoder", "unet"]  # in the order in which they are waited for
    assert np.array_equal(pipe.generate("a boat", seed=1, steps=1).pixels, first.pixels)
    assert opened == ["text_encoder", "vae_decoder", "unet"] * 2
    with pytest.raises(RequestError), pleinair.load(engine="fake") as pipe:
        pipe.generate("a boat", steps=0)


def test_a_scheduler_class_that_is_not_known_is_said(tmp_path):
    folder = light_copy(tmp_path / "copy")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": "KarrasVeScheduler"}))
    said = pleinair.load(seal(folder), engine="fake").generate("a red house", steps=2, sampler="euler").warnings
    assert [each for each in said if "'KarrasVeScheduler' is not known; painted with 'euler' instead" in each]
