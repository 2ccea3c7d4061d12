"""Numbers of every kind, widened; and how a parameter is stored."""

import os
import tracemalloc

import numpy as np
import pytest

from pleinair.errors import ExportError
from pleinair.pouring.checkpoints import Stored, widened
from pleinair.pouring.forms import FORMS, PIECE, formed, size_of


@pytest.mark.parametrize(
    "kind, codes, numbers",
    [
        ("BF16", np.array([0x3F80, 0xC000, 0x7F80], np.uint16), [1.0, -2.0, np.inf]),
        ("F8_E4M3", np.array([0x38, 0x7E, 0xFE, 0x01, 0x08, 0x80], np.uint8), [1, 448, -448, 2**-9, 2**-6, 0]),
        ("F8_E5M2", np.array([0x3C, 0x7B, 0x01, 0xFC], np.uint8), [1.0, 57344.0, 2**-16, -np.inf]),
        ("F64", np.array([1 / 3], np.float64), [np.float32(1 / 3)]),
    ],
)
def test_numbers_are_widened(kind, codes, numbers):
    assert widened(kind, codes).astype(np.float32).tolist() == numbers


def test_the_code_of_no_number_is_none():
    assert np.isnan(widened("F8_E4M3", np.array([0x7F, 0xFF], np.uint8))).all()


@pytest.mark.parametrize("form", FORMS)
def test_pieces_make_the_whole_and_have_the_size_that_is_known_beforehand(form):
    values = np.random.default_rng(0).standard_normal((PIECE // 1000, 2003)).astype(np.float32)
    pieces = list(formed(Stored("F32", values), form))
    assert len(pieces) > 1
    assert sum(piece.nbytes for piece in pieces) == size_of(values.shape, form)
    assert np.array_equal(np.concatenate(pieces), FORMS[form].made(values))


@pytest.mark.parametrize("name, most", [("nncf", 128), ("onnx", 127)])
def test_8_bits_come_back_within_half_a_step(name, most):
    values = np.random.default_rng(0).standard_normal((40, 60)).astype(np.float32)
    values[3] = 0
    stored = Stored("F32", values)
    (whole,), (scale,) = (list(formed(stored, f"{name}_{part}")) for part in ("int8", "scale"))
    assert np.abs(whole).max() == most or whole.min() == -most
    step = np.abs(values).max(axis=1, keepdims=True) / most
    assert (np.abs(whole * scale.astype(np.float32) - values) <= 0.5 * step + 1e-3 * np.abs(values)).all()


def test_a_matrix_is_transposed_as_a_whole():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (piece,) = formed(Stored("F32", values), "f32", transposed=True)
    assert piece.tolist() == values.T.tolist() and piece.flags.c_contiguous


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ExportError, match="not a finite number"):
        list(formed(Stored("F8_E5M2", np.array([[0x7C]], np.uint8)), "f32"))


def test_a_parameter_of_any_size_takes_little_memory(tmp_path):
    """A quarter of a gigabyte, of which a piece at a time is worked on."""
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 28)
    values = np.memmap(tmp_path / "large", np.float16, "r").reshape(-1, 1 << 10)
    tracemalloc.start()
    try:
        assert sum(piece.nbytes for piece in formed(Stored("F16", values), "nncf_int8")) == values.size
        assert tracemalloc.get_traced_memory()[1] < 40 * PIECE
    finally:
        tracemalloc.stop()
