"""What LoRA files of all kinds make of weights, held against LyCORIS and peft (see tests/golden/lora.py)."""

from pathlib import Path

import numpy as np
import pytest

from loras import numbers as random_numbers
from loras import write_lora
from pleinair.adapters.kinds import kind_of
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


JOINED = {  # what a layer of 24 rows, which is query, key and value of 8 rows each here, may have
    "LoRA": {"lora_down.weight": (2, 8), "lora_up.weight": (24, 2)},
    "LoHa": {"hada_w1_a": (24, 2), "hada_w1_b": (2, 8), "hada_w2_a": (24, 2), "hada_w2_b": (2, 8)},
    "LoKr, whose parts end in no third": {"lokr_w1": (2, 2), "lokr_w2": (12, 4)},
    "IA3 on outputs": {"weight": (24,), "on_input": None},
    "DoRA": {"lora_down.weight": (2, 8), "lora_up.weight": (24, 2), "dora_scale": (24, 1)},
}
ROLES = {"lora_down.weight": "down", "lora_up.weight": "up", "dora_scale": "norms"}


@pytest.mark.parametrize("kind", JOINED)
def test_a_layer_that_is_several_here_changes_as_a_whole(tmp_path, kind):
    rng = np.random.default_rng(0)
    parts = {name: np.array(0) if shape is None else random_numbers(rng, shape) for name, shape in JOINED[kind].items()}
    file = write_lora(tmp_path / "a.safetensors", {f"joint_blocks.0.x_block.attn.qkv.{n}": a for n, a in parts.items()})
    paths = [f"transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v", "add_q_proj")]
    model = Networks("storybook", "transformer", ())
    merge = planned(model, [Use(open_lora(file), 1.0, 1.0)], lambda graph: dict.fromkeys(paths, Layer((8, 8))))
    (edit,), old = merge.edits("transformer"), random_numbers(rng, (24, 8))
    thirds = zip(paths, np.split(old, 3), strict=False)
    found = np.concatenate([edit.changes[path].weight(rows) for path, rows in thirds])
    named = {ROLES.get(name, name): array for name, array in parts.items()}
    np.testing.assert_allclose(found, old + kind_of(named).change(named, old), rtol=1e-5, atol=1e-6)
    assert len(edit.changes) == 3


@pytest.mark.parametrize("more", [{"oft_blocks": (3, 8, 8)}, {**JOINED["LoRA"], "dora_scale": (1, 8)}])
def test_what_would_need_the_other_rows_is_left_out(tmp_path, more):
    """Of a layer that is several here."""
    tensors = {name: random_numbers(np.random.default_rng(0), shape) for name, shape in more.items()}
    tensors = {f"joint_blocks.0.x_block.attn.qkv.{name}": array for name, array in tensors.items()}
    fine = {"context_embedder.diff": np.ones((8, 8), np.float32)}
    file = open_lora(write_lora(tmp_path / "a.safetensors", tensors | fine))
    paths = [f"transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v", "add_q_proj")]
    layers = dict.fromkeys([*paths, "context_embedder"], Layer((8, 8)))
    merge = planned(Networks("storybook", "transformer", ()), [Use(file, 1.0, 1.0)], lambda graph: layers)
    assert set(merge.applied[0].left_out) == set(tensors) and [*merge.steps["transformer"]] == ["context_embedder"]
