"""Pictures painted with LoRAs: what their files say of them, as others read it too, and how they are made again."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from loras import kohya, write_lora
from pleinair.errors import RequestError
from pleinair.files.metadata import infotext, read_record
from pleinair.tasks.rerun import rerun

pytestmark = pytest.mark.usefixtures("silent_storybook")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "loras").mkdir(parents=True)
    return tmp_path / "home"


def lora(folder, name="style", seed=0):
    return write_lora(folder / f"{name}.safetensors", kohya({"conv_in": (64, 4, 3, 3)}, seed=seed))


@pytest.fixture
def picture(home, tmp_path, run):
    """One painted with a LoRA of its own and one that the prompt names, and what the command has said."""
    lora(home / "loras", "kept")
    given, file = lora(tmp_path), tmp_path / "boat.png"
    code, _, said = run(
        "generate",
        "--engine",
        "fake",
        "a boat <lora:kept:0.5:0.25>",
        "--lora",
        f"{given}:0.8",
        "-o",
        file,
        "--steps",
        2,
    )
    assert code == 0, said
    return file, given, said


def test_what_a_picture_says_of_its_loras(picture):
    file, _, said = picture
    assert "style: 1 of 1 layers at 0.8" in said and "kept: 1 of 1 layers at 0.25, in text encoders at 0.5" in said
    record = read_record(file)
    loras = record.ours["loras"]
    assert list(loras) == ["style", "kept"] and "/" not in json.dumps(loras)
    assert loras["style"]["weight"] == 0.8 and loras["kept"]["in_prompt"] and loras["kept"]["text_weight"] == 0.5
    assert record.prompt == "a boat <lora:kept:0.5:0.25>"
    prompt, *_, fields = infotext(record.ours, 1).splitlines()
    assert prompt == "a boat <lora:kept:0.5:0.25> <lora:style:0.8>"
    assert f"style: {loras['style']['autov3']}, kept: {loras['kept']['autov3']}" in fields and "Lora hashes: " in fields


def test_a_picture_is_made_again_with_its_loras(picture, home, tmp_path):
    """Those of the prompt are found by their names, those that were given where they are given again or kept."""
    file, given, _ = picture
    with pytest.raises(RequestError, match="made with the LoRA 'style', which no record holds; give --lora FILE"):
        rerun(file)
    again = rerun(file, loras=[given])
    assert again.difference.max_abs == 0 and again.result.settings["loras"]["style"]["weight"] == 0.8
    lora(home / "loras", "style")
    assert rerun(file).difference.max_abs == 0
    (tmp_path / "other").mkdir()
    changed = rerun(file, loras=[lora(tmp_path / "other", seed=5)])
    assert any("what --lora gives is not what this picture was made with" in warning for warning in changed.warnings)
    with pytest.raises(RequestError, match="made without the LoRA 'new'; leave it out"):
        rerun(file, loras=[lora(tmp_path / "other", "new")])


def test_pictures_of_other_tools_are_painted_without_loras_that_are_not_here(home, tmp_path, run):
    """With a line for each; those that are kept, or given, count as the prompt says."""
    lora(home / "loras", "kept")
    said = "a boat <lora:absent:0.8>, <lora:kept:0.5> <lora:kept:0.7><lora:far:1:lbw=OUTS> at sea <lora:near:0.25>"
    text = f"{said}\nSteps: 2, Sampler: Euler a, CFG scale: 1, Seed: 1, Size: 64x64, Model: other"
    file = tmp_path / "other.png"
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (64, 64)).save(file, pnginfo=info)
    given = [lora(tmp_path, "near"), (lora(tmp_path, "more"), 0.1)]
    again = rerun(file, engine="fake", loras=given)
    assert [(each.name, each.weight) for each in again.result.loras] == [("more", 0.1), ("kept", 0.5), ("near", 0.25)]
    assert again.result.settings["prompt"] == "a boat , <lora:kept:0.5>  at sea <lora:near:0.25>"
    told = [line for line in again.warnings if line.startswith("painted without ")]
    assert [line.partition(": ")[0].removeprefix("painted without ") for line in told] == [
        "<lora:absent:0.8>",
        "<lora:kept:0.7>",
        "<lora:far:1:lbw=OUTS>",
    ]
    assert "no LoRA 'absent', which the prompt names; put absent.safetensors into" in told[0]
    assert "names it twice" in told[1] and "the setting 'lbw'" in told[2]


def test_lines_of_a_list_have_loras_of_their_own(home, tmp_path, run):
    given, listed = lora(tmp_path), tmp_path / "list.jsonl"
    lines = [
        {"prompt": "a boat", "loras": [[str(given), 0.5]], "output": "a.png", "steps": 2},
        {"prompt": "a boat", "loras": [f"{given}:nan"], "output": "b.png", "steps": 2},
        {"prompt": "a boat", "output": "c.png", "steps": 2},
    ]
    listed.write_text("\n".join(map(json.dumps, lines)))
    code, _, said = run("generate", "--engine", "fake", "--prompts", listed, "-o", tmp_path)
    assert code == 7 and "line 2: LoRA 'style' cannot have the weight nan; " in said
    assert read_record(tmp_path / "a.png").ours["loras"]["style"]["weight"] == 0.5
    assert "loras" not in read_record(tmp_path / "c.png").ours


def test_a_morph_has_the_same_loras_all_the_way(home, tmp_path, run):
    lora(home / "loras", "kept")
    how = ("--engine", "fake", "--frames", 2, "--steps", 2, "--size", "64x64", "-o", tmp_path / "a.gif")
    code, _, said = run("morph", "a boat <lora:kept:0.5>", "a dog", *how)
    assert code == 2 and "the prompts of a morph name other LoRAs; give those of all frames with --lora" in said
    assert run("morph", "a boat", "a dog", "--lora", "kept:0.5", *how)[0] == 0
