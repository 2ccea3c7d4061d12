"""The recipe of the default model: every part trains, and what comes out is a model."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

STORYBOOK = Path(__file__).parents[2] / "models" / "storybook"
TRAININGS = ("text", "render", "classifier", "vae", "latents", "decoder", "unet")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(STORYBOOK)
    from recipe.__main__ import main

    places = ["--work", tmp_path / "work", "--source", tmp_path / "source", "--report", tmp_path / "report.json"]
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
