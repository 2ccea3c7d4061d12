"""What LoRA files of all kinds make of weights, held against LyCORIS and peft (see tests/golden/lora.py)."""

from pathlib import Path

import numpy as np
import pytest

from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks
from pleinair.adapters.merging import Use, planned
from pleinair.engines.edits import Layer

MODEL = Networks("storybook", "unet", ("text_encoder",))
GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def numbers():
    with np.load(GOLDEN / "lora.npz") as arrays:
        return dict(arrays)


def merged(numbers, file, strength):
    """Case -> what becomes of its weight and bias, of all those that a file has."""
    cases = {name.partition("/")[0] for name in numbers}
    layers = {case: Layer(numbers[f"{case}/weight"].shape, bias=True) for case in cases}
    merge = planned(MODEL, [Use(open_lora(GOLDEN / file), strength, strength)], lambda graph: layers)
    (edit,), (applied,) = merge.edits("unet"), merge.applied
    assert applied.left_out == () and applied.layers == applied.of
    found = {}
    for case, change in edit.changes.items():
        for part in ("weight", "bias"):
            make = getattr(change, part)
            old = numbers[f"{case}/{part}"]
            found[f"{case}/{part}"] = old if make is None else make(old)
    return found


@pytest.mark.parametrize(("file", "cases"), [("lora.safetensors", 23), ("lora_peft.safetensors", 4)])
def test_kinds_are_merged_as_their_makers_merge_them(numbers, file, cases):
    found = merged(numbers, file, 1.0)
    assert len(found) == 2 * cases
    for name, array in found.items():
        case, part = name.split("/")
        expected = numbers.get(f"{case}/new_{part}", numbers[name])
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_weight_counts_as_often_as_it_says(numbers):
    whole, half = (merged(numbers, "lora.safetensors", strength) for strength in (1.0, 0.5))
    for name, array in half.items():
        np.testing.assert_allclose(array, (numbers[name] + whole[name]) / 2, rtol=1e-5, atol=1e-5, err_msg=name)
