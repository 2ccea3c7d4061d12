"""Weights with scales beside them are their product, in every shape that a scale has."""

import json

import numpy as np
import pytest

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Checkpoint
from vectors import safetensors

CODES = np.array([[0x38, 0xB8, 0x40, 0x00], [0x30, 0x38, 0x38, 0x48]], np.uint8)  # 1, -1, 2, 0; 0.5, 1, 1, 4
WEIGHT = np.array([[1, -1, 2, 0], [0.5, 1, 1, 4]], np.float32)
TWO, ROWS, BLOCKS = np.float32(2), np.float32([2, 3]), np.float32([[2, 3], [4, 5]])
LAYOUT = np.frombuffer(b'{"format": "float8_e4m3fn"}', np.uint8)
SCALES = {  # a scale, and what the weight is multiplied by
    "a number": (TWO.reshape(()), TWO),
    "one in a list": (TWO.reshape(1), TWO),
    "rows": (ROWS, ROWS[:, None]),
    "rows in a column": (ROWS[:, None], ROWS[:, None]),
    "blocks": (BLOCKS, np.repeat(BLOCKS, 2, 1)),
}


def opened(tmp_path, tensors, **said):
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors(tensors, said or None))
    return Checkpoint([file])


def test_a_weight_is_multiplied_by_its_scale(tmp_path):
    for name, (scale, factor) in SCALES.items():
        for suffix in ("scale_weight", "weight_scale"):
            tensors = {"x.weight": CODES, f"x.{suffix}": scale, "y.weight": CODES, "x.comfy_quant": LAYOUT}
            found = opened(tmp_path, tensors | {"scaled_fp8": np.zeros(0, np.uint8)})
            assert np.array_equal(found["x.weight"].raw, WEIGHT * factor), (name, suffix)
            assert np.array_equal(found["y.weight"].raw, CODES)


NVFP4 = json.dumps({"layers": {"x": {"format": "nvfp4"}}})
ODD = {
    "no weight": ({"x.scale_weight": TWO.reshape(1)}, {}),
    "other sizes": ({"x.weight": CODES, "x.weight_scale": np.ones(3, np.float32)}, {}),
    "an exponent": ({"x.weight": CODES, "x.weight_scale": np.ones(1, np.uint8)}, {}),
    "two scales": ({"x.weight": CODES, "x.weight_scale": ROWS, "x.weight_scale_2": ROWS}, {}),
    "another layout": (
        {"x.weight": CODES},
        {"_quantization_metadata": json.dumps({"layers": {"x": {"format": "nvfp4"}}})},
    ),
    "no layout": ({"x.weight": CODES, "x.comfy_quant": np.frombuffer(b"[[", np.uint8)}, {}),
}


@pytest.mark.parametrize("tensors, said", ODD.values(), ids=ODD)
def test_what_no_product_makes_is_refused(tmp_path, tensors, said):
    with pytest.raises(ExportError, match="scaled in an unknown way .*; choose"):
        opened(tmp_path, tensors, **said)
