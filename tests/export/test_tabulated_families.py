"""What follows from the time, from sizes and from whole texts, computed before the first step: the same bits."""

import numpy as np
import pytest

import pleinair
from pleinair.engines.openvino import OpenVINOEngine

JOB = {"prompt": "the red [thread|knot]", "size": "64x64", "steps": 2, "seed": 5}
PORTS = {  # beside the time
    "sdxl": {"text_embeds", "time_ids"},
    "lcm": {"timestep_cond"},
    "flux": {"pooled_projections"},
}


@pytest.mark.parametrize("family", PORTS)
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_pictures_are_the_same_to_the_bit(family, precision, exported, monkeypatch):
    """Of transformers too in float32; in bfloat16 they stay whole."""
    if precision not in OpenVINOEngine().offered("cpu"):
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setattr("pleinair.foreseeing.LEAST", 1.0)
    opened = []
    plain = OpenVINOEngine.open_graph

    def noted(engine, bundle, graph, how):
        opened.extend(edit.ports for edit in how.edits)
        return plain(engine, bundle, graph, how)

    monkeypatch.setattr(OpenVINOEngine, "open_graph", noted)
    how = {"engine": "openvino", "precision": precision, "verify": False}
    whole, tabulated = (
        pleinair.load(exported(family, "fp16"), memory=memory, **how).generate(**JOB) for memory in ("high", "low")
    )
    assert np.array_equal(whole.pixels, tabulated.pixels)
    exact = family != "flux" or precision == "f32"
    assert opened == ([{"timestep", *PORTS[family]}] if exact else [])
    assert tabulated.settings.get("tabulated", False) == exact
