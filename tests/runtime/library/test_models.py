"""The models kept on this machine: found by name, listed, shown, removed."""

import json
import os
import shutil
import sys

import pytest

import pleinair
from bundles import light_copy, light_upscaler
from pleinair.request.request import resolve
from pleinair.sources.origins import Pulled, write_origin
from pleinair.system.home import is_name, models_folder

PAINT = ("generate", "a", "--engine", "fake", "--steps", "2")

SHIPPED = ("storybook", "storybook-edges", "storybook-tiny")


@pytest.fixture
def castle(home):
    """A kept model without weights."""
    (home / "models").mkdir(parents=True)
    return light_copy(home / "models" / "castle")


def test_a_model_is_found_by_its_name_wherever_it_is_asked_for(castle, run, facts, home):
    assert pleinair.load("castle", engine=pleinair.FakeEngine()).bundle.path == castle
    assert run(*PAINT, "--model", "castle", "-o", "a.png")[:2] == (0, "a.png\n")
    assert facts("info", "castle")["models_folder"] == facts("doctor")["models_folder"] == str(home / "models")
    assert run("prompt", "a", "--model", "castle")[0] == 0
    light_upscaler(home / "models" / "larger")
    assert run(*PAINT, "--model", "castle", "--upscale", "larger", "-o", "b.png")[0] == 0
    assert pleinair.open_bundle("storybook").path == pleinair.open_bundle().path


def test_a_path_that_exists_comes_before_a_name(castle, tmp_path):
    light_copy(tmp_path / "here" / "castle")
    assert pleinair.open_bundle("castle").path.resolve() == tmp_path / "here" / "castle"


def test_without_pleinair_home_models_are_where_the_system_keeps_data(monkeypatch, tmp_path):
    monkeypatch.delenv("PLEINAIR_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_folder().name == "models" and models_folder().parent.name == "pleinair"
    if sys.platform == "linux":
        assert models_folder() == tmp_path / "data" / "pleinair" / "models"


def test_names_lead_nowhere_else():
    bad = ["", ".", "..", "../x", "a/b", "a\\b", "/a", "C:x", ".hidden", "a\0b", "a\nb", "a ", "a.", "x" * 201]
    assert not [name for name in bad if is_name(name)]
    assert all(is_name(name) for name in ("a", "sd-turbo", "v1.5", "ein Schloß", "家", "x" * 200))


def test_the_list_has_what_a_model_takes(castle, run, facts, home):
    """Every file is counted once, where it lies; the speed is that of the last picture."""
    write_origin(castle, Pulled("org/castle", "0" * 40))
    (castle / "unet" / "big").write_bytes(bytes(1_000_000))
    (castle / "link").symlink_to(castle / "unet" / "big")
    (home / "models" / "broken").mkdir()
    (home / "loras").mkdir()
    (home / "loras" / "ink.safetensors").touch()
    shown = facts("models")
    assert {"ink", "storybook-chalk", "storybook-lcm"} <= {*shown["loras"]}
    named = {each["name"]: each for each in shown["models"]}
    assert [*named] == [*SHIPPED, "broken", "castle"]
    story, broken, kept = (named[name] for name in ("storybook", "broken", "castle"))
    assert named["storybook-edges"]["tasks"] == ["control"] and named["storybook-tiny"]["family"] == "vae"
    assert story["last_picture"] is None and story["pulled"] is None
    assert "bundle.json" in broken["problem"]
    size = sum(file.stat().st_size for file in castle.rglob("*") if file.is_file() and not file.is_symlink())
    assert kept["size_gb"] == round(size / 1e9, 3) and kept["last_picture"] is None
    assert kept["pulled"] == {"id": "org/castle", "revision": "0" * 40}
    assert kept["tasks"] == list(pleinair.open_bundle().manifest.tasks) and kept["family"] == story["family"]

    run(*PAINT, "--model", "castle", "--size", "64x72", "-o", "a.png")
    speed = facts("models", "list")["models"][-1]["last_picture"]
    assert (speed["width"], speed["height"], speed["steps"], speed["engine"]) == (64, 72, 2, "fake")
    assert 0 < speed["seconds"] < 60 and speed["peak_mb"] > 10
    table = run("models")[1].splitlines()
    assert table[0].split()[0] == "name" and [line.split()[0] for line in table[1:]] == [
        *SHIPPED,
        "broken",
        "castle",
    ]
    assert "64x72, 2 steps, fake" in table[-1] and "about" in table[1]
    (castle / ".speed.json").write_text(json.dumps({**speed, "seconds": "fast"}))
    assert facts("models")["models"][-1]["last_picture"] is None


def test_only_a_kept_model_remembers_its_speed(tmp_path, run):
    elsewhere = light_copy(tmp_path / "elsewhere")
    assert run(*PAINT, "--model", elsewhere, "-o", "a.png")[0] == 0
    assert not (elsewhere / ".speed.json").exists()


def test_a_model_that_cannot_be_written_paints_all_the_same(castle, run):
    (castle / ".speed.json").mkdir()
    assert run(*PAINT, "--model", "castle", "-o", "a.png")[0] == 0
    assert [*castle.glob(".speed.json*")] == [castle / ".speed.json"]


def test_info_shows_one_model(castle, run, facts):
    shown = facts("models", "info", "castle")
    assert shown["name"] == "castle" and shown["graphs"].keys() >= {"unet", "vae_decoder"}
    assert shown["memory_gb"] == {"estimated": None, "estimated_low": None}  # its graphs say nothing of weights
    assert "folder" in run("models", "info", "storybook")[1]


def test_memory_is_predicted_as_a_job_is(facts):
    memory = facts("models", "info", "storybook")["memory_gb"]
    with pleinair.load(verify=False) as pipe:
        assert memory["estimated"] == round(pipe.memory_needed(resolve(pipe.bundle, "a boat"), last=True) / 1e9, 3)
    assert memory["estimated_low"] < memory["estimated"]


@pytest.mark.parametrize(
    "code, arguments, words",
    [
        (3, ("models", "info", "nothing"), "pleinair models"),
        (2, ("models", "info", "../castle"), "not the name of a model"),
        (2, ("models", "rm", ".."), "not the name of a model"),
        (2, ("models", "rm", "..", "--yes"), "not the name of a model"),
        (2, ("models", "rm", "../../here", "--yes"), "no download"),
        (3, ("models", "rm", "nothing", "--yes"), "no model 'nothing'"),
        (3, ("models", "rm", "storybook", "--yes"), "'storybook' ships with pleinair and stays; see"),
        (2, ("models", "rm", "castle"), "add --yes"),
        (3, ("models", "rm", "holidays", "--yes"), "not the folder of a model"),
        (3, ("generate", "a", "--model", "nothing"), "pleinair models"),
    ],
)
@pytest.mark.usefixtures("castle")
def test_what_names_no_model_is_left_alone(refused, home, code, arguments, words):
    (home / "models" / "holidays").mkdir()
    (home / "models" / "holidays" / "beach.jpg").write_bytes(b"x")
    assert words in refused(code, *arguments)
    assert sorted(folder.name for folder in (home / "models").iterdir()) == ["castle", "holidays"]


def test_rm_removes_a_folder_and_follows_no_link(castle, run, facts, home, tmp_path):
    precious = tmp_path / "precious"
    light_copy(precious)
    (castle / "unet" / "out").symlink_to(precious, target_is_directory=True)
    (home / "models" / "linked").symlink_to(precious, target_is_directory=True)
    whole = sorted(precious.rglob("*"))
    (home / "models" / ".removing-left").mkdir()
    assert run("models", "rm", "castle", "--yes")[:2] == (0, f"{castle}\n")
    assert facts("models", "rm", "linked", "--yes")["removed"] == str(home / "models" / "linked")
    assert not [*(home / "models").iterdir()] and sorted(precious.rglob("*")) == whole


def test_rm_asks_on_a_terminal(castle, run, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    code, out, err = run("models", "rm", "castle")
    assert (code, out) == (130, "") and str(castle) in err and castle.is_dir()
    monkeypatch.setattr("sys.stdin.readline", lambda: "yes\n", raising=False)
    assert run("models", "rm", "castle")[0] == 0 and not castle.exists()


@pytest.mark.skipif(os.name == "nt", reason="a folder that is in use is another matter there")
def test_rm_says_what_it_cannot_remove(castle, refused, monkeypatch):
    def denied(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.rename", denied)
    assert "Permission denied" in refused(4, "models", "rm", "castle", "--yes") and castle.is_dir()


def test_ctrl_c_while_removing_leaves_nothing_under_the_name(castle, run, facts, home, monkeypatch):
    def interrupted(folder, **how):
        raise KeyboardInterrupt

    shutil.copytree(home / "models" / "castle", home / "models" / "other")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        assert run("models", "rm", "castle", "--yes")[0] == 130
    assert [each["name"] for each in facts("models")["models"]] == [*SHIPPED, "other"]
    facts("models", "rm", "other", "--yes")
    assert [*(home / "models").iterdir()] == [], "what was left is removed with the next one"


def test_a_user_without_a_home_folder_paints_and_is_told_where_models_could_be(monkeypatch, tmp_path):
    """As services and containers have them."""

    def homeless(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("PLEINAIR_HOME")
    monkeypatch.setattr("platformdirs.user_data_path", homeless)
    assert pleinair.load(engine="fake").generate("a house", seed=1, steps=1).images
    with pytest.raises(pleinair.ResourceError, match="set PLEINAIR_HOME"):
        pleinair.load("a-name")
