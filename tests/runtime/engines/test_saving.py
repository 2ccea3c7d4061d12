"""A graph that cannot be written is an error of the disk."""

from pathlib import Path

import numpy as np
import pytest
from openvino import opset13 as ops

from pleinair.bundle.staging import unwritable
from pleinair.engines.openvino import ov
from pleinair.engines.saving import save_ir


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_ends_with_what_helps(tmp_path):
    start = ops.parameter([1, 4], np.float32)
    model = ov.Model([ops.add(start, ops.constant(np.ones((1, 4), np.float32)))], [start], "sum")
    save_ir(model, tmp_path / "graph.xml")
    assert (tmp_path / "graph.bin").stat().st_size == 16
    for suffix in (".xml", ".bin"):
        (tmp_path / f"full{suffix}").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        save_ir(model, tmp_path / "full.xml")
    assert str(unwritable(tmp_path, caught.value)).endswith("; free some disk space or choose another OUT")
