"""Upscalers: every way their weights are named, answers like torch in both formats, and files that are none."""

import json
import re

import numpy as np
import openvino
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from pleinair.bundle.opening import open_bundle
from pleinair.cli.app import run
from pleinair.engines.graphs import open_graph
from pleinair.errors import ExportError, QualityError, RequestError
from pleinair.sources.origins import Pulled, write_origin
from pleinair_export import esrgan, export
from pleinair_export.upscaler import open_upscaler
from tiny_pipeline import compact_weights, rrdb_weights

NETWORKS = {  # the weights' arguments, and how much wider pictures become
    "rrdb-x4": (rrdb_weights, {"doublings": 2, "blocks": 1}, 4),
    "rrdb-unshuffled-x2": (rrdb_weights, {"doublings": 2, "read": 12, "blocks": 1}, 2),
    "rrdb-unshuffled-x1": (rrdb_weights, {"doublings": 2, "read": 48, "blocks": 1}, 1),
    "compact-x3": (compact_weights, {"scale": 3}, 3),
}
SIZES = ((1, 3, 12, 16), (2, 3, 7, 9), (1, 3, 1, 1))


def plain_rrdb(weights, image):
    """ESRGAN as its paper and code have it, by hand: weights by the names of Real-ESRGAN, (B, 3, H, W) in and out."""

    def conv(x, name):
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    x = trunk = conv(image, "conv_first")
    for block in range(len({name.split(".")[1] for name in weights if name.startswith("body.")})):
        entered = trunk
        for dense in (1, 2, 3):
            seen, name = [trunk], f"body.{block}.rdb{dense}.conv"
            for n in (1, 2, 3, 4):
                seen.append(leaky(conv(torch.cat(seen, 1), f"{name}{n}")))
            trunk = trunk + 0.2 * conv(torch.cat(seen, 1), f"{name}5")
        trunk = entered + 0.2 * trunk
    x = x + conv(trunk, "conv_body")
    for n in range(1, 9):
        if f"conv_up{n}.weight" in weights:
            x = leaky(conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"conv_up{n}"))
    return conv(leaky(conv(x, "conv_hr")), "conv_last")


def as_in_2018(weights):
    """The same weights as the first ESRGAN files name them: modules by number."""
    ups = len({name.split(".")[0] for name in weights if name.startswith("conv_up")})
    blocks = len({name.split(".")[1] for name in weights if name.startswith("body.")})
    numbers = {"conv_first": "0", "conv_body": f"1.sub.{blocks}"}
    numbers |= {f"conv_up{n}": str(3 * n) for n in range(1, ups + 1)}
    numbers |= {"conv_hr": str(3 * ups + 2), "conv_last": str(3 * ups + 4)}
    made = {}
    for name, value in weights.items():
        stem, kind = name.rsplit(".", 1)
        dense = re.fullmatch(r"body\.(\d+)\.rdb(\d)\.conv(\d)", stem)
        stem = "1.sub.{}.RDB{}.conv{}.0".format(*dense.groups()) if dense else numbers[stem]
        made[f"model.{stem}.{kind}"] = value
    return made


def as_in_2019(weights):
    """The same weights as BSRGAN and the rewritten ESRGAN name them."""
    changes = ((r"body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB"), ("conv_body", "trunk_conv"), ("conv_up", "upconv"))
    made = {}
    for name, value in weights.items():
        for old, new in (*changes, ("conv_hr", "HRconv")):
            name = re.sub(f"^{old}", new, name)
        made[name] = value
    return made


def noise(*shape):
    return np.random.default_rng(sum(shape)).uniform(0, 1, shape).astype(np.float32)


def written(folder, weights, name="model.safetensors", **metadata):
    file = folder / name
    if file.suffix == ".safetensors":
        save_file(weights, file, metadata or None)
    else:
        torch.save(weights, file)
    return file


def refused(match, file, kind=ExportError):
    before = sorted(file.parent.iterdir())
    with pytest.raises(kind, match=match) as caught:
        list(export(file, file.parent / "out"))
    assert "\n" not in str(caught.value)
    assert sorted(file.parent.iterdir()) == before


@pytest.mark.parametrize("naming", [dict, as_in_2018, as_in_2019])
@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_networks_are_esrgan_whatever_their_weights_are_called(naming, doublings):
    weights = rrdb_weights(doublings=doublings, blocks=3)
    network = esrgan.build(naming(weights))
    image = torch.from_numpy(noise(2, 3, 5, 4))
    torch.testing.assert_close(network(image)[0], plain_rrdb(weights, image), rtol=1e-5, atol=1e-5)
    assert network.scale == 2**doublings


def test_pictures_are_unshuffled_before_the_network():
    weights = rrdb_weights(doublings=2, read=12)
    image = torch.from_numpy(noise(1, 3, 8, 6))
    expected = plain_rrdb(weights, nn.PixelUnshuffle(2)(image))
    torch.testing.assert_close(esrgan.build(weights)(image)[0], expected, rtol=1e-5, atol=1e-5)


def test_compact_networks_add_to_the_enlarged_picture():
    weights = compact_weights(scale=4)
    image = torch.from_numpy(noise(1, 3, 5, 6))
    x = image
    for n in range(0, 7, 2):
        x = F.conv2d(x, weights[f"body.{n}.weight"], weights[f"body.{n}.bias"], padding=1)
        x = F.prelu(x, weights[f"body.{n + 1}.weight"]) if n < 6 else nn.PixelShuffle(4)(x)
    expected = x + image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(esrgan.build(weights)(image)[0], expected, rtol=1e-5, atol=1e-5)


def test_training_checkpoints_are_unwrapped(tmp_path):
    weights = {f"module.{name}": value.half() for name, value in rrdb_weights(blocks=1).items()}
    for wrapper in ("params_ema", "params", "state_dict", "net"):
        file = written(tmp_path, {wrapper: weights, "iter": 5}, "checkpoint.pth")
        assert open_upscaler(file).scale == 2, wrapper
    for _ in export(file, tmp_path / "out", formats=("onnx",), weights="fp16"):
        pass
    assert open_bundle(tmp_path / "out").manifest.scale == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_both_formats_answer_like_torch(tmp_path, name):
    """Every size and batch, down to one pixel, and through the runtime's own engines."""
    make, arguments, scale = NETWORKS[name]
    weights = make(**arguments)
    steps = list(export(written(tmp_path, weights), tmp_path / "out", formats=("openvino", "onnx"), weights="fp32"))
    assert [step.done for step in steps] == list(range(steps[-1].total + 1))
    bundle, network = open_bundle(tmp_path / "out"), esrgan.build(weights)
    assert (bundle.manifest.scale, bundle.manifest.tasks, bundle.formats) == (scale, ("upscale",), ("onnx", "openvino"))
    for engine in bundle.formats:
        graph = open_graph(bundle, "upscaler", engine, None, 1)
        for shape in SIZES:
            image = noise(*shape)
            ours = graph(image=image)["upscaled"]
            assert ours.shape == (*shape[:2], scale * shape[2], scale * shape[3])
            np.testing.assert_allclose(ours, network(torch.from_numpy(image))[0], atol=2e-5)


@pytest.mark.parametrize("weights, gate, stored", [("fp16", 68, "f16"), ("int8", 35, "i8")])
def test_small_weights_pass_their_gate(tmp_path, weights, gate, stored):
    """Wide enough for convolutions that are worth storing small."""
    file = written(tmp_path, compact_weights(layers=3, width=16), **{"modelspec.license": "bsd-3-clause"})
    for _ in export(file, tmp_path / "out", formats=("openvino", "onnx"), weights=weights):
        pass
    bundle = open_bundle(tmp_path / "out")
    info = bundle.manifest.graphs["upscaler"]
    assert all(found.psnr_db >= found.gate_db == gate for found in info.fidelity.values())
    assert (info.weights, bundle.manifest.name, bundle.damage()) == (weights, "model", [])
    kinds = {node.get_element_type().to_string() for node in constants(bundle.graph_file("upscaler", "openvino"))}
    assert stored in kinds
    origin = bundle.manifest.origin
    assert (origin.source, origin.licence) == ("model.safetensors", "bsd-3-clause")
    assert origin.command == f"pleinair export model.safetensors --format both --weights {weights}"
    assert str(tmp_path) not in (bundle.path / "bundle.json").read_text()


def constants(file):
    return [node for node in openvino.Core().read_model(file).get_ops() if node.get_type_name() == "Constant"]


def test_the_command_line_exports_and_shows_it(tmp_path, capsys):
    file, out = written(tmp_path, rrdb_weights()), tmp_path / "out"
    write_origin(tmp_path, Pulled("org/fox", "0123456789" * 4))
    assert run(["export", str(file), str(out), "--weights", "fp32", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["family"], facts["scale"], facts["tasks"]) == ("upscaler", 2, ["upscale"])
    assert (facts["origin"]["source"], facts["origin"]["revision"]) == ("org/fox", "0123456789" * 4)
    assert run(["info", str(out), "--verify"]) == 0
    assert run(["generate", "a fox", "--model", str(out)]) == 3
    assert "give it to --upscale" in capsys.readouterr().err


def test_damaged_files(tmp_path):
    whole = written(tmp_path, rrdb_weights())
    for keep in (0, 7, 100, 5000, -1):
        file = tmp_path / "cut.safetensors"
        file.write_bytes(whole.read_bytes()[:keep])
        refused("(cut short|not a safetensors file).*download the model again", file)
    pickled = written(tmp_path, rrdb_weights(), "cut.pth")
    for keep in (0, 100, 5000, -1000):
        file = tmp_path / "half.pth"
        file.write_bytes(pickled.read_bytes()[:keep])
        refused("cannot read 'half.pth' as weights alone", file)
    (tmp_path / "text.pt").write_text("no weights")
    refused("cannot read 'text.pt'", tmp_path / "text.pt")


class Command:
    def __reduce__(self):
        import os

        return os.system, ("touch ran",)


def test_a_pickle_that_runs_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": rrdb_weights(), "x": Command()}, tmp_path / "evil.pth")
    refused("cannot read 'evil.pth' as weights alone .*safetensors", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def change(**shapes):
    weights = rrdb_weights()
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.zeros(shape)
    return weights


@pytest.mark.parametrize(
    "weights, match",
    [
        ({"net.conv_in.weight": torch.zeros(4, 4, 3, 3)}, "named unlike any ESRGAN"),
        (rrdb_weights(read=1), "reads 1 channels and makes 3"),
        (rrdb_weights(read=12, doublings=0), "enlarges by 1 / 2"),
        (rrdb_weights(doublings=5), "enlarges by 32 / 1"),
        (change(conv_last=(4, 8, 3, 3)), "makes 4"),
        (change(conv_hr=(8, 9, 3, 3)), "size mismatch for conv_hr"),
        (change(conv_first=(8,)), "'conv_first.weight' is not the weight of a convolution"),
        (change(conv_first=(0, 3, 3, 3)), "'conv_first.weight' is not the weight of a convolution"),
        ({**as_in_2018(rrdb_weights()), "model.1.sub.0.RDB1.conv1x1.weight": torch.zeros(4, 8, 1, 1)}, "Unexpected"),
        ({**rrdb_weights(), "body.0.rdb1.conv1x1.weight": torch.zeros(4, 8, 1, 1)}, "Unexpected key"),
        ({**rrdb_weights(), "body.99999999.rdb1.conv1.weight": torch.zeros(1)}, "not numbered"),
        ({name: value for name, value in rrdb_weights().items() if "conv_body" not in name}, "Missing key"),
        (compact_weights() | {"body.6.weight": torch.zeros(9, 8, 3, 3)}, "makes 9"),
        ({"body.0.weight": torch.zeros(3), "body.1.weight": torch.zeros(3)}, "not the weight of a convolution"),
    ],
)
def test_foreign_networks(tmp_path, weights, match):
    refused(f"not an upscaler .*{match}.*; choose an ESRGAN", written(tmp_path, weights))


@pytest.mark.parametrize("held", [[1, 2], {}, {"params": {"a": 3}}, torch.zeros(3), {"params": {}}])
def test_files_that_hold_no_weights(tmp_path, held):
    refused("holds no table of weights", written(tmp_path, held, "model.pth"))


def test_weights_that_are_not_finite(tmp_path):
    weights = rrdb_weights()
    weights["conv_last.bias"][0] = float("nan")
    refused("upscaler .* from torch .*nothing was written", written(tmp_path, weights), QualityError)


def test_other_files(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").touch()
    refused(
        "'model.onnx' is neither a diffusers folder .* ends with .safetensors, .pth or .pt", tmp_path / "model.onnx"
    )
    refused("no folder or file", tmp_path / "absent.safetensors", RequestError)
    monkeypatch.setattr("pleinair_export.upscaler.LARGEST", 100)
    refused("too much for an upscaler.*pleinair pour", written(tmp_path, rrdb_weights()))
