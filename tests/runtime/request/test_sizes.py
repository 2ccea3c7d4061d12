"""Sizes that a model has no places for are refused before anything is loaded."""

import pytest
from PIL import Image

import pleinair
from bundles import edit_manifest, light_copy
from pleinair.engines.fake import FakeEngine
from pleinair.errors import RequestError


@pytest.fixture
def pipe(tmp_path):
    folder = light_copy(tmp_path / "placed")
    edit_manifest(folder, lambda raw: raw["latents"].update(longest=160))
    return pleinair.load(folder, engine=FakeEngine(unasked))


def unasked(graph, given):
    raise AssertionError(f"{graph} was asked")


@pytest.mark.parametrize(
    "asked, what",
    [
        ({"width": 168}, "width 168 is more than the model has positions for; choose 160 at most"),
        ({"height": 1024}, "height 1024 is more"),
        ({"hires": 1.5}, "hires side 192 is more"),
        ({"image": Image.new("RGB", (96, 96)), "outpaint": (0, 0, 96, 0)}, "width 192 is more"),
    ],
)
def test_what_a_model_cannot_place_is_refused(pipe, asked, what):
    with pytest.raises(RequestError, match=what):
        pipe.generate("a red house", steps=1, **asked)


def test_a_long_picture_is_painted_as_long_as_can_be(tmp_path):
    folder = light_copy(tmp_path / "placed")
    edit_manifest(folder, lambda raw: raw["latents"].update(longest=160))
    long = Image.new("RGB", (400, 100))
    result = pleinair.load(folder, engine=FakeEngine()).generate("a red house", steps=2, image=long, strength=0.9)
    assert result.images[0].size == (160, 64)
