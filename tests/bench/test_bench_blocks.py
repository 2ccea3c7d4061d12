"""What a picture of a real size would take, told from blocks: the arithmetic that they stand for, and the graphs."""

import pytest

from bench_records import case, record
from pleinair_bench import blocks, estimates, models, speeds
from pleinair_bench.records import problems

UNET = models.GFLOP["sd15"]["unet"]


def of_transformer(channels, tokens):
    """Operations of one row: projections, attention to itself and to the text, GEGLU."""
    linear = 2 * tokens * channels**2 * (2 + 4 + 2 + 12) + 4 * blocks.TEXT * blocks.TEXT_WIDE * channels
    return linear + 4 * tokens**2 * channels + 4 * tokens * blocks.TEXT * channels


def test_the_blocks_stand_for_a_whole_step_and_a_whole_decode():
    """Against the arithmetic that OpenVINO counts in the whole graphs."""
    found = {"run": 0.0, "decode": 0.0}
    for block in blocks.all_blocks():
        work = (
            blocks.residual_work(block.channels, block.channels, block.side)
            if block.kind == "residual"
            else of_transformer(block.channels, block.side**2)
        )
        found[block.part] += block.times * work / 1e9
    assert found["run"] == pytest.approx(UNET, rel=1e-3)
    assert found["decode"] == pytest.approx(models.GFLOP["sd15"]["vae_decoder"], rel=0.01)


@pytest.mark.parametrize("int8, kinds", [(False, {"f32"}), (True, {"i8", "f32"})])
def test_graphs_of_blocks_are_what_they_say(int8, kinds):
    for kind in ("residual", "transformer"):
        block = blocks.Block("small", "run", 1.0, kind, 64, 4, 2)
        model = blocks.made(block, int8)
        assert tuple(model.output(0).shape) == tuple(model.input(0).shape) == (2, 64, 4, 4)
        weights = [node for node in model.get_ops() if node.get_type_name() == "Constant" and node.data.size > 1000]
        assert {node.get_element_type().to_string() for node in weights} <= kinds
        quantized = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
        assert quantized == (0 if not int8 else 2 if kind == "residual" else 12)


def test_seconds_come_from_every_block(monkeypatch):
    small = [
        blocks.Block("one", "run", 3.0, "residual", 32, 4, 1),
        blocks.Block("two", "run", 2.0, "transformer", 32, 4, 1),
        blocks.Block("three", "decode", 5.0, "residual", 32, 8, 1),
    ]
    monkeypatch.setattr(blocks, "all_blocks", lambda: small)
    found = blocks.seconds("w8a8", "f32", 1)
    assert found["run"][0] == pytest.approx(3 * found["one"][0] + 2 * found["two"][0])
    assert found["decode"][0] == pytest.approx(5 * found["three"][0]) and found["decode"][0] > 0


def test_a_picture_is_its_steps_and_its_decode():
    of = case(model="sd15", work="blocks", weights="w8a8", width=512, height=512)
    assert of.memory_bytes < 1e9  # what the whole UNet's activations alone exceed
    samples = {"run": [2.5], "decode": [4.0]}
    found = record([[1.0]] * 3, of=of, samples=samples)
    assert list(problems(found)) == []
    assert list(estimates.lines([found, record([[0.1]])])) == [
        "SD 1.5 at 512x512 in W8A8: about 54 s a picture of 20 steps (2.5 s a step, 4 s the decoder)"
    ]


def test_each_speed_is_something_that_pleinair_takes():
    from pleinair.bundle.opening import open_bundle
    from pleinair.request.request import resolve

    for speed in speeds.SPEEDS:
        request = resolve(open_bundle(None), "a house", sampler="ddim", **speeds.asked(speed, 20))
        assert request.speed == speed and (request.reuse > 1) == (speed != "exact")
    assert speeds.asked("exact", 20) == {"steps": 20}
