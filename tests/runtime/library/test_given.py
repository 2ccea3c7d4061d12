"""Whatever people give as a model: it paints from every command and from Python, and is made once."""

import json
import shutil

import pytest

import pleinair
from foreign import edit_json
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.engines import engine
from pleinair.pouring import topologies

SOURCE = default_path().parent / "source"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNET = "diffusion_pytorch_model"


def as_it_is(folder):
    return folder


def in_a_cache(folder):
    """The repository's folder in the hub's cache: files are links to blobs."""
    cache = folder.with_name("models--org--story")
    snapshot, blobs = cache / "snapshots" / COMMIT, cache / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate([each for each in folder.rglob("*") if each.is_file()]):
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blobs / str(number))
        link.symlink_to(blobs / str(number))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    return cache


def a_snapshot(folder):
    return in_a_cache(folder) / "snapshots" / COMMIT


def of_one_variant(folder):
    file = folder / "unet" / f"{UNET}.safetensors"
    file.rename(file.with_name(f"{UNET}.bf16.safetensors"))
    return folder


def in_shards(folder):
    file = folder / "unet" / f"{UNET}.safetensors"
    shard = file.rename(file.with_name(f"{UNET}-00001-of-00001.safetensors"))
    index = file.with_name(f"{UNET}.fp16.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": shard.name}}))
    return folder


def steered(folder):
    added = {"_class_name": "StableDiffusionControlNetPAGPipeline", "controlnet": ["diffusers", "ControlNetModel"]}
    edit_json(folder / "model_index.json", **added)
    return folder


def with_graphs_beside(folder):
    """As stabilityai publishes SDXL."""
    (folder / "unet" / "openvino_model.xml").write_text("<net/>")
    return folder


def projected(folder):
    edit_json(folder / "model_index.json", text_encoder=["transformers", "CLIPTextModelWithProjection"])
    return folder


GIVEN = (as_it_is, in_a_cache, a_snapshot, of_one_variant, in_shards, steered, projected, with_graphs_beside)


@pytest.fixture(autouse=True)
def shelved(monkeypatch, shelf):
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)


def test_diffusers_folders_are_made_once_whatever_they_look_like(tmp_path, run, monkeypatch):
    """What each ends in, so that all that fail are named."""
    monkeypatch.setattr(engine, "installed", lambda name: False)  # fitting colours takes longer than all the rest
    ended = {}
    for change in GIVEN:
        home, folder = tmp_path / change.__name__ / "home", tmp_path / change.__name__ / "story"
        monkeypatch.setenv("PLEINAIR_HOME", str(home))
        shutil.copytree(SOURCE, folder)
        (folder / "pleinair.json").unlink(missing_ok=True)
        model = change(folder)
        first, again = run("info", model, "--json"), run("info", model, "--json")
        made = [each.name for each in (home / "models").iterdir()] if home.exists() else []
        ended[change.__name__] = (first[0], "once" in first[2], again[0], "once" in again[2], made), first[2]
    wrong = {name: found for name, found in ended.items() if found[0] != (0, True, 0, False, ["story"])}
    assert not wrong
    bundle = open_bundle(tmp_path / "a_snapshot" / "home" / "models" / "story")
    assert (bundle.manifest.origin.source, bundle.manifest.origin.revision) == ("org/story", COMMIT)
    assert "its controlnet is left out" in ended["steered"][1]


def test_every_command_and_python_take_it_and_a_refiner_too(tmp_path, run, home):
    story, other = tmp_path / "story", tmp_path / "other"
    shutil.copytree(SOURCE, story)
    paint = ("--engine", "fake", "--steps", "3")
    assert run("prompt", "a", "--model", story)[0] == 0
    assert pleinair.load(story, engine=pleinair.FakeEngine()).bundle.path == home / "models" / "story"
    shutil.move(story, other)
    halves = ("--refiner", other, "--refiner-start", "0.5")
    assert run("generate", "a", "--model", other, *halves, *paint, "-o", "a.png")[0] == 0
    assert run("morph", "a", "b", "--model", other, "--frames", "3", *paint, "-o", "a.gif")[0] == 0
    assert (
        pleinair.load(other, engine=pleinair.FakeEngine())
        .generate("a", refiner=other, refiner_start=0.5, steps=3)
        .images
    )
    assert [each.name for each in (home / "models").iterdir()] == ["story"]


def test_an_error_of_a_model_that_is_made_ends_with_the_command(tmp_path, run, refused, home):
    story = tmp_path / "a story"
    shutil.copytree(SOURCE, story)
    scheduler = story / "scheduler" / "scheduler_config.json"
    edit_json(scheduler, _class_name="NobodyKnowsScheduler")
    edit_json(story / "model_index.json", scheduler=["diffusers", "NobodyKnowsScheduler"])
    (story / "pleinair.json").unlink(missing_ok=True)
    line = refused(3, "generate", "a", "--model", story, "--engine", "fake")
    assert line.endswith(f'pleinair pour "{story}" --sampler dpmpp_2m')
    assert run("pour", story, "--sampler", "dpmpp_2m")[:2] == (0, f"{home / 'models' / 'a story'}\n")
    assert run("generate", "a", "--model", story, "--engine", "fake", "--steps", "1", "-o", "a.png")[0] == 0


EARLY = (  # refused before a model is made for them
    ("--steps", "-5"),
    ("--sampler", "nonsense"),
    ("--memory", "foo"),
    ("--mask", "absent.png"),
    ("--image", "absent.png"),
    ("--refiner", "absent"),
    ("-o", "absent/x/o.png"),
    ("-o", "there.png"),
)


def test_what_is_refused_anyway_makes_no_model(tmp_path, run, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SOURCE, tmp_path / "story")
    (tmp_path / "there.png").write_bytes(b"x")
    ended = {words: run("generate", "a", "--model", "story", *words)[0] and [*home.glob("models/*")] for words in EARLY}
    assert not {words: made for words, made in ended.items() if made != []}
    assert run("generate", "--prompts", "absent.txt", "--model", "story")[0] == 4 and not home.exists()


def test_models_that_cannot_be_kept_are_told_where_to_be(tmp_path, refused, home, monkeypatch):
    story = shutil.copytree(SOURCE, tmp_path / "story")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # as on a disk that is read alone
    line = refused(4, "info", story)
    assert line.endswith(
        f"set PLEINAIR_HOME to a folder that can, or say where the model is to be: pleinair pour {story} OUT"
    )
    assert not home.exists()


def test_a_file_that_changed_is_another_model(tmp_path, run, home):
    story, paint = tmp_path / "story", ("--engine", "fake", "--steps", "1", "--json")
    shutil.copytree(SOURCE, story)
    assert "once" in run("generate", "a", "--model", story, *paint, "-o", tmp_path / "a.png")[2]
    moved = shutil.copytree(story, tmp_path / "moved")
    assert "once" not in run("generate", "a", "--model", moved, *paint, "-o", tmp_path / "b.png")[2]
    file = story / "unet" / f"{UNET}.safetensors"
    file.write_bytes(file.read_bytes()[:-64] + bytes(64))
    assert "once" in run("generate", "a", "--model", story, *paint, "-o", tmp_path / "c.png")[2]
