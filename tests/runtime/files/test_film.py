"""Films: what is in the files, how they fail, and how noise becomes a picture."""

import importlib.util
import json
import threading
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from PIL import Image

import pleinair
from pleinair.cli import app as cli
from pleinair.errors import EngineError, RequestError, ResourceError
from pleinair.files import film
from pleinair.files.embedded import MAX_TEXT, SOURCE_TYPE, gif_xmp, mp4_xmp
from pleinair.files.metadata import read
from pleinair.system import machine

WITH_AV = importlib.util.find_spec("av") is not None
SUFFIXES = [".gif", ".webp", ".png", ".apng", *([".mp4"] if WITH_AV else [])]  # the dev extra has av
SMALLEST = [suffix for suffix in SUFFIXES if suffix != ".mp4"]  # two pixels are the least that yuv420p holds


def painting(place, size=(48, 40)):
    """A soft picture of many colours, another for each place."""
    y, x = np.mgrid[: size[1], : size[0]] / max(size)
    bands = [np.sin(3 * x + place), np.cos(2 * y + place), np.sin(x + y + 2 * place)]
    return Image.fromarray((np.stack(bands, -1) * 100 + 128).astype(np.uint8))


def psnr(a, b):
    error = (np.asarray(a, float) - np.asarray(b.convert("RGB"), float)) ** 2
    return np.inf if not error.any() else 10 * np.log10(255**2 / error.mean())


def opened(file):
    """(frames, seconds each) of a written film."""
    if file.suffix == ".mp4":
        import av

        with av.open(str(file)) as container:
            found = list(container.decode(video=0))
            total = float(container.duration / Fraction(1_000_000))
        starts = found[::2]
        ends = [*(frame.time for frame in starts[1:]), total]
        return [frame.to_image() for frame in starts], [b - a.time for a, b in zip(starts, ends, strict=True)]
    with Image.open(file) as picture:
        frames, seconds = [], []
        for place in range(picture.n_frames):
            picture.seek(place)
            frames.append(picture.convert("RGB"))
            seconds.append(picture.info["duration"] / 1000)
    return frames, seconds


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_holds_the_frames_and_their_times(tmp_path, suffix):
    frames = [painting(place) for place in range(5)]
    file = film.save(iter(frames), tmp_path / f"f{suffix}", [0.1, 0.2, 0.05, 0.1, 0.1], hold=1.0)
    found, seconds = opened(file)
    assert [frame.size for frame in found] == [(48, 40)] * 5
    assert min(psnr(a, b) for a, b in zip(frames, found, strict=True)) > {".gif": 33, ".webp": 33}.get(suffix, 28)
    assert seconds == pytest.approx([0.1, 0.2, 0.05, 0.1, 1.1], abs=0.0021)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", [".png", ".apng"])
def test_apng_is_exact(tmp_path, suffix):
    frames = [painting(place) for place in range(3)]
    found, _ = opened(film.save(frames, tmp_path / f"f{suffix}"))
    assert all(psnr(a, b) == np.inf for a, b in zip(frames, found, strict=True))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_films_repeat_unless_told_otherwise(tmp_path, suffix):
    frames = [painting(0), painting(1)]
    with Image.open(film.save(frames, tmp_path / f"on{suffix}")) as picture:
        assert picture.info["loop"] == 0
    with Image.open(film.save(frames, tmp_path / f"off{suffix}", loop=False)) as picture:
        assert picture.info.get("loop", 1) == 1


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("seconds", [0.03, 1 / 3])
def test_rounding_of_times_does_not_add_up(tmp_path, suffix, seconds):
    _, found = opened(film.save([painting(place) for place in range(30)], tmp_path / f"f{suffix}", seconds))
    assert sum(found) == pytest.approx(30 * seconds, abs=0.011)


@pytest.mark.parametrize("suffix, size", [*product(SUFFIXES, [(2, 3), (33, 17)]), *product(SMALLEST, [(1, 1)])])
def test_odd_sizes_and_a_single_frame(tmp_path, suffix, size):
    with (
        Image.open(film.save([painting(0, size)], tmp_path / f"f{suffix}"))
        if suffix != ".mp4"
        else painting(0, opened(film.save([painting(0, size)], tmp_path / "f.mp4"))[0][0].size) as picture
    ):
        picture.load()
        assert picture.size == (size if suffix != ".mp4" else tuple(side // 2 * 2 for side in size))


def test_flat_and_transparent_frames(tmp_path):
    frames = [Image.new("L", (8, 8), 3), Image.new("RGBA", (8, 8), (255, 0, 0, 40)), painting(1, (8, 8)).convert("P")]
    found, _ = opened(film.save(frames, tmp_path / "f.gif"))
    assert len(found) == 3 and found[0].getpixel((0, 0)) == (3, 3, 3)


def test_frames_leave_memory_once_they_are_written(tmp_path):
    alive = []

    def frames():
        import weakref

        for place in range(40):
            frame = painting(place)
            alive.append(weakref.ref(frame))
            assert sum(ref() is not None for ref in alive) < 6
            yield frame

    for suffix in (".gif", ".webp", ".png"):
        film.save(frames(), tmp_path / f"f{suffix}")


def test_a_film_is_whole_or_absent(tmp_path):
    def broken():
        yield painting(0)
        yield painting(1)
        raise KeyboardInterrupt

    for suffix in (".gif", ".webp", ".png"):
        with pytest.raises(KeyboardInterrupt):
            film.save(broken(), tmp_path / f"f{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_without_being_told(tmp_path):
    file = tmp_path / "f.gif"
    file.write_text("precious")
    with pytest.raises(ResourceError, match="--force"):
        film.save([painting(0)], file)
    assert file.read_text() == "precious"
    film.save([painting(0)], file, overwrite=True)
    assert len(opened(file)[0]) == 1


@pytest.mark.parametrize(
    "name, frames, seconds, words",
    [
        ("f.avi", [painting(0)], 0.1, r"\.gif"),
        ("f", [painting(0)], 0.1, r"\.gif"),
        ("f.gif", [], 0.1, "at least one"),
        ("f.gif", [painting(0), painting(1, (8, 8))], 0.1, "8x8"),
        ("f.gif", [painting(0)], 0, "0.02"),
        ("f.gif", [painting(0)], float("nan"), "0.02"),
        ("f.gif", [painting(0)], "fast", "0.02"),
        ("f.gif", [painting(0), painting(1)], [0.1], "fewer seconds"),
    ],
)
def test_bad_requests_say_the_remedy(tmp_path, name, frames, seconds, words):
    with pytest.raises(RequestError, match=words):
        film.save(frames, tmp_path / name, seconds)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(machine.PARTS, "MP4 films", (("no_such_package",), 'pip install "pleinair[video]"'))
    with pytest.raises(EngineError, match=r"no_such_package.*pip install \"pleinair\[video\]\""):
        film.save([painting(0)], tmp_path / "f.mp4")
    assert list(tmp_path.iterdir()) == []


def test_ping_pong_has_no_frame_twice_at_the_turns():
    assert list(film.ping_pong("abcd")) == list("abcdcb")
    assert list(film.ping_pong("ab")) == list("ab") and list(film.ping_pong("a")) == ["a"]


def test_a_strip_reads_like_text():
    frames = [Image.new("RGB", (4, 2), (place, 0, 0)) for place in range(12)]
    sheet = film.strip(frames)
    assert sheet.size == (16, 6)
    assert [sheet.getpixel((4 * (place % 4), 2 * (place // 4)))[0] for place in range(12)] == list(range(12))
    assert film.strip(frames[:1]).size == (4, 2)
    with pytest.raises(RequestError):
        film.strip([])


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def recorded(pipe, folder, name, most=film.MOST, **options):
    frames = pipe.stream("a boat", **options)
    seeds = options["seed"] if isinstance(options["seed"], list) else [options["seed"]]
    return list(film.recorded(frames, film.planned_films(folder / name, seeds), most=most))


def test_recording_shows_every_step_and_ends_with_the_picture(pipe, tmp_path):
    frames = recorded(pipe, tmp_path, "f.apng", seed=1, steps=5)
    assert len(frames) == 6
    found, seconds = opened(tmp_path / "f.apng")
    assert len(found) == 6 and seconds[-1] == pytest.approx(film.HOLD + 0.1)
    assert psnr(frames[-1].result.images[0], found[-1]) == np.inf


@pytest.mark.parametrize("steps, most, count", [(5, 3, 3), (9, 9, 9), (9, 10, 10), (50, 7, 7), (1, 2, 2)])
def test_many_steps_are_thinned_out_evenly(pipe, tmp_path, steps, most, count):
    recorded(pipe, tmp_path, "f.apng", most=most, seed=1, steps=steps)
    assert len(opened(tmp_path / "f.apng")[0]) == count
    steps_shown = [step for step in range(1, steps + 1) if film.filmed(step, steps, most)]
    assert steps_shown[-1] == steps and len(steps_shown) == min(steps, most - 1)


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
    frames = pipe.stream("a boat", seed=1, steps=3)
    view = film.recorded(frames, [tmp_path / "f.gif"], view=lambda frame: [painting(frame.step, (16, 16))])
    assert [frame.size for frame in (list(view) and opened(tmp_path / "f.gif")[0])] == [(128, 128)] * 4


WORDS = 'a boat, "red" & <wide>, Möwe 船'
FILMS = [*SUFFIXES, ".jpg"]


def filmed(pipe, file, prompt=WORDS, metadata=True, **options):
    """A film of a picture of seed 7, which is returned."""
    options = {"seed": 7, "steps": 3, "width": 64, "height": 64, **options}
    *_, last = film.recorded(pipe.stream(prompt, "fog", **options), [file], metadata=metadata)
    return last.result


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_says_how_its_picture_was_made(pipe, tmp_path, suffix):
    file = tmp_path / f"f{suffix}"
    result = filmed(pipe, file)
    found = read(file)
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
        read(tmp_path / f"bare{suffix}")
    if suffix not in (".png", ".jpg"):
        (one, times), (other, same) = (opened(tmp_path / f"{name}{suffix}") for name in ("with", "bare"))
        assert times == same and [frame.tobytes() for frame in one] == [frame.tobytes() for frame in other]


def test_each_film_of_a_batch_has_its_own_seed(pipe, tmp_path):
    recorded(pipe, tmp_path, "f.gif", seed=[3, 1, 2], steps=2, batch=2)
    records = [read(tmp_path / f"f-{place}.gif").ours for place in (1, 2, 3)]
    assert [(ours["seed"], ours.get("batch_seeds")) for ours in records] == [(3, [3, 1]), (1, [3, 1]), (2, None)]


def test_a_strip_with_too_long_a_prompt_says_what_is_left_out(pipe, tmp_path):
    said = []
    long = "\U0001f6a4" * 8_500  # 4 bytes each, as EXIF has them
    frames = pipe.stream(long, long, seed=1, steps=1, width=64, height=64)
    list(film.recorded(frames, [tmp_path / "f.jpg"], warnings=said))
    assert len(said) == 1 and "64 KiB" in said[0]
    assert read(tmp_path / "f.jpg").prompt == long


@pytest.mark.parametrize("suffix", FILMS)
def test_rerun_refuses_a_film(pipe, tmp_path, capsys, suffix):
    file = tmp_path / f"f{suffix}"
    filmed(pipe, file)
    assert cli.run(["rerun", str(file), "--engine", "fake"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "is a film" in err and "pleinair generate --film" in err


GIF = b"GIF89a" + bytes([1, 0, 1, 0, 0x70, 0, 0])
MP4 = b"\0\0\0\x14ftypisom\0\0\0\0isom"
HOSTILE = {
    "gif start": GIF[:6],
    "gif cut in its palette": GIF[:10] + b"\xf7",
    "gif of empty blocks": GIF + b"\x21\xff\0" * 99_999,
    "gif of small blocks": GIF + b"\x21\xfe" + b"\1\1" * 2_000_000,
    "gif of extensions": GIF + b"\x21\xff\x0bXMP DataXM",
    "gif with a cut packet": GIF + b"\x21\xff\x0bXMP DataXMP<x>",
    "gif with a huge packet": GIF + gif_xmp(b" " * (MAX_TEXT + 1)),
    "gif with odd bytes": GIF + gif_xmp(b"<pleinair:settings>\xc3\x28</pleinair:settings>"),
    "mp4 start": MP4,
    "mp4 with an empty box": MP4 + bytes(8),
    "mp4 with a huge box": MP4 + b"\0\0\0\1mdat" + b"\xff" * 8 + b"more",
    "mp4 with a tiny box": MP4 + b"\0\0\0\1mdat" + b"\0" * 7 + b"\x02",
    "mp4 with a negative box": MP4 + b"\0\0\0\x0c" + mp4_xmp(b"x" * 20)[4:],
    "mp4 with a cut box": MP4 + mp4_xmp(b"x" * 200)[:-9],
    "mp4 with a huge packet": MP4 + mp4_xmp(b" " * (MAX_TEXT + 1)),
    "mp4 of boxes": MP4 + b"\0\0\0\x08free" * 99_999,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_films_are_one_line(tmp_path, capsys, name):
    (tmp_path / "f").write_bytes(HOSTILE[name])
    for command in ("metadata", "rerun"):
        assert cli.run([command, str(tmp_path / "f")]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and "no record" in err


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
            read(tmp_path / "damaged")
        except RequestError as error:
            assert "\n" not in str(error)


def test_leaving_early_writes_no_film(pipe, tmp_path):
    for frame in film.recorded(pipe.stream("a boat", seed=1, steps=5), [tmp_path / "f.gif"]):
        if frame.step == 3:
            break
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_passed_on_before_its_film_is_written(pipe, tmp_path):
    files = film.planned_films(tmp_path / "f.gif", [1, 2])
    for frame in film.recorded(pipe.stream("a boat", seed=[1, 2], steps=2), files):
        if frame.result:
            assert not files[frame.seeds[0] - 1].exists()
    assert all(file.exists() for file in files)


@pytest.mark.parametrize("seconds", ["0.1", np.float32(0.25), np.array(0.5), np.array([0.1, 0.2]), (1, "2")])
def test_seconds_are_numbers_of_every_kind(tmp_path, seconds):
    assert len(opened(film.save([painting(0), painting(1)], tmp_path / "f.gif", seconds))[0]) == 2


def test_films_from_two_threads(pipe, tmp_path):
    names = [tmp_path / f"{place}.gif" for place in range(2)]
    threads = [threading.Thread(target=film.save, args=([painting(p) for p in range(9)], name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names[0].read_bytes() == names[1].read_bytes()


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
