"""Norms that are spelled out: the same numbers, without the kernel that a rest of elements ends."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from openvino import opset13 as ops

from pleinair.engines.int8 import cpu
from pleinair.engines.int8.norms import spell_out_norms
from pleinair.engines.openvino import ov

CHANNELS, GROUPS = 8, 4
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
RNG = np.random.default_rng(0)


def group_norm(height, width):
    start = ops.parameter([2, CHANNELS, height, width], np.float32)
    scale, shift = (ops.constant(RNG.standard_normal(CHANNELS).astype(np.float32)) for _ in range(2))
    return ov.Model([ops.group_normalization(start, scale, shift, GROUPS, 1e-5)], [start], "group")


def layer_norm(tokens, width):
    start = ops.parameter([2, tokens, width], np.float32)
    return ov.Model([ops.mvn(start, ops.constant([2]), True, 1e-5, "inside_sqrt")], [start], "layer")


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (group_norm(3, 5), 1),
        (group_norm(1, 1), 1),
        (group_norm(4, 8), 0),
        (layer_norm(3, 20), 1),
        (layer_norm(3, 32), 0),
    ],
)
def test_norms_over_a_rest_are_spelled_out_and_answer_alike(model, count):
    given = RNG.standard_normal([int(side) for side in model.input(0).shape]).astype(np.float32)
    compile_model = ov.Core().compile_model
    before = compile_model(model, "CPU", SETTINGS)(given)[0]
    assert spell_out_norms(model) == count
    assert np.abs(compile_model(model, "CPU", SETTINGS)(given)[0] - before).max() < 1e-5
    kinds = {node.get_type_name() for node in model.get_ops()}
    assert bool(kinds & {"GroupNormalization", "MVN"}) == (count == 0)


@pytest.mark.parametrize(
    ("flags", "forced", "forbidden"),
    [
        (("avx2", "avx512f"), "AVX2", True),
        (("avx2", "avx512f"), "AVX2_VNNI", True),
        (("avx2", "avx512f", "avx512_vnni"), "AVX512_CORE", False),
        (("avx2", "avx512f"), "", False),
        (("avx2",), "AVX2", False),
    ],
)
def test_avx512_is_forbidden_only_where_it_is(monkeypatch, flags, forced, forbidden):
    monkeypatch.setattr(cpu, "instruction_sets", lambda: [*flags])
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", forced)
    assert cpu.avx512_forbidden() == forbidden


FOLLOWERS = {
    "rounded": "ops.fake_quantize(normed, *map(np.float32, (-9, 9, -9, 9)), 256)",
    "scaled": "ops.add(ops.multiply(normed, ops.constant(np.ones(24, np.float32))), np.zeros(24, np.float32))",
}


@pytest.mark.parametrize("follower", FOLLOWERS.values(), ids=FOLLOWERS)
def test_a_norm_over_a_rest_survives_a_cpu_that_is_forced(follower):
    """The process that OpenVINO's kernel ends, where there is AVX-512; elsewhere it answers anyway."""
    code = f"""
import json
import numpy as np
from openvino import opset13 as ops
from pleinair.engines.int8.norms import spell_out_where_forced
from pleinair.engines.openvino import ov
start = ops.parameter([1, 77, 24], np.float32)
normed = ops.mvn(start, ops.constant([2]), True, 1e-5, "inside_sqrt")
model = ov.Model([{follower}], [start], "forced")
spell_out_where_forced(model)
given = np.random.default_rng(0).standard_normal((1, 77, 24)).astype(np.float32)
answer = ov.Core().compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})(given)[0]
print(json.dumps(float(answer.std())))
"""
    forced = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=forced, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(1, abs=0.05)
