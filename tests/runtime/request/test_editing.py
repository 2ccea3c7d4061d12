"""Models that edit pictures: what a request to them is, on the fake engine."""

import numpy as np
import pytest

import pleinair
from bundles import light_copy, light_edit_copy
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError, RequestError

JOB = {"seed": 1, "steps": 3, "image": np.full((64, 64, 3), 200, np.uint8)}


@pytest.fixture
def seen():
    return []


@pytest.fixture
def editor(tmp_path, seen):
    engine = FakeEngine(lambda graph, inputs: seen.append(inputs["sample"]) if graph == "unet" else None)
    return pleinair.load(light_edit_copy(tmp_path / "editor"), engine=engine)


def test_the_network_is_shown_the_picture_in_two_rows_of_three(editor, seen):
    result = editor.generate("make it night", **JOB)
    assert result.settings["task"] == "edit" and result.settings["image_guidance"] == 1.5 and not result.warnings
    assert len(seen) == 3 and seen[0].shape[:2] == (3, 8)
    shown = seen[0][:, 4:]
    assert not shown[0].any() and shown[1].any() and np.array_equal(shown[1], shown[2])


def test_how_strictly_a_picture_is_kept_to_matters_and_is_recorded(editor):
    usual, strict = (editor.generate("make it night", **JOB, image_guidance=scale) for scale in (None, 4))
    assert strict.settings["image_guidance"] == 4 and not np.array_equal(usual.latents, strict.latents)


def test_it_walks_all_the_way_whatever_strength_is_asked_for(editor):
    usual, asked = (editor.generate("make it night", **JOB, strength=strength) for strength in (None, 0.4))
    assert np.array_equal(usual.latents, asked.latents)
    assert any("'strength' has no effect" in warning for warning in asked.warnings)


@pytest.mark.parametrize("given", [{}, {"image": JOB["image"], "mask": np.full((64, 64), 255, np.uint8)}])
def test_what_it_cannot_do_is_refused(editor, given):
    with pytest.raises(BundleError, match="can do edit, but not"):
        editor.generate("a boat", **given)


def test_other_models_edit_nothing(tmp_path):
    pipe = pleinair.load(light_copy(tmp_path / "copy"), engine="fake")
    warnings = pipe.generate("a boat", image=JOB["image"], seed=1, steps=2, image_guidance=2).warnings
    assert warnings == (
        f"'image_guidance' has no effect, because '{pipe.bundle.manifest.name}' edits no pictures; leave it out",
    )
    with pytest.raises(RequestError, match="image_guidance 0.5 is out of range"):
        pipe.generate("a boat", image_guidance=0.5)
