"""What is said of a model, another VAE and another UNet, before anything large is read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pleinair.bundle.opening import open_bundle
from pleinair.cli import app as cli
from pleinair.errors import ExportError, RequestError
from pleinair.pouring.checkpoints import Checkpoint
from pleinair.pouring.names import unet
from pleinair.pouring.opened import opened
from pleinair.pouring.told import PourSettings
from pleinair.pouring.topologies import agrees, find
from pleinair.sources.describing import autoencoder
from vectors import safetensors

SOURCE = Path(__file__).parents[3] / "models" / "storybook" / "source"
NETWORK = "model.diffusion_model."
VAE, HALVES = "diffusion_pytorch_model", ("encoder", "decoder", "quant", "post_quant")
pytestmark = pytest.mark.usefixtures("known")


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "model")
    (tmp_path / "model" / "pleinair.json").unlink(missing_ok=True)
    return tmp_path / "model"


def test_what_is_told_of_a_folder_is_what_it_paints_with(folder):
    plain = opened(folder, None, PourSettings()).model
    told = opened(folder, None, PourSettings(prediction="sample", timestep_spacing="trailing")).model
    assert (plain.defaults.steps, told.defaults.steps, told.defaults.guidance) == (20, 1, 1.0)
    for said, notes in (("sample", 1), ("epsilon", 0), (None, 0)):
        found = opened(folder, None, PourSettings(prediction=said)).notes
        assert ["it says that it predicts epsilon; as you say" in note for note in found] == [True] * notes
    assert (told.scheduler["prediction_type"], told.scheduler["timestep_spacing"]) == ("sample", "trailing")
    (folder / "pleinair.json").write_text(json.dumps({"defaults": {"steps": 9, "guidance": 3.0}}))
    both = opened(folder, None, PourSettings(defaults={"steps": 4})).model.defaults
    assert (both.steps, both.guidance) == (4, 3.0)


def test_a_vae_may_be_a_folder_of_its_own_or_of_a_whole_model(folder):
    for vae in (folder, folder / "vae"):
        assert set(opened(folder, vae, PourSettings()).weights["vae"]) == set(
            opened(folder, None, PourSettings()).weights["vae"]
        )


def test_a_vae_of_its_own_has_the_scale_that_its_folder_says(folder, tmp_path, single):
    """Of two files, which an index names, both are read."""
    other = tmp_path / "other"
    other.mkdir()
    stored = {name: np.asarray(each.raw) for name, each in Checkpoint([folder / "vae" / f"{VAE}.safetensors"]).items()}
    halves = {f"{half}.safetensors": {k: v for k, v in stored.items() if k.startswith(half)} for half in HALVES}
    for file, some in halves.items():
        (other / file).write_bytes(safetensors(some))
    index = {name: file for file, some in halves.items() for name in some}
    (other / f"{VAE}.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    own = json.loads((folder / "vae" / "config.json").read_text())
    moments = {"latents_mean": [0.5] * 4, "latents_std": [2.0] * 4}
    for model in (folder, single()):
        for said, scale in ((None, own["scaling_factor"]), ({"scaling_factor": 0.25, "shift_factor": 0.1}, 0.25)):
            if said:
                (other / "config.json").write_text(json.dumps(own | said | moments))
            found = opened(model, other, PourSettings())
            vae = autoencoder(found.model)
            assert (vae.scale, vae.shift, vae.mean) == ((0.25, 0.1, (0.5,) * 4) if said else (scale, 0, None))
            whose = "its config.json says" if said else "those of the model's own are"
            assert found.notes[-1].endswith(f"scaled by {scale:g}, as {whose}")
            assert set(found.weights["vae"]) == set(stored)
        (other / "config.json").write_text(json.dumps(own | {"scaling_factor": "big"}))
        with pytest.raises(ExportError, match="has impossible scaling_factor of its vae; download"):
            opened(model, other, PourSettings())
        (other / "config.json").unlink()


def test_another_unet_takes_the_place_of_a_models(folder, tmp_path, single, weights):
    """Under its old names with and without what comes before them, and under diffusers' names."""
    old = {name: each * 0 for name, each in weights.items() if name.startswith(NETWORK)}
    bare = {name.removeprefix(NETWORK): each for name, each in old.items()}
    own = {key: bare[taken.name] for key, taken in unet(bare).items()}
    file = tmp_path / "lightning_4step.safetensors"
    for tensors in (old, bare, own, {f"unet.{key}": each for key, each in own.items()}):
        file.write_bytes(safetensors(tensors))
        for model in (folder, single()):
            found = opened(model, None, PourSettings(), file)
            assert set(found.weights["unet"]) == set(own)
            assert not np.any(found.weights["unet"]["conv_in.weight"].raw)
            assert (
                "its name suggests Lightning" in found.notes[-1]
                and "--timestep-spacing trailing --steps 4" in found.notes[-1]
            )
            assert found.unused({part: set(found.weights[part]) for part in found.weights}) == []
    assert not opened(folder, None, PourSettings(timestep_spacing="trailing"), file).notes
    with pytest.raises(RequestError, match="check the path after --unet"):
        opened(folder, None, PourSettings(), tmp_path / "absent")
    file.write_bytes(safetensors(bare | {"out.2.scale_weight": np.ones(3, np.float32)}))
    with pytest.raises(ExportError, match="scaled in an unknown way"):
        opened(folder, None, PourSettings(), file)
    with pytest.raises(ExportError, match="not a model that its weights"):
        opened(folder, None, PourSettings(), folder / "text_encoder" / "model.safetensors")


def test_weights_of_a_unet_that_its_graph_does_not_ask_for_are_another_network(single):
    def leave(name):
        return single(lambda tensors: tensors.update({name: np.zeros(3, np.float32)}))

    for name, fine in (
        (f"{NETWORK}input_blocks.1.2.motion.weight", False),
        (f"{NETWORK}out.2.lora_up.weight", True),
        ("noise.weight", True),
    ):
        found = opened(leave(name), None, PourSettings())
        taken = {part: {key for key in found.weights[part] if "motion" not in key} for part in found.weights}
        taken["unet"] -= {key for key in taken["unet"] if "lora" in key}
        if fine:
            assert found.unused(taken) == [name]
        else:
            with pytest.raises(ExportError, match=r"weight that no included graph uses .*; export it"):
                found.unused(taken)


def test_a_network_may_be_spelled_otherwise_and_no_other_is_taken_for_it():
    known = {
        "own": {"cross_attention_dim": 768, "down_block_types": ["A", "A"], "heads": [5, 10]},
        "usual": {"layers_per_block": 2, "only_cross_attention": False, "depths": [1, [2, 2]], "norm": None},
    }
    own = {"cross_attention_dim": 768, "down_block_types": ("A", "A"), "heads": [5, 10]}
    same = (
        {},
        {"layers_per_block": [2, 2]},
        {"only_cross_attention": [False] * 4},
        {"depths": [1, 2]},
        {"norm": False},
    )
    for said in same:
        assert agrees(own | said, known), said
    assert agrees({key: value for key, value in own.items() if key != "down_block_types"}, known)
    other = ({"layers_per_block": [2, 1]}, {"heads": 5}, {"heads": [5, 10, 10]}, {"down_block_types": ["A", "B"]})
    for said in (*other, {"depths": [1, 2, 2]}, {"layers_per_block": []}, {"norm": 0}):
        assert not agrees(own | said, known), said
    assert not agrees({key: value for key, value in own.items() if key != "heads"}, known)


def test_where_no_topology_fits_what_does_is_named():
    found = opened(SOURCE, None, PourSettings())
    vae, config = dict(found.weights["vae"].shapes), found.model.configs["vae"]
    half = {key: shape for key, shape in vae.items() if key.startswith(("decoder", "post"))}
    wide = {key: (9, *shape[1:]) for key, shape in vae.items()}
    for weights, shapes, words in (
        ("int8", vae, r"\(onnx, int8\); pour it with --format onnx --weights fp16$"),
        ("fp16", half, "it has no weights of a vae_encoder; give the file of a whole VAE"),
        ("fp16", wide, "has sizes or a kind of its own; export it with PyTorch"),
    ):
        with pytest.raises(ExportError, match=words):
            find("vae_encoder", weights, "onnx", shapes, config)


def test_the_options_of_pour_are_in_the_bundle(tmp_path, single, capsys, without_engines):
    file, out = single(), tmp_path / "out"
    options = ["--timestep-spacing", "trailing", "--timesteps", "999,499", "--guidance", "2", "--sampler", "euler"]
    assert cli.run(["pour", str(file), str(out), "--vae", str(SOURCE), "--unet", str(file), *options]) == 0
    bundle = open_bundle(out)
    defaults = bundle.manifest.defaults
    assert (defaults.steps, defaults.timesteps, defaults.guidance, defaults.sampler) == (2, (999, 499), 2, "euler")
    assert bundle.scheduler_config["timestep_spacing"] == "trailing"
    capsys.readouterr()
    for options, words in (
        (["--steps", "0"], "steps"),
        (["--steps", "4", "--timesteps", "999"], "contradict each other"),
        (["--timesteps", "1,999"], "timesteps"),
        (
            ["--timestep-spacing", "karras"],
            "unknown timestep spacing 'karras'; choose from leading, linspace",
        ),
        (["--guidance", "-1"], "guidance"),
    ):
        assert cli.run(["pour", str(file), str(tmp_path / "none"), *options]) in (2, 3)
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1, err
    assert not (tmp_path / "none").exists()
