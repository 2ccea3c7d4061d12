"""Files of every other kind than a file, wherever the command line takes one: a line each, and no waiting."""

import pytest
from PIL import Image

from every import every
from odd_files import circle, dangling, directory, pipe, sparse, zeros
from pleinair.cli import app as cli

PLACES = {
    "--model": ["generate", "a boat", "--model", "{}"],
    "--image": ["generate", "a boat", "--image", "{}"],
    "--mask": ["generate", "a boat", "--image", "picture.png", "--mask", "{}"],
    "--embedding": ["generate", "a boat", "--embedding", "{}"],
    "--prompts": ["generate", "--prompts", "{}", "-o", "out"],
    "--upscale": ["generate", "a boat", "--upscale", "{}"],
    "--enlarger": ["generate", "a boat", "--hires", "2x", "--enlarger", "{}"],
    "metadata": ["metadata", "{}"],
    "rerun": ["rerun", "{}"],
    "info": ["info", "{}"],
}


def noise(file):
    file.write_bytes(bytes(range(128, 256)) * 500)


def empty(file):
    file.touch()


KINDS = [pipe, zeros, sparse, directory, dangling, circle, noise, empty]
NAMES = {"plain": "x.png", "long": "n" * 400, "escapes": "\x1b[31mred\x07.png", "two lines": "a\nb.png"}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, place, name):
    arguments = [each.replace("{}", name) for each in PLACES[place]]
    code = cli.run([*arguments, *(["--engine", "fake"] if arguments[0] == "generate" else [])])
    out, err = capsys.readouterr()
    assert code in (2, 3, 4, 7) and out == "", (code, out, err)
    lines = err.splitlines()
    assert lines and all(line.startswith("pleinair: ") and line.isprintable() for line in lines), err
    assert max(map(len, lines)) < 800, err


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file(capsys, tmp_path, place):
    Image.new("RGB", (64, 64)).save("picture.png")
    suffix = ".safetensors" if place == "--embedding" else ".png"
    names = {kind.__name__: kind.__name__ + suffix for kind in KINDS}
    for kind in KINDS:
        kind(tmp_path / names[kind.__name__])
    every({kind: (capsys, place, name) for kind, name in names.items()}, refused)


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_nothing(capsys, place):
    Image.new("RGB", (64, 64)).save("picture.png")
    every({kind: (capsys, place, name) for kind, name in NAMES.items()}, refused)
