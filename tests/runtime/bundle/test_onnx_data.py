"""What is read of an ONNX file: wherever it stands in it, and while other programs write."""

import os
from io import FileIO

import pytest

from hostile import external, onnx_model
from pleinair.bundle import onnx_data
from pleinair.errors import BundleError
from pleinair_bench.onnx_file import field, number, text


def stored(size):
    """A weight of so many bytes in the file itself."""
    return number(1, size) + number(2, 2) + text(8, "stored") + field(9, bytes(size))


def test_a_name_is_found_wherever_blocks_end(tmp_path):
    file = tmp_path / "model.onnx"
    for size in range(onnx_data.BLOCK - 120, onnx_data.BLOCK, 3):
        file.write_bytes(onnx_model([], [], [], [stored(size), external("far.bin")]))
        assert onnx_data.locations(file) == {"far.bin"}
        weights = onnx_data.initializers(file)
        assert weights["stored"].span[1] - weights["stored"].span[0] == size and weights["w"].span is None


def test_a_file_that_another_program_cuts_is_one_line(tmp_path, monkeypatch):
    """What was mapped would end the process with SIGBUS."""
    file = tmp_path / "model.onnx"

    class Cut(FileIO):
        def read(self, size=-1):
            os.truncate(file, 100)
            return super().read(size)

    monkeypatch.setattr(onnx_data, "FileIO", Cut)
    for read in (onnx_data.locations, onnx_data.initializers, onnx_data.ports):
        file.write_bytes(onnx_model([], [], [], [stored(1 << 20), external("far.bin")]))
        with pytest.raises(BundleError, match=r"became shorter while it was read; try again when no other program"):
            read(file)


def test_no_file_and_an_empty_one_are_one_line(tmp_path):
    (tmp_path / "empty.onnx").touch()
    for name in ("empty.onnx", "none.onnx"):
        with pytest.raises(BundleError, match="is not an ONNX file .*; restore it"):
            onnx_data.locations(tmp_path / name)
