"""How noise becomes a picture, filmed: which steps are shown, what the file says, and what a film must not cost."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import pleinair
from films import SUFFIXES, opened, painting, psnr
from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files.film import planned_films
from pleinair.files.metadata import read_record
from pleinair.files.xmp import SOURCE_TYPE
from pleinair.tasks import filming


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def recorded(pipe, folder, name, **options):
    frames = pipe.stream("a boat", **options)
    seeds = options["seed"] if isinstance(options["seed"], list) else [options["seed"]]
    return list(filming.Filming(planned_films(folder / name, seeds)).through(frames))


def test_recording_shows_every_step_and_ends_with_the_picture(pipe, tmp_path):
    frames = recorded(pipe, tmp_path, "f.apng", seed=1, steps=5)
    assert len(frames) == 6
    found, seconds = opened(tmp_path / "f.apng")
    assert len(found) == 6 and seconds[-1] == pytest.approx(filming.HOLD + 0.1)
    assert psnr(frames[-1].result.images[0], found[-1]) == np.inf


@pytest.mark.parametrize("steps, count", [(1, 2), (59, 60), (60, 60), (100, 60)])
def test_many_steps_are_thinned_out_evenly(pipe, tmp_path, steps, count):
    recorded(pipe, tmp_path, "f.apng", seed=1, steps=steps, width=64, height=64)
    assert len(opened(tmp_path / "f.apng")[0]) == count


@pytest.mark.parametrize("steps", [1, 2, 58, 59, 60, 61, 118, 1000])
def test_the_last_step_is_always_filmed(steps):
    shown = [step for step in range(1, steps + 1) if filming.filmed(step, steps)]
    assert shown[-1] == steps and len(shown) == min(steps, filming.MOST - 1)


def test_each_seed_has_a_film_whatever_the_batch(pipe, tmp_path):
    for batch in (1, 2, 3):
        frames = recorded(pipe, tmp_path, f"b{batch}.apng", seed=[3, 1, 2], steps=3, batch=batch)
        images = [image for frame in frames if frame.result for image in frame.result.images]
        for place, image in enumerate(images, 1):
            found, _ = opened(tmp_path / f"b{batch}-{place}.apng")
            assert len(found) == 4 and psnr(image, found[-1]) == np.inf


@pytest.mark.parametrize("name", ["f.png", "f.jpg"])
def test_a_picture_suffix_makes_a_strip(pipe, tmp_path, name):
    recorded(pipe, tmp_path, name, seed=1, steps=5, width=64, height=64)
    with Image.open(tmp_path / name) as picture:
        assert picture.size == (64 * 3, 64 * 2) and getattr(picture, "n_frames", 1) == 1


def test_a_film_of_small_previews_has_the_size_of_the_picture(pipe, tmp_path):
    frames = pipe.stream("a boat", seed=1, steps=3, width=96, height=96)
    small = (replace(frame, preview=lambda: [painting(1, (16, 16))]) for frame in frames)
    assert list(filming.Filming([tmp_path / "f.gif"]).through(small))
    assert [frame.size for frame in opened(tmp_path / "f.gif")[0]] == [(96, 96)] * 4


WORDS = 'a boat, "red" & <wide>, Möwe 船'
FILMS = [*SUFFIXES, ".jpg"]


def filmed(pipe, file, prompt=WORDS, metadata=True, **options):
    """A film of a picture of seed 7, which is returned."""
    options = {"seed": 7, "steps": 3, "width": 64, "height": 64, **options}
    *_, last = filming.Filming([file], metadata=metadata).through(pipe.stream(prompt, "fog", **options))
    return last.result


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_says_how_its_picture_was_made(pipe, tmp_path, suffix):
    file = tmp_path / f"f{suffix}"
    result = filmed(pipe, file)
    found = read_record(file)
    expected = {name: value for name, value in result.settings.items() if name != "seeds"}
    assert found.ours == {"format": 1, **expected, "seed": 7, "film": {"frames": 4}}
    assert found.warnings == () and found.options()["seed"] == 7 and "film" not in found.options()
    assert SOURCE_TYPE.encode() in file.read_bytes()
    if suffix not in (".png", ".jpg"):
        frames, seconds = opened(file)
        assert len(frames) == 4 and seconds[-1] == pytest.approx(2.1, abs=0.01)


@pytest.mark.parametrize("suffix", [".webp", ".apng", ".png", ".jpg"])
def test_pillow_finds_the_record(pipe, tmp_path, suffix):
    filmed(pipe, tmp_path / f"f{suffix}")
    with Image.open(tmp_path / f"f{suffix}") as picture:
        picture.load()
        packet = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"]
        exif = picture.getexif().get_ifd(0x8769).get(0x9286, b"")
        text = picture.info.get("parameters") or exif[8:].decode("utf-16-be")
    assert SOURCE_TYPE in (packet if isinstance(packet, str) else packet.decode())
    assert text.startswith(f"{WORDS}\nNegative prompt: fog\nSteps: 3, ")


def test_readers_of_gif_blocks_get_past_the_record(pipe, tmp_path):
    filmed(pipe, tmp_path / "f.gif")
    data = (tmp_path / "f.gif").read_bytes()
    start = data.index(b"\x21\xff\x0bXMP DataXMP") + 14
    for place in range(start, data.index(b'end="r"?>') + 9):  # wherever a block of the packet seems to begin
        while data[place]:
            place += 1 + data[place]
        assert data[place + 1 : place + 4] == b"\x21\xf9\x04"


@pytest.mark.parametrize("suffix", FILMS)
def test_the_same_film_has_the_same_bytes(pipe, tmp_path, suffix):
    files = [tmp_path / f"{place}{suffix}" for place in range(2)]
    for file in files:
        filmed(pipe, file)
    data = files[0].read_bytes()
    assert data == files[1].read_bytes()
    assert str(tmp_path).encode() not in data and str(tmp_path).encode("utf-16-be") not in data


@pytest.mark.parametrize("suffix", FILMS)
def test_without_metadata_a_film_holds_nothing_but_pictures(pipe, tmp_path, suffix):
    filmed(pipe, tmp_path / f"with{suffix}")
    filmed(pipe, tmp_path / f"bare{suffix}", metadata=False)
    data = (tmp_path / f"bare{suffix}").read_bytes()
    for word in (b"trainedAlgorithmicMedia", b"pleinair", b"boat", b"xmp", b"Exif", b"EXIF"):
        assert word not in data
    with pytest.raises(RequestError, match="no record"):
        read_record(tmp_path / f"bare{suffix}")
    if suffix not in (".png", ".jpg"):
        (one, times), (other, same) = (opened(tmp_path / f"{name}{suffix}") for name in ("with", "bare"))
        assert times == same and [frame.tobytes() for frame in one] == [frame.tobytes() for frame in other]


def test_each_film_of_a_batch_has_its_own_seed(pipe, tmp_path):
    recorded(pipe, tmp_path, "f.gif", seed=[3, 1, 2], steps=2, batch=2)
    records = [read_record(tmp_path / f"f-{place}.gif").ours for place in (1, 2, 3)]
    assert [(ours["seed"], ours.get("batch_seeds")) for ours in records] == [(3, [3, 1]), (1, [3, 1]), (2, None)]


def test_a_strip_with_too_long_a_prompt_says_what_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    long = "\U0001f6a4" * 8_500  # 4 bytes each, as EXIF has them
    arguments = ["--engine", "fake", "--steps", "1", "--size", "64x64", "-o", "b.png", "--film", "f.jpg"]
    assert cli.run(["generate", long, "--negative", long, *arguments]) == 0
    assert capsys.readouterr().err.count("64 KiB") == 1
    assert read_record(tmp_path / "f.jpg").prompt == long


@pytest.mark.parametrize("suffix", FILMS)
def test_rerun_refuses_a_film(pipe, tmp_path, capsys, suffix):
    file = tmp_path / f"f{suffix}"
    filmed(pipe, file)
    assert cli.run(["rerun", str(file), "--engine", "fake"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "is a film" in err and "pleinair generate --film" in err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_films_are_read_or_refused(pipe, tmp_path, suffix):
    filmed(pipe, tmp_path / f"f{suffix}")
    whole, random = (tmp_path / f"f{suffix}").read_bytes(), np.random.default_rng(3)
    for turn in range(200):
        data = bytearray(whole)
        if turn % 2:
            del data[random.integers(len(data)) :]
        else:
            for place in random.integers(len(data), size=8):
                data[place] = random.integers(256)
        (tmp_path / "damaged").write_bytes(data)
        try:
            read_record(tmp_path / "damaged")
        except RequestError as error:
            assert "\n" not in str(error)


def test_leaving_early_writes_no_film(pipe, tmp_path):
    for frame in filming.Filming([tmp_path / "f.gif"]).through(pipe.stream("a boat", seed=1, steps=5)):
        if frame.step == 3:
            break
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_passed_on_before_its_film_is_written(pipe, tmp_path):
    files = planned_films(tmp_path / "f.gif", [1, 2])
    for frame in filming.Filming(files).through(pipe.stream("a boat", seed=[1, 2], steps=2)):
        if frame.result:
            assert not files[frame.seeds[0] - 1].exists()
    assert all(file.exists() for file in files)


def test_generate_with_a_film(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "a boat", "--engine", "fake", "--steps", "3", "-o", "b.png", "--film", "f.webp"]
    assert cli.run(arguments) == 0 and capsys.readouterr().out == "b.png\n"
    assert len(opened(tmp_path / "f.webp")[0]) == 4
    assert cli.run([*arguments, "-o", "c.png"]) == 4
    assert "f.webp" in capsys.readouterr().err and not (tmp_path / "c.png").exists()
    assert cli.run([*arguments[:-1], "f.avi", "-o", "c.png"]) == 2
    assert not (tmp_path / "c.png").exists()


def test_generate_names_its_films(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "a boat", "--engine", "fake", "--steps", "2", "--size", "64x64", "--json", "--seed", "5"]
    assert cli.run([*arguments, "--count", "2", "-o", "b.png", "--film", "f.gif"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["films"] == [{"path": "f-1.gif", "seed": 5}, {"path": "f-2.gif", "seed": 6}]
    assert cli.run(["metadata", "f-2.gif", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["options"]["seed"], found["settings"]["film"]) == ("GIF", 6, {"frames": 3})
    assert cli.run([*arguments, "-o", "c.png", "--film", "strip.png", "--no-metadata"]) == 0
    assert json.loads(capsys.readouterr().out)["films"] == [{"path": "strip.png", "seed": 5}]
    assert cli.run(["metadata", "strip.png"]) == 2 and "no record" in capsys.readouterr().err
