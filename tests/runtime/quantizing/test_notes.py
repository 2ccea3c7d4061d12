"""What is noted of a model that paints outlives an interruption, and damage to it is noticed."""

import json

import numpy as np
import pytest

from pleinair.quantizing.calibrating import DONE, done_before
from pleinair.quantizing.quantize import errors_before, tried_on
from pleinair.quantizing.watching import STATE, Call, Notes


@pytest.fixture
def kept(tmp_path):
    notes = Notes(tmp_path / "unet", 1)
    array = np.arange(6, dtype=np.float32)
    notes.take(("layer",), np.array([[-1, 2, -3, 4]], np.float32), Call({"sample": array}, {"out_sample": array}))
    notes.save()
    return notes.folder


def test_notes_are_taken_up_again(kept):
    notes = Notes(kept, 1)
    notes.load()
    assert (notes.calls, notes.kept, notes.ranges.paths) == (1, 1, ("layer",))
    assert np.array_equal(notes.call(0).inputs["sample"], np.arange(6))


DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "other numbers": lambda file: file.write_text("[1]"),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", [STATE, "ranges.npz", "call-0.npz"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_notes_are_told_from_whole_ones(kept, name, damage):
    damage(kept / name)
    notes = Notes(kept, 1)
    with pytest.raises((OSError, ValueError)):  # a graph that has no notes at all was not asked yet
        notes.load()
        (kept.parent / DONE).write_text("1")
        done_before(kept.parent, {"unet": notes})


@pytest.mark.parametrize("content", ["", "[1]", '{"layer": "x"}', '{"other": 1.0}'])
def test_damaged_errors_are_measured_anew(tmp_path, content):
    file = tmp_path / "errors.json"
    file.write_text(content)
    assert errors_before(file, ["layer"]) == {}
    file.write_text(json.dumps({"layer": 0.5}))
    assert errors_before(file, ["layer", "more"]) == {"layer": 0.5}


@pytest.mark.parametrize("port", ["timestep", "sigma"])
def test_layers_are_tried_on_calls_with_the_least_noise(tmp_path, port):
    """In whatever order they were kept."""
    notes = Notes(tmp_path / "unet", 1)
    for time in (5, 0, 7, 3, 9, 1, 8, 6, 2, 4):
        told = {port: np.array([time], np.float32)}
        notes.take(("layer",), np.array([[-1, 2, -3, 4]], np.float32), Call(told, {}))
    notes.save()
    assert [int(call.inputs[port].item()) for call in tried_on(notes, port)] == [0, 1, 2, 3]


def test_what_has_no_time_is_tried_on_calls_as_they_were_kept(kept):
    notes = Notes(kept, 1)
    notes.load()
    assert len(tried_on(notes, "timestep")) == len(tried_on(notes, "")) == 1
