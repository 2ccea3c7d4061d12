"""Films: what is in the files, and how they fail."""

import threading
from itertools import product

import numpy as np
import pytest
from PIL import Image

from films import SUFFIXES, opened, painting, psnr
from pleinair.cli import app as cli
from pleinair.errors import EngineError, RequestError, ResourceError
from pleinair.files import film
from pleinair.files.found_texts import MAX_TEXT
from pleinair.files.xmp import gif_extension, mp4_box
from pleinair.system import install

SMALLEST = [suffix for suffix in SUFFIXES if suffix != ".mp4"]  # two pixels are the least that yuv420p holds


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_holds_the_frames_and_their_times(tmp_path, suffix):
    frames = [painting(place) for place in range(5)]
    file = film.save(iter(frames), tmp_path / f"f{suffix}", 0.1, hold=1.0)
    found, seconds = opened(file)
    assert [frame.size for frame in found] == [(48, 40)] * 5
    assert min(psnr(a, b) for a, b in zip(frames, found, strict=True)) > {".gif": 33, ".webp": 33}.get(suffix, 28)
    assert seconds == pytest.approx([0.1, 0.1, 0.1, 0.1, 1.1], abs=0.0021)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", [".png", ".apng"])
def test_apng_is_exact(tmp_path, suffix):
    frames = [painting(place) for place in range(3)]
    found, _ = opened(film.save(frames, tmp_path / f"f{suffix}"))
    assert all(psnr(a, b) == np.inf for a, b in zip(frames, found, strict=True))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_films_repeat(tmp_path, suffix):
    with Image.open(film.save([painting(0), painting(1)], tmp_path / f"f{suffix}")) as picture:
        assert picture.info["loop"] == 0


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("seconds", [0.03, 1 / 3])
def test_rounding_of_times_does_not_add_up(tmp_path, suffix, seconds):
    _, found = opened(film.save([painting(place, (16, 16)) for place in range(30)], tmp_path / f"f{suffix}", seconds))
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

        for place in range(20):
            frame = painting(place, (32, 32))
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
        ("f.gif", [painting(0)], [0.1, 0.2], "0.1"),
    ],
)
def test_bad_requests_say_the_remedy(tmp_path, name, frames, seconds, words):
    with pytest.raises(RequestError, match=words):
        film.save(frames, tmp_path / name, seconds)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(install.PARTS, "MP4 films", (("no_such_package",), 'pip install "pleinair[video]"'))
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


GIF = b"GIF89a" + bytes([1, 0, 1, 0, 0x70, 0, 0])
MP4 = b"\0\0\0\x14ftypisom\0\0\0\0isom"
HOSTILE = {
    "gif start": GIF[:6],
    "gif cut in its palette": GIF[:10] + b"\xf7",
    "gif of empty blocks": GIF + b"\x21\xff\0" * 99_999,
    "gif of small blocks": GIF + b"\x21\xfe" + b"\1\1" * 2_000_000,
    "gif of extensions": GIF + b"\x21\xff\x0bXMP DataXM",
    "gif with a cut packet": GIF + b"\x21\xff\x0bXMP DataXMP<x>",
    "gif with a huge packet": GIF + gif_extension(b" " * (MAX_TEXT + 1)),
    "gif with odd bytes": GIF + gif_extension(b"<pleinair:settings>\xc3\x28</pleinair:settings>"),
    "mp4 start": MP4,
    "mp4 with an empty box": MP4 + bytes(8),
    "mp4 with a huge box": MP4 + b"\0\0\0\1mdat" + b"\xff" * 8 + b"more",
    "mp4 with a tiny box": MP4 + b"\0\0\0\1mdat" + b"\0" * 7 + b"\x02",
    "mp4 with a negative box": MP4 + b"\0\0\0\x0c" + mp4_box(b"x" * 20)[4:],
    "mp4 with a cut box": MP4 + mp4_box(b"x" * 200)[:-9],
    "mp4 with a huge packet": MP4 + mp4_box(b" " * (MAX_TEXT + 1)),
    "mp4 of boxes": MP4 + b"\0\0\0\x08free" * 99_999,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_films_are_one_line(tmp_path, capsys, name):
    (tmp_path / "f").write_bytes(HOSTILE[name])
    for command in ("metadata", "rerun"):
        assert cli.run([command, str(tmp_path / "f")]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and "no record" in err


@pytest.mark.parametrize("seconds", ["0.1", np.float32(0.25), np.array(0.5)])
def test_seconds_are_numbers_of_every_kind(tmp_path, seconds):
    assert len(opened(film.save([painting(0), painting(1)], tmp_path / "f.gif", seconds))[0]) == 2


def test_films_from_two_threads(tmp_path):
    names = [tmp_path / f"{place}.gif" for place in range(2)]
    threads = [threading.Thread(target=film.save, args=([painting(p) for p in range(9)], name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names[0].read_bytes() == names[1].read_bytes()
