"""The recipe of the default model: every part trains, and what comes out is a model."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, ControlNetModel, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file
from torch import nn

STORYBOOK = Path(__file__).parents[2] / "models" / "storybook"
TRAININGS = ("text", "render", "classifier", "vae", "latents", "decoder", "unet")
ADDONS = ("style", "few-steps", "edges", "tiny-vae")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.__main__ import main

    places = ["--work", tmp_path / "work", "--source", tmp_path / "source", "--report", tmp_path / "report.json"]
    places += ["--addons", tmp_path / "addons", "--addons-source", tmp_path / "source-addons"]
    return lambda command, *more: main([command, "--preset", "trial", *map(str, (*places, *more))])


def test_every_part_trains_and_goes_on_where_it_stopped(run, tmp_path, capsys):
    for command in TRAININGS:
        run(command)
    told = capsys.readouterr().out
    assert "two objects: kind by side" in told and "dB on held-out renders" in told
    step = torch.load(tmp_path / "work" / "unet-large-state.pt", weights_only=True)["step"]
    run("unet")
    assert step == 1 and "unet-large" not in capsys.readouterr().out
    run("assemble")
    made = StableDiffusionPipeline.from_pretrained(tmp_path / "source")
    assert made.scheduler.config.prediction_type == "epsilon" and made.vae.config.norm_num_groups == 8
    for command in ADDONS:
        run(command)
    layers = {name for name, layer in made.unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    for file in ("storybook-chalk.safetensors", "storybook-lcm.safetensors"):
        trained = load_file(tmp_path / "addons" / file)
        assert {name.removeprefix("unet.").partition(".lora_")[0] for name in trained} == layers
        assert all(weight.isfinite().all() for weight in trained.values())
    tiny = AutoencoderTiny.from_pretrained(tmp_path / "source-addons" / "storybook-tiny", torch_dtype=torch.float32)
    assert tiny.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)
    edges = ControlNetModel.from_pretrained(tmp_path / "source-addons" / "storybook-edges")
    assert not edges.attn_processors
    run("evaluate", "--prompts", 1, "--steps", 2)
    report = json.loads((tmp_path / "report.json").read_text())
    assert "two objects" in report["groups"] and sum(report["hour left open"].values()) == pytest.approx(1)


def test_two_editions_stand_side_by_side(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.__main__ import main
    from recipe.beside import paint_beside
    from recipe.settings import PRESETS

    source = STORYBOOK / "source"
    paint_beside(source, source, tmp_path / "beside.webp", PRESETS["trial"], count=1, steps=2)
    with Image.open(tmp_path / "beside.webp") as sheet:
        assert sheet.width > 6 * 128
    with pytest.raises(SystemExit):
        main(["beside"])
    assert "give --other FOLDER" in capsys.readouterr().err


def test_chalk_draws_outlines_on_a_dark_board(monkeypatch):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.addons.style import chalk

    picture = torch.full((1, 3, 16, 16), 0.9)
    picture[..., 8:] = -0.5
    drawn = (chalk(picture) + 1) / 2
    board, line = drawn[0, :, 8, 2], drawn[0, :, 8, 8]
    assert board.max() < 0.3 and board.argmax() == 1 and line.min() > 0.45


def test_an_adapter_adds_its_product_and_nothing_before_it_is_trained(monkeypatch):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.addons.low_rank import Adapted, LowRank

    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, 2)), torch.randn(2, 3, 4, 4)
    adapter = LowRank(network, rank=2)
    assert torch.equal(Adapted(network, adapter)(x), network(x))
    nn.init.ones_(adapter.up[1])
    merged = network[2].weight + adapter.up[1] @ adapter.down[1]
    wanted = nn.functional.linear(network[:2](x), merged, network[2].bias)
    torch.testing.assert_close(Adapted(network, adapter)(x), wanted)


def test_the_card_tells_what_the_judge_found_where_it_was_asked(monkeypatch):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.card import table_of

    near = {name: {"min": 1.0, "median": 2.0, "max": 3.0} for name in ("psnr", "ssim")}
    plain = table_of("Both in int8", {"prompts": 2}, {"onnx": near})
    precision = {"prompts": 2, "fp32": {"onnx": {"adherence": 0.99}}}
    judged = table_of("Both in int8", precision, {"onnx": near | {"adherence": 0.98}})
    assert plain[-1] == "| onnx | 1.0, 2.0, 3.0 | 1.0000, 2.0000, 3.0000 |"
    assert judged[-1] == f"{plain[-1]} 98.0%, 99.0% |" and judged[3].count("|") == judged[-1].count("|")
