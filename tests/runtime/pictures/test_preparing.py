"""Pictures made ready for ControlNets, and the command that does it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from every import every
from pleinair.cli.app import run
from pleinair.errors import RequestError
from pleinair.pictures.preparing import PREPARERS, canny
from pleinair.request.controls import Control

GOLDEN = Path(__file__).parents[2] / "golden" / "canny.npz"
EDGES = ": edges"


def test_edges_are_those_of_opencv():
    """Pixel for pixel: flat and soft regions, ties between channels, noise, all directions, a single row."""
    with np.load(GOLDEN) as golden:
        pairs = {name: (golden[name], golden[name + EDGES]) for name in golden.files if name + EDGES in golden.files}

    def check(picture, expected):
        found = np.asarray(canny(Image.fromarray(picture)))
        assert found.shape == picture.shape and np.array_equal(found[:, :, 1] > 0, expected)

    assert len(pairs) == 9 and sum(expected.sum() for _, expected in pairs.values()) > 4000
    every(pairs, check)


def test_other_ways_to_prepare_a_picture():
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 256, (16, 24, 3)).astype(np.uint8))
    inverted, two, soft = (np.asarray(PREPARERS[how](picture)) for how in ("invert", "threshold", "blur"))
    assert np.array_equal(inverted, 255 - np.asarray(picture))
    assert set(np.unique(two)) == {0, 255} and np.array_equal(two[:, :, 0] > 0, np.asarray(picture.convert("L")) >= 128)
    assert soft.shape == inverted.shape and soft.std() < inverted.std() / 2
    with pytest.raises(RequestError, match="unknown way to prepare a picture 'cany'; did you mean 'canny'"):
        Control("bundle", picture, prepare="cany")


def test_a_command_prepares_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN) as golden:
        Image.fromarray(golden["disc"]).save("photo.png")
        edges = golden["disc" + EDGES]
    assert run(["prepare", "canny", "photo.png", "edges.png"]) == 0
    with Image.open("edges.png") as found:
        assert np.array_equal(np.asarray(found)[:, :, 0] > 0, edges)
    for more, words in {
        ("canny", "photo.png", "edges.png"): "exists",
        ("canny", "photo.png", "edges.jpg"): "keeps every pixel",
        ("depth", "photo.png", "other.png"): "unknown way to prepare a picture",
        ("canny", "absent.png", "other.png"): "absent.png",
    }.items():
        assert run(["prepare", *more]) != 0 and words in capsys.readouterr().err
