"""`pleinair pull` to the end: what comes from a hub paints, without PyTorch, or one line says what to type."""

import json
import os
import shutil

import numpy as np
import pytest

from every import every
from foreign import as_optimum, edit_json
from hub_server import COMMIT, Repo
from pickled import torch_archive
from pleinair.bundle.opening import open_bundle
from pleinair.bundle.shipped import default_path
from pleinair.pouring import topologies
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.sources import architectures
from pleinair.sources.origins import Pulled, read_origin
from pleinair.system import install
from vectors import safetensors as one_file
from vectors import some_vectors

SOURCE = default_path().parent / "source"
ID = "org/story"
GRAPHS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")


def files_below(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def story(hub, shelf, monkeypatch):
    """A repository of storybook's diffusers folder, whose graphs are among those that ship without weights."""
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    hub.repos[ID] = Repo({**files_below(SOURCE), "unet/diffusion_pytorch_model.bin": b"pickle" * 500})
    return hub.repos[ID]


def test_safetensors_are_poured_and_know_where_they_came_from(hub, story, run, facts, refused, home):
    code, out, err = run("pull", ID)
    model = home / "models" / "story"
    assert (code, out) == (0, f"{model}\n"), err
    assert "remove it with: pleinair models rm org/story" in err
    assert err.splitlines()[-1].endswith('continue with: pleinair generate "a red house" --model story')
    assert open_bundle(model).manifest.origin.revision == COMMIT and read_origin(model) == Pulled(ID, COMMIT)
    assert not hub.asked(".bin")
    assert run("generate", "a", "--model", "story", "--engine", "fake", "--steps", "1", "-o", "a.png")[0] == 0

    assert run("generate", "a", "--model", ID, "--engine", "fake", "--steps", "1", "-o", "b.png")[0] == 0

    facts("models", "rm", ID, "--yes")
    asked = len(hub.asked("/resolve/"))
    again = facts("pull", ID)
    assert again["before"] and again["folder"] == str(model) and len(hub.asked("/resolve/")) == asked
    assert "with fp16 weights" in refused(4, "pull", ID, "--weights", "int8")
    story.commit = "f" * 40
    assert COMMIT[:12] in refused(4, "pull", ID) and len(hub.asked("/resolve/")) == asked


def test_what_cannot_be_poured_stays_or_the_line_says_what_is_next(hub, story, facts, refused, home, monkeypatch):
    line = refused(3, "pull", ID, "--weights", "int8")
    assert "no graph for openvino in int8 ships for the text_encoder" in line and line.endswith(f"pleinair export {ID}")
    assert not hub.asked("safetensors") and not home.exists()
    source = home / "downloads" / "org" / "story"
    config = json.loads(story.files["text_encoder/config.json"])
    story.files["text_encoder/config.json"] = json.dumps(config | {"eos_token_id": 7}).encode()
    line = refused(3, "pull", ID)
    assert f"is in '{source}', but its text_encoder ends" in line and f"continue with: pleinair export {source}" in line
    monkeypatch.setattr(install, "EXPORT", ("no_such_package",))
    assert "[export]" in refused(3, "pull", ID) and not (home / "models").exists()
    hub.repos["org/lora"] = Repo({"style.safetensors": one_file({"a": some_vectors(2, 8)})})
    line = refused(3, "pull", "org/lora", "--file", "style.safetensors")
    assert str(home / "downloads" / "org" / "lora--style") in line


def test_a_format_is_chosen_and_an_address_of_a_browser_names_all(hub, story, facts, home):
    story.revisions = ("main", "v2")
    assert facts("pull", f"https://huggingface.co/{ID}/tree/v2?x=1", "--format", "onnx")["kind"] == "diffusers"
    assert hub.asked(f"/api/models/{ID}/revision/v2") and not hub.asked("revision/main")
    assert open_bundle(home / "models" / "story").formats == ("onnx",)


def test_safetensors_that_pour_come_before_graphs_of_other_tools(hub, story, facts, home, monkeypatch):
    graphs = {f"{folder}/openvino_model.{end}": b"x" * 2000 for folder in GRAPHS for end in ("xml", "bin")}
    story.files |= graphs
    assert facts("pull", ID)["kind"] == "diffusers" and not hub.asked("openvino_model")
    config = json.loads(story.files["unet/config.json"])
    story.files["unet/config.json"] = json.dumps(config | {"attention_head_dim": 3}).encode()
    shutil.rmtree(home)
    assert facts("pull", ID, "--only-download")["kind"] == "openvino" and hub.asked("openvino_model")


def test_pickles_are_fetched_and_poured_where_they_are_allowed(hub, story, run, refused, home):
    vae = "vae/diffusion_pytorch_model"
    story.files[f"{vae}.bin"] = torch_archive(
        {name: np.asarray(each.raw) for name, each in Checkpoint([SOURCE / f"{vae}.safetensors"]).items()}
    )
    del story.files[f"{vae}.safetensors"]
    assert "but a pickle" in refused(3, "pull", ID) and not hub.asked(".bin") and not home.exists()
    code, _, err = run("pull", ID, "--allow-pickle")
    assert code == 0 and "is a pickle: only its weights are read" in err and open_bundle(home / "models" / "story")


def test_graphs_of_other_tools_are_adopted(hub, run, refused, tmp_path, home):
    folder = as_optimum(default_path(), tmp_path / "made", "openvino")
    hub.repos["org/graphs"] = Repo({**files_below(folder), "unet/diffusion_pytorch_model.safetensors": b"x" * 2000})
    code, out, err = run("pull", "org/graphs")
    assert (code, out) == (0, f"{home / 'models' / 'graphs'}\n"), err
    assert run("generate", "a", "--model", "graphs", "--engine", "fake", "--steps", "1", "-o", "a.png")[0] == 0
    assert "here already" in run("pull", "org/graphs")[2]
    assert "holds no model" not in refused(3, "pull", "org/graphs", "--format", "onnx", "--to", tmp_path / "b")
    edit_json(folder / "model_index.json", _class_name="NobodyKnowsPipeline")
    hub.repos["org/graphs"] = Repo(files_below(folder), "f" * 40)
    shutil.rmtree(home / "models" / "graphs")
    assert "NobodyKnowsPipeline" in refused(3, "pull", "org/graphs")


def test_a_vae_is_fetched_by_its_repository(hub, story, run, home, tmp_path):
    """As diffusers saves one, with its weights once; and as FastSD's TAESD lies, a config and folders of graphs."""
    weights = "diffusion_pytorch_model"
    files = files_below(SOURCE / "vae") | {"vae.ckpt": b"x" * 2000, "README.md": b"---\nlicense: mit\n---\n"}
    hub.repos["org/tuned"] = Repo(files | {f"{weights}.bin": b"pickle" * 500})
    folder = as_optimum(default_path(), tmp_path / "made", "openvino")
    graphs = {name: each for name, each in files_below(folder).items() if name.startswith("vae_")}
    hub.repos["org/tiny-ov"] = Repo(graphs | {"config.json": graphs["vae_decoder/config.json"]})
    for name in ("tuned", "tiny-ov"):
        code, out, err = run("pull", f"org/{name}")
        assert (code, out) == (0, f"{home / 'models' / name}\n"), err
        assert err.splitlines()[-1].endswith(f'continue with: pleinair generate "a red house" --vae {name}')
        assert open_bundle(home / "models" / name).manifest.is_vae
        job = ("--engine", "fake", "--steps", "1", "-o", f"{name}.png")
        assert run("generate", "a", "--vae", name, *job)[0] == 0
    assert sorted(each[1].rpartition("/")[2] for each in hub.asked("org/tuned/resolve")) == sorted(
        ["config.json", "README.md", f"{weights}.safetensors"]
    )


def test_what_is_neither_a_model_nor_a_part_of_one_is_refused_before_its_weights(hub, refused, facts, home):
    weights = "diffusion_pytorch_model.safetensors"
    control = {"_class_name": "ControlNetModel", **architectures.CONTROLNETS["sd15-control"]}
    cases = {
        "union": ({"_class_name": "ControlNetUnionModel"}, "'org/union' is a ControlNet Union, which is not supported"),
        "t2i": ({"_class_name": "T2IAdapter"}, "'org/t2i' is a T2I-Adapter, which is not supported"),
        "unet": ({"_class_name": "UNet2DConditionModel"}, "is UNet2DConditionModel alone, which is neither a model"),
        "odd": ({"_class_name": ["x"]}, "alone, which is neither a model nor a VAE nor a ControlNet"),
        "small": (control | {"block_out_channels": [8, 8, 8, 8]}, "no graph for openvino in fp16 ships for the contr"),
        "hint": (control | {"conditioning_channels": 4}, "config.json of no ControlNet for pictures"),
        "vae": ({"_class_name": "AutoencoderKL", "latent_channels": "4"}, "impossible"),
    }

    def check(name, config, words):
        hub.repos[f"org/{name}"] = Repo({"config.json": json.dumps(config).encode(), weights: b"x" * 2000})
        assert words in refused(3, "pull", f"org/{name}")

    every({name: (name, *case) for name, case in cases.items()}, check)
    assert not hub.asked(".safetensors") and not home.exists()
    hub.repos["org/canny"] = Repo({"config.json": json.dumps(control).encode(), weights: b"x" * 2000})
    found = facts("pull", "org/canny", "--only-download")
    assert (found["kind"], found["next"]) == ("component", f"pleinair pour {home / 'downloads' / 'org' / 'canny'}")


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit there")
def test_a_disk_that_fills_while_pouring_keeps_the_download(story, refused, facts, home):
    import resource

    facts("pull", ID, "--only-download")
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))  # writing past it fails like a full disk
    try:
        assert "free some disk space" in refused(4, "pull", ID)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert (home / "downloads" / "org" / "story").is_dir() and not any((home / "models").glob("*"))


def test_ctrl_c_while_pouring_keeps_the_download(story, run, facts, home, monkeypatch):
    def interrupted(*what):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pleinair.pouring.filling.pour_graph", interrupted)
        code, out, err = run("pull", ID, "--json")
    assert code == 130 and json.loads(out)["error"]["kind"] == "Cancelled" and "continues from there" in err
    assert (home / "downloads" / "org" / "story").is_dir() and not any((home / "models").glob("*"))
    assert facts("pull", ID)["folder"] == str(home / "models" / "story")


def test_a_vae_is_a_file_with_what_says_how_it_scales_beside_it(hub, shelf, run, home, monkeypatch):
    """As SDXL's for 16 bits is published: a diffusers folder of a VAE alone."""
    monkeypatch.setattr(topologies, "TOPOLOGIES", shelf)
    files = files_below(SOURCE / "vae")
    config = json.loads(files["config.json"]) | {"scaling_factor": 0.3}
    hub.repos["org/fixed"] = Repo(files | {"config.json": json.dumps(config).encode()})
    code, _, err = run("pull", "org/fixed", "--file", "diffusion_pytorch_model.safetensors")
    assert code == 0, err
    (folder,) = (home / "models").iterdir()
    manifest = open_bundle(folder).manifest
    assert (manifest.is_vae, manifest.vae.scale) == (True, 0.3)
    code, out, err = run(
        "generate", "a", "--vae", folder.name, "--engine", "fake", "--steps", 1, "--json", "-o", "a.png"
    )
    assert (code, json.loads(out)["settings"]["vae"]) == (0, manifest.name), err
