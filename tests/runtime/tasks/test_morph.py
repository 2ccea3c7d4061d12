"""Walks through latent space: exact keyframes, steady noise, frames where the picture changes."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import pleinair
from engines import Closed
from pairwise import all_pairs
from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files.metadata import read_record
from pleinair.network.guidance import Guide
from pleinair.sampling.noise import TorchNoise
from pleinair.tasks import mixing, morph

HOUSE, BOAT = "a red house on a snowy hill at night", "a blue boat on the sea at sunset"


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def pictures(pipe, *arguments, **options):
    return [frame.result for frame in morph.morph(pipe, *arguments, **options) if frame.result]


@pytest.mark.parametrize(
    "ease, sampler, frames",
    all_pairs(["linear", "smooth", "even"], ["euler", "euler_a", "dpmpp_2m_sde"], [3, 4, 9]),
)
def test_keyframes_are_what_generate_makes(pipe, ease, sampler, frames):
    prompts, seeds = ["a house", "a boat", "a cat"], [1, 2, 2]
    options = {"steps": 3, "sampler": sampler, "width": 64, "height": 64}
    found = pictures(pipe, prompts, "fog", seeds=seeds, frames=frames, ease=ease, **options)
    exact = [pipe.generate(prompt, "fog", seed=seed, **options) for prompt, seed in zip(prompts, seeds, strict=True)]
    assert len(found) == frames
    for place, one in zip((0, round((frames - 1) / 2), frames - 1), exact, strict=True):
        assert np.array_equal(found[place].pixels, one.pixels)
        assert np.array_equal(found[place].latents, one.latents)
        assert found[place].settings == one.settings


@pytest.mark.parametrize("frames", [1, 2, 3, 12])
def test_there_are_as_many_frames_as_asked_for(pipe, frames):
    for loop in (False, True):
        for ease in ("linear", "even"):
            if frames < 2:
                with pytest.raises(RequestError, match="2 to"):
                    pictures(pipe, ["a", "b"], frames=frames, loop=loop, ease=ease)
            else:
                assert len(pictures(pipe, ["a", "b"], frames=frames, loop=loop, ease=ease, steps=1)) == frames


def test_a_loop_comes_back_and_stops_a_frame_before_the_start(pipe):
    found = pictures(pipe, ["a", "b"], seeds=[1, 2], frames=8, loop=True, ease="linear", steps=2)
    for there, back in zip(found[1:4], found[:4:-1], strict=True):
        np.testing.assert_allclose(there.latents, back.latents, atol=1e-4)
    assert not np.array_equal(found[0].pixels, found[-1].pixels)


def test_every_step_is_passed_on_and_results_are_in_order(pipe):
    frames = list(morph.morph(pipe, ["a", "b"], frames=6, steps=4))
    assert sum(frame.result is None for frame in frames) == 24
    latents = [frame.result.latents for frame in frames if frame.result]
    steps = [np.abs(one - latents[0]).mean() for one in latents]
    assert steps == sorted(steps)


def test_one_seed_shares_all_noise_between_frames(pipe):
    """A stochastic sampler's new noise is the same in every frame, so that only the prompt moves the picture."""
    found = pictures(pipe, ["a", "b"], seeds=[5], frames=9, ease="linear", sampler="euler_a", steps=6)
    latents = np.concatenate([result.latents for result in found])
    changes = np.abs(np.diff(latents, axis=0)).mean((1, 2, 3))
    assert changes.max() < 1.5 * changes.min()
    assert changes.sum() == pytest.approx(np.abs(latents[-1] - latents[0]).mean(), rel=0.05)


def test_noise_between_seeds_keeps_its_variance():
    for share in (0.1, 0.5, 0.9):
        between = mixing.Between(TorchNoise(1), TorchNoise(2), share)
        for _ in range(3):
            noise = between.normal((4, 32, 32))
            assert noise.std() == pytest.approx(1, abs=0.04) and noise.dtype == np.float32


def test_smooth_is_slow_at_the_keyframes(pipe):
    def first_change(ease):
        found = pictures(pipe, ["a", "b"], seeds=[1], frames=11, ease=ease, steps=2)
        return np.abs(found[1].latents - found[0].latents).mean()

    assert first_change("smooth") < 0.5 * first_change("linear")
    assert morph.EASES["smooth"](0.5) == 0.5 and morph.EASES["smooth"](1) == 1


def jumping(pipe, monkeypatch, place, width):
    """A pipeline whose picture changes only around `place` of the walk; returns the shares it was asked for."""
    asked = []

    def frame_between(pipe, a, b, share):
        asked.append(share)
        *_, last = pipe.walk(a.request, guide=a.guide)
        value = int(255 * np.clip((share - place) / width + 0.5, 0, 1))
        yield replace(last, result=replace(last.result, images=[Image.new("RGB", (8, 8), (value,) * 3)]))

    monkeypatch.setattr(morph, "frame_between", frame_between)
    return asked


def test_even_frames_lie_where_the_picture_changes(pipe, monkeypatch):
    asked = jumping(pipe, monkeypatch, 0.3, 0.1)
    found = pictures(pipe, ["a", "b"], frames=21, steps=1, width=8, height=8)
    values = [result.images[0].getpixel((0, 0))[0] for result in found]
    assert values == sorted(values) and values[0] == 0 and values[-1] == 255
    assert len(asked) == 21  # no picture is painted that is not shown
    assert max(np.diff(values)) < 60  # a linear walk jumps by 128
    assert sum(0.2 < share < 0.4 for share in asked) >= 8


def test_a_jump_does_not_swallow_an_even_film(pipe, monkeypatch):
    asked = jumping(pipe, monkeypatch, 0.3, 1e-9)
    pictures(pipe, ["a", "b"], frames=21, steps=1, width=8, height=8)
    assert min(np.diff(sorted(set(asked)))) >= 1 / (20 * morph.FINEST) / 2
    assert sum(share > 0.5 for share in asked) >= 4


def attention(query, text):
    scores = np.exp(query @ text.T)
    return scores / scores.sum(1, keepdims=True) @ text


def test_texts_of_different_length_are_repeated_which_attention_does_not_notice():
    random = np.random.default_rng(1)
    a, b = (random.normal(size=(1, 77 * chunks, 8)).astype(np.float32) for chunks in (2, 3))
    long_a, long_b = mixing.alike(a, b)
    assert long_a.shape == long_b.shape == (1, 77 * 6, 8)
    query = random.normal(size=(5, 8))
    np.testing.assert_allclose(attention(query, long_a[0]), attention(query, a[0]), atol=1e-6)
    np.testing.assert_allclose(attention(query, long_b[0]), attention(query, b[0]), atol=1e-6)


def test_guides_are_mixed_part_by_part():
    zeros = {"text": np.zeros((1, 77, 4), np.float32), "pooled": np.zeros((1, 6), np.float32)}
    ones = {"text": np.ones((1, 154, 4), np.float32), "pooled": np.ones((1, 6), np.float32)}
    middle = mixing.mixed(Guide((zeros, zeros), (1.0, 0.5), zeros), Guide((ones, ones), (2.0, 1.5), ones), 0.25)
    assert len(middle.parts) == 2 and middle.weights == (1.25, 0.75)
    for told in (*middle.parts, middle.negative):
        assert told["text"].shape == (1, 154, 4) and told["pooled"].shape == (1, 6)
        assert all((array == 0.25).all() and array.dtype == np.float32 for array in told.values())


def test_prompts_of_different_numbers_of_parts_are_refused(pipe):
    with pytest.raises(RequestError, match="2 and 1 parts.*AND"):
        pictures(pipe, ["a AND b", "c"], frames=3)
    assert len(pictures(pipe, ["a AND b", "c AND d :0.5"], frames=3, steps=1)) == 3


def test_prompts_of_different_length_and_schedules_are_mixed(pipe):
    prompts = ["a house " * 100, "[a boat:a cat:0.5]", "a dog"]
    options = {"steps": 4, "width": 64, "height": 64}
    found = pictures(pipe, prompts, seeds=[3], frames=5, ease="linear", **options)
    for place, prompt in zip((0, 2, 4), prompts, strict=True):
        assert np.array_equal(found[place].latents, pipe.generate(prompt, seed=3, **options).latents)


def test_warnings_about_a_prompt_are_passed_on(pipe):
    found = pictures(pipe, ["a (house", "a boat"], frames=3, steps=1)
    assert set(pipe.generate("a (house", steps=1).warnings) <= set(found[0].warnings) != set()


def test_latents_of_two_pictures_keep_their_contrast():
    random = np.random.default_rng(1)
    a, b = (random.normal(3, 2, (1, 4, 16, 16)).astype(np.float32) for _ in range(2))
    middle = mixing.mixed_latents(a, b, 0.5)
    assert middle.std((2, 3)) == pytest.approx((a.std((2, 3)) + b.std((2, 3))) / 2, rel=1e-3)
    np.testing.assert_allclose(mixing.mixed_latents(a, a, 0.5), a, atol=1e-5)


def drawn(colour, size=(64, 64)):
    ramp = np.linspace(0, 1, size[0] * size[1]).reshape(size[1], size[0], 1)
    return Image.fromarray((ramp * np.array(colour)).astype(np.uint8))


@pytest.mark.parametrize(
    "options", [{}, {"subseed": 9, "subseed_strength": 0.3}, {"strength": 1.0}, {"noise": "philox"}]
)
def test_ends_that_start_from_pictures_are_what_generate_makes(pipe, options):
    images = [drawn((255, 40, 90)), drawn((10, 200, 250), (96, 64))]
    options = {"steps": 5, "sampler": "euler_a", "width": 64, "height": 64, **options}
    found = pictures(pipe, ["a boat"], seeds=[1, 2], images=images, frames=5, ease="linear", **options)
    for place, image, seed in ((0, images[0], 1), (-1, images[1], 2)):
        exact = pipe.generate("a boat", image=image, seed=seed, **options)
        assert np.array_equal(found[place].pixels, exact.pixels)
    latents = [result.latents for result in found]
    distances = [np.abs(one - latents[0]).mean() for one in latents]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    "prompts, options, words",
    [
        (["a"], {}, "two keyframes"),
        ([], {"seeds": [1, 2]}, "0 prompts"),
        (["a", "b"], {"seeds": [1, 2, 3]}, "2 prompts do not fit 3"),
        (["a", "b", "c"], {"seeds": [1, 2]}, "2 seeds do not fit 3"),
        (["a", "b"], {"frames": 1}, "2 to"),
        (["a", "b"], {"frames": 10**9}, "10000"),
        (["a", "b"], {"ease": "smoth"}, "did you mean 'smooth'"),
        (["a", "b"], {"seed": 1}, "--seeds"),
        (["a", "b"], {"count": 3}, "--seeds"),
        (["a", "b"], {"seeds": [1, [2]]}, "whole number"),
        (["a", "b"], {"hires": 2}, "hires"),
        (["a"], {"images": ["no/such.png", "b.png"]}, "no/such.png"),
        (["a", "b"], {"strength": 0.5}, "image"),
        (["a", "b"], {"width": 100}, "multiple of 8"),
    ],
)
def test_bad_walks_are_refused_before_anything_is_loaded(prompts, options, words):
    pipe = pleinair.load(engine=Closed())
    with pytest.raises(RequestError, match=words):
        morph.morph(pipe, prompts, **options)


def test_cancelling_leaves_the_pipeline_usable(pipe):
    for frame in morph.morph(pipe, ["a", "b"], steps=3):
        if frame.step == 2:
            break
    assert len(pictures(pipe, ["a", "b"], frames=2, steps=1)) == 2


def test_storybook_walks_from_picture_to_picture():
    pipe = pleinair.load(engine="onnx", threads=1)
    small, unevenness = {"steps": 4, "width": 96, "height": 96}, {}
    for ease in ("linear", "even"):
        found = pictures(pipe, [HOUSE, BOAT], ease=ease, seeds=[1, 2], frames=8, **small)
        shown = [np.asarray(result.images[0].resize((32, 32)), float) for result in found]
        changes = np.array([np.sqrt(((a - b) ** 2).mean()) for a, b in pairwise(shown)])
        unevenness[ease] = changes.std() / changes.mean()
    for place, prompt, seed in ((0, HOUSE, 1), (-1, BOAT, 2)):
        exact = pipe.generate(prompt, seed=seed, **small)
        assert np.array_equal(found[place].pixels, exact.pixels)
    assert unevenness["even"] < 0.8 * unevenness["linear"]


FAKE = ["--engine", "fake", "--steps", "2", "--size", "64x64"]


def test_the_command_writes_a_film(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["morph", "a", "b", *FAKE, "--frames", "5", "--seconds", "1", "-o", "m.webp"]) == 0
    assert capsys.readouterr().out == "m.webp\n"
    with Image.open("m.webp") as picture:
        picture.load()
        assert picture.n_frames == 5 and picture.info["duration"] == 200
    assert cli.run(["morph", "a", "b", *FAKE, "-o", "m.webp"]) == 4
    assert "--force" in capsys.readouterr().err
    arguments = ["morph", "a", *FAKE, "--seeds", "3,4", "--frames", "4", "--ping-pong", "--json", "-o", "p.gif"]
    assert cli.run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["path"] == "p.gif" and report["frames"] == 6
    assert [settings["seeds"] for settings in report["settings"]] == [[3], [4]]
    with Image.open("p.gif") as picture:
        assert picture.n_frames == 6


@pytest.mark.parametrize(
    "frames, seconds, more, lasts",
    [(30, 0.4, [], 0.6), (12, 0.1, ["--ping-pong"], 0.44), (4, 1, [], 1), (3, 0.02, [], 0.06), (2, 1200, [], 1200)],
)
@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_film_lasts_as_long_as_it_says(tmp_path, monkeypatch, capsys, frames, seconds, more, lasts, suffix):
    monkeypatch.chdir(tmp_path)
    arguments = ["morph", "a", "b", "--engine", "fake", "--steps", "1", "--size", "8x8", "-o", f"m{suffix}", *more]
    arguments += ["--frames", str(frames), "--seconds", str(seconds), "--ease", "linear", "--json"]
    assert cli.run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    with Image.open(f"m{suffix}") as picture:
        shown = [
            (picture.seek(frame), picture.load(), picture.info["duration"])[2] for frame in range(picture.n_frames)
        ]
    assert (
        sum(shown) / 1000
        == pytest.approx(lasts)
        == report["seconds"]
        == read_record(f"m{suffix}").ours["morph"]["seconds"]
    )
    assert any("viewers" in warning for warning in report["warnings"]) == (lasts > seconds)


@pytest.mark.parametrize("name", ["m.webp", "m.png", "m.apng", "m.gif"])
def test_a_film_says_how_it_was_made(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "morph",
        "/a (house",
        "b",
        "c",
        "--negative",
        "fog",
        *FAKE,
        "--frames",
        "4",
        "--seconds",
        "2",
        "--loop",
    ]
    assert cli.run([*arguments, "--ease", "linear", "--seeds", "3,4,5", "-o", name]) == 0
    exact = pleinair.load(engine="fake").generate("/a (house", "fog", seed=3, steps=2, width=64, height=64)
    shape = {"frames": 4, "seconds": 2.0, "ease": "linear", "loop": True, "ping_pong": False}
    expected = {key: value for key, value in exact.settings.items() if key != "seeds"}
    walk = {"prompts": ["/a (house", "b", "c"], "seeds": [3, 4, 5], **shape}
    assert read_record(name).ours == {"format": 1, **expected, "seed": 3, "morph": walk}
    assert "morph" not in read_record(name).options() and read_record(name).warnings == ()
    capsys.readouterr()
    assert cli.run(["metadata", name]) == 0
    assert "/a (house, b, c" in capsys.readouterr().out
    assert cli.run(["rerun", name]) == 2
    assert "`pleinair morph`" in capsys.readouterr().err


def test_a_film_between_pictures_names_them_by_what_they_show(tmp_path, monkeypatch, pipe):
    monkeypatch.chdir(tmp_path)
    drawn((255, 40, 90)).save("one.png")
    drawn((10, 200, 250)).save("two.png")
    assert cli.run(["morph", "a", *FAKE, "--image", "one.png", "--image", "two.png", "--frames", "2"]) == 0
    digests = [
        pipe.generate("a", image=f"{name}.png", steps=2, width=64, height=64).settings["image_sha256"]
        for name in ("one", "two")
    ]
    walk = read_record("morph.gif").ours["morph"]
    assert walk["images_sha256"] == digests and len(set(digests)) == 2
    assert (
        walk["prompts"] == ["a", "a"] and walk["seeds"][0] == walk["seeds"][1] == read_record("morph.gif").ours["seed"]
    )


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif"])
def test_without_metadata_a_film_says_nothing(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    arguments = ["morph", "boat", "house", *FAKE, "--frames", "3", "--seeds", "1"]
    assert cli.run([*arguments, "--no-metadata", "-o", f"bare{suffix}"]) == 0
    for name in ("one", "two"):
        assert cli.run([*arguments, "-o", f"{name}{suffix}"]) == 0
    bare, one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("bare", "one", "two"))
    assert one == two and b"trainedAlgorithmicMedia" in one
    assert not any(word in bare for word in (b"boat", b"pleinair", b"trainedAlgorithmicMedia", b"EXIF"))


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["a"], 2, "two keyframes"),
        (["a", "b", "-o", "m.avi"], 2, ".gif"),
        (["a", "b", "--seeds", "1;2"], 2, "whole number"),
        (["a", "b", "--seconds", "nan"], 2, "seconds"),
        (["a", "b", "--seconds", "-1"], 2, "seconds"),
        (["a", "b", "--frames", "2", "--seconds", "1201"], 2, "1200"),
        (["a", "b", "--frames", "1"], 2, "frames"),
        (["a", "b", "-o", "no/such/m.gif"], 4, "create it"),
    ],
)
def test_bad_commands_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["morph", *FAKE, *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
    assert list(tmp_path.iterdir()) == []
