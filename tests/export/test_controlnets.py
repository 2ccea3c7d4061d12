"""ControlNets: exported from folders and files, and painted with as diffusers' pipelines do."""

import json
import shutil

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from PIL import Image
from safetensors.torch import load_file, save_file
from test_lora import dequantized

import original_names
import pleinair
from foreign import as_optimum
from pleinair.bundle.opening import open_bundle
from pleinair.engines.edits import Change, NewWeights, Residuals
from pleinair.engines.graphs import open_graph
from pleinair.engines.onnx import free_dimensions
from pleinair.errors import BundleError, ExportError, RequestError
from pleinair.library.given import made_ready
from pleinair.library.poured import mark
from pleinair.pouring import controlnets, topologies
from pleinair.pouring.pour import pour
from pleinair_export import convert
from pleinair_export.quantize import is_weight
from shelves import write_control_shelf
from tiny_control import write_tiny_control

TOLERANCE = 2e-3
STEPS, SIDE = 4, 64
ENGINES = ("openvino", "onnx")
FORMATS = {"sd1": ENGINES, "sd1-inpaint": ("onnx",), "sdxl": ("openvino",)}
PLAIN, REPAINTS, INPAINTS = (f"StableDiffusionControlNet{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint"))
XL = "StableDiffusionXLControlNetPipeline"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def control_sources(tiny_sources, once):
    """`control_sources(family)`: the folder of a ControlNet for a tiny model."""

    def folder(family):
        return once(f"sources/control-{family}", lambda made: write_tiny_control(tiny_sources[family], made))

    return folder


@pytest.fixture(scope="session")
def control_bundles(control_sources, once):
    """`control_bundles(family)`: its bundle, in the formats of FORMATS."""

    def bundle(family):
        def make(out):
            list(convert.export(control_sources(family), out, formats=FORMATS[family], weights="fp32"))

        return once(f"bundles/control-{family}", make)

    return bundle


@pytest.fixture(scope="module")
def theirs(tiny_sources, control_sources):
    """`theirs(kind, family, nets)`: a diffusers pipeline with the model's ControlNet, so many times.

    Its sampler asks the network once in a step: diffusers counts questions, and a ControlNet's share here is of steps.
    """

    def pipeline(kind, family, nets=1):
        net = diffusers.ControlNetModel.from_pretrained(control_sources(family))
        pipe = getattr(diffusers, kind).from_pretrained(
            tiny_sources[family], controlnet=net if nets == 1 else [net] * nets
        )
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
        return pipe

    return pipeline


@pytest.fixture(scope="module")
def ours(exported):
    opened = {}

    def pipeline(family, engine):
        if (family, engine) not in opened:
            how = {"engine": engine, "threads": 1, "precision": "f32"}
            opened[family, engine] = pleinair.load(exported(family, "fp32"), **how)
        return opened[family, engine]

    return pipeline


def picture(width=SIDE, height=SIDE, phase=0.0):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + i) + i + phase) * np.cos(y / (7 - i)) for i in range(3)]
    return Image.fromarray(((np.stack(waves, -1) / 2 + 0.5) * 255).astype(np.uint8))


def hole():
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (20, 16, 56, 40))
    return mask


def drawn(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def far(made, expected):
    assert made.pixels.shape == expected.images.shape and expected.images.std() > 0.02
    return np.abs(made.pixels - expected.images).max()


def painted(pipe, seeds=(5,), negative="and on", **asked):
    size = {"width": SIDE, "height": SIDE}
    job = {"steps": STEPS, "guidance": 5.0, "sampler": "ddim", "seed": seeds, "batch": len(seeds), **size, **asked}
    return pipe.generate("the red one", negative, **job)


def expected(pipe, seeds=(5,), negative="and on", **asked):
    texts = {"prompt": ["the red one"] * len(seeds), "negative_prompt": [negative] * len(seeds)}
    how = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "generator": drawn(*seeds), "output_type": "np"}
    return pipe(**texts, **how, **{"controlnet_conditioning_scale": 1.0, **asked})


SIZE = {"width": SIDE, "height": SIDE}
SHARES = {
    "strength": ({"strength": 0.7}, {"controlnet_conditioning_scale": 0.7}),
    "some steps": (
        {"start": 0.2, "end": 0.8},
        {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
    ),
    "guess": ({"guess": True}, {"guess_mode": True}),
}


CASES = {"strength": ("openvino", False), "some steps": ("onnx", True), "guess": ("onnx", False)}


@pytest.mark.parametrize("how", SHARES)
def test_a_controlnet_equals_diffusers(ours, theirs, control_bundles, how):
    """Two pictures at once, one picture for both, which is of another size; a sampler that asks once in a step."""
    (own, their), (engine, two_calls) = SHARES[how], CASES[how]
    seen, pipe = picture(80, 48), theirs(PLAIN, "sd1")
    made = painted(
        ours("sd1", engine),
        (3, 8),
        two_calls=two_calls,
        controls=[{"model": control_bundles("sd1"), "image": seen, **own}],
    )
    assert far(made, expected(pipe, (3, 8), image=seen, **SIZE, **their)) < TOLERANCE
    assert "is 80x48 and is stretched to 64x64" in " ".join(made.warnings)


def test_an_adopted_unet_gets_ports_too(theirs, control_bundles, exported, tmp_path):
    """Of other tools' folders, in each format."""
    seen = picture()
    wanted = expected(theirs(PLAIN, "sd1"), image=seen, **SIZE)
    for engine in ENGINES:
        folder = as_optimum(exported("sd1", "fp32"), tmp_path / engine / "model", engine)
        pipe = pleinair.load(pleinair.adopt(folder).path, engine=engine, threads=1, precision="f32")
        made = painted(pipe, controls=[{"model": control_bundles("sd1"), "image": seen}])
        assert far(made, wanted) < TOLERANCE, engine


def test_several_controlnets_are_summed(ours, theirs, control_bundles):
    first, second = picture(), picture(phase=2.0)
    made = painted(
        ours("sd1", "onnx"),
        controls=[
            {"model": control_bundles("sd1"), "image": first, "strength": 0.8},
            {"model": control_bundles("sd1"), "image": second, "strength": 0.5, "end": 0.5},
        ],
    )
    how = {"controlnet_conditioning_scale": [0.8, 0.5], "control_guidance_start": [0.0, 0.0]}
    how["control_guidance_end"] = [1.0, 0.5]
    assert far(made, expected(theirs(PLAIN, "sd1", 2), image=[first, second], **SIZE, **how)) < TOLERANCE


def test_a_controlnet_over_a_picture_and_through_a_mask(ours, theirs, control_bundles):
    """Of one that is repainted, of a hole in it, and of a hole by a model that was made for that."""
    below, seen = picture(phase=1.0), picture()
    controls = [{"model": control_bundles("sd1"), "image": seen}]
    over = {"image": below, "strength": 0.6}
    pipe = ours("sd1", "openvino")
    made = painted(pipe, **over, controls=controls)
    assert far(made, expected(theirs(REPAINTS, "sd1"), control_image=seen, **over)) < TOLERANCE
    over = {"image": below, "strength": 1.0}
    made = painted(pipe, **over, mask=hole(), mask_blur=0, restore=False, controls=controls)
    inpainted = expected(theirs(INPAINTS, "sd1"), control_image=seen, mask_image=hole(), **SIZE, **over)
    assert far(made, inpainted) < TOLERANCE


def test_a_model_of_nine_channels_shows_its_controlnet_four(ours, theirs, control_bundles):
    over = {"image": picture(phase=1.0), "strength": 1.0}
    controls = [{"model": control_bundles("sd1-inpaint"), "image": picture()}]
    made = painted(ours("sd1-inpaint", "onnx"), **over, mask=hole(), mask_blur=0, restore=False, controls=controls)
    how = {"control_image": picture(), "mask_image": hole(), **SIZE, **over}
    assert far(made, expected(theirs(INPAINTS, "sd1-inpaint"), **how)) < TOLERANCE


def test_a_controlnet_of_sdxl_equals_diffusers(ours, theirs, control_bundles):
    controls = [{"model": control_bundles("sdxl"), "image": picture(), "strength": 0.9}]
    made = painted(ours("sdxl", "openvino"), controls=controls)
    how = {"image": picture(), "controlnet_conditioning_scale": 0.9, **SIZE}
    assert far(made, expected(theirs(XL, "sdxl"), **how)) < TOLERANCE


def test_a_controlnet_that_reads_no_text_equals_diffusers(ours, theirs, tmp_path):
    """Without attention to a text, which a tracer would drop as an input that nothing uses."""
    pipe = theirs(PLAIN, "sd1")
    own = pipe.controlnet.config
    plain = {"down_block_types": ["DownBlock2D"] * len(own.block_out_channels), "mid_block_type": "UNetMidBlock2D"}
    torch.manual_seed(3)
    pipe.controlnet = diffusers.ControlNetModel.from_config({**own, **plain}).eval()
    for layer in (*pipe.controlnet.controlnet_down_blocks, pipe.controlnet.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.1)
    pipe.controlnet.save_pretrained(tmp_path / "edges")
    list(convert.export(tmp_path / "edges", tmp_path / "bundle", formats=ENGINES, weights="fp32"))
    seen = picture()
    wanted = expected(pipe, image=seen, **SIZE)
    for engine in ENGINES:
        made = painted(ours("sd1", engine), controls=[{"model": tmp_path / "bundle", "image": seen}])
        assert far(made, wanted) < TOLERANCE


def original(weights):
    """A ControlNet's weights under their original names."""
    own, seen = {}, "controlnet_cond_embedding."
    blocks = sum(name.startswith(f"{seen}blocks.") for name in weights) // 2
    for name in [name for name in weights if name.startswith("controlnet_")]:
        path, leaf = name.rsplit(".", 1)
        _, *places = path.split(".")
        if name.startswith(seen):
            ends = {"conv_in": 0, "conv_out": blocks + 1}
            place = ends[places[0]] if places[0] in ends else int(places[1]) + 1
            own[f"input_hint_block.{2 * place}.{leaf}"] = weights[name]
        else:
            own[f"zero_convs.{places[0]}.0.{leaf}" if places else f"middle_block_out.0.{leaf}"] = weights[name]
    rest = {name: each for name, each in weights.items() if not name.startswith("controlnet_")}
    return {f"control_model.{name}": each for name, each in (original_names.unet(rest) | own).items()}


def test_a_controlnet_is_exported_and_poured_alike(control_sources, control_bundles, tmp_path, monkeypatch):
    """From its folder, from a file under original names, which are diffusers' by its converter, and from a pickle."""
    source, exported = control_sources("sd1"), control_bundles("sd1")
    write_control_shelf(tmp_path / "shelf", exported, source)
    monkeypatch.setattr(topologies, "TOPOLOGIES", tmp_path / "shelf")
    config = json.loads((source / "config.json").read_text())
    monkeypatch.setattr(controlnets, "OF_TEXT", {config["cross_attention_dim"]: config})
    monkeypatch.setattr(controlnets, "TEXT", controlnets.TEXT.replace("blocks.1.", "blocks.0.", 1))
    weights = load_file(source / "diffusion_pytorch_model.safetensors")
    named = original(weights)
    assert numbers(convert_controlnet_checkpoint(dict(named), config)) == numbers(weights)
    file, pickled = tmp_path / "my canny.safetensors", tmp_path / "my canny.pth"
    save_file(named, file)
    torch.save(named, pickled)
    expected = open_bundle(exported).manifest
    for place, (given, how) in enumerate(((source, {}), (file, {}), (pickled, {"allow_pickle": True}))):
        out = tmp_path / f"poured{place}"
        notes = [step.words for step in pour(given, out, formats=ENGINES, weights="fp32", **how)]
        made = open_bundle(out).manifest
        graphs = {name: info for name, info in expected.files.items() if not name.endswith("config.json")}
        assert {name: made.files[name] for name in graphs} == graphs
        assert (made.control, made.weights) == (expected.control, expected.weights)
    assert made.name == "my canny" and "it is a ControlNet" in " ".join(notes)
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    with pytest.raises(ExportError, match="pour it with --format onnx --weights fp32: pleinair pour"):
        made_ready(source, "onnx")
    shutil.copytree(tmp_path / "poured0", tmp_path / "home" / "models" / "canny")
    mark(tmp_path / "home" / "models" / "canny", source)
    assert made_ready(source, "onnx") == tmp_path / "home" / "models" / "canny"
    with pytest.raises(RequestError, match="is a ControlNet, which paints nothing; leave"):
        list(pour(source, tmp_path / "out", prediction="epsilon"))


def numbers(weights):
    return {name: each.contiguous().numpy().tobytes() for name, each in weights.items()}


def test_what_is_like_a_controlnet_is_refused_by_name(tmp_path, control_sources):
    """Before anything is loaded, by export and by pouring; and a file that is none, or damaged."""
    folders = {"ControlNetUnionModel": "a ControlNet Union", "T2IAdapter": "a T2I-Adapter"}
    files = {
        "lllite_unet_down.weight": "a ControlNet-LLLite of kohya's",
        "control_type_proj.weight": "a ControlNet Union",
        "adapter.body.0.resnets.0.block1.weight": "a T2I-Adapter",
        "controlnet_cond_embedding.conv_in.weight": "a ControlNet of a size of its own",
    }
    for number, (kind, words) in enumerate(folders.items()):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "config.json").write_text(json.dumps({"_class_name": kind}))
        for make in (convert.export, pour):
            with pytest.raises(ExportError, match=f"is {words}, which is not supported; take a plain ControlNet"):
                list(make(tmp_path / f"{number}", tmp_path / "out"))
    for number, (name, words) in enumerate(files.items()):
        save_file({name: torch.zeros(4, 4)}, tmp_path / f"{number}.safetensors")
        for make in (convert.export, pour):
            with pytest.raises(ExportError, match=f"is {words}.*; take a plain ControlNet"):
                list(make(tmp_path / f"{number}.safetensors", tmp_path / "out"))
    odd = tmp_path / "odd"
    shutil.copytree(control_sources("sd1"), odd)
    config = json.loads((odd / "config.json").read_text())
    for change, words in (
        ({"conditioning_channels": 4}, "config.json of no ControlNet for pictures"),
        ({"class_embed_type": "timestep"}, "has class_embed_type 'timestep', which is not supported"),
        ({"block_out_channels": 5}, "config.json of no ControlNet for pictures"),
    ):
        (odd / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ExportError, match=words):
            list(convert.export(odd, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("weights", "near"), [("fp16", 1e-5), ("int8", 5e-3)])
def test_small_weights_are_those_that_torch_is_given(control_sources, tmp_path, weights, near):
    """Exported in both formats; engines round what they multiply with weights of 8 bits, too. Shares of the largest."""
    out = tmp_path / "small"
    list(convert.export(control_sources("sd1"), out, formats=ENGINES, weights=weights))
    bundle = open_bundle(out)
    assert bundle.manifest.graphs["controlnet"].weights == weights
    rng = np.random.default_rng(3)
    given = {"sample": rng.standard_normal((2, 4, 9, 7), np.float32), "timestep": np.array([500], np.float32)}
    given["encoder_hidden_states"] = rng.standard_normal((2, 77, 32), np.float32)
    given["controlnet_cond"] = rng.random((2, 3, 72, 56), np.float32)
    for engine in ENGINES:
        net = diffusers.ControlNetModel.from_pretrained(control_sources("sd1")).eval()
        with torch.no_grad():
            if weights == "fp16":
                for parameter in net.parameters():
                    if is_weight(parameter.shape):
                        parameter.copy_(parameter.half())
            else:
                small = dequantized(bundle, engine, "controlnet")
                assert len(small) > 20
                for path, weight in small.items():
                    layer = net.get_submodule(path)
                    layer.weight.copy_(torch.from_numpy(weight.copy()).reshape(layer.weight.shape))
            skips, middle = net(*map(torch.from_numpy, given.values()), return_dict=False)
        answers = open_graph(bundle, "controlnet", engine, threads=1)(**given)
        expected = dict(zip(bundle.manifest.control.residuals, (*skips, middle), strict=True))
        far = {port: np.abs(answers[port] - each.numpy()).max() for port, each in expected.items()}
        size = max(each.abs().max().item() for each in expected.values())
        assert max(far.values()) < near * size, engine


def twice(weight):
    return 2 * weight


@pytest.mark.parametrize("engine", ENGINES)
def test_ports_for_residuals_are_those_of_torch(exported, tiny_sources, engine):
    """At an odd size, for a batch, beside other weights; zeros change nothing; other skip connections are told."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(tiny_sources["sd1"] / "unet").eval()
    doubled = {path: Change(weight=twice) for path in ("conv_in", "time_embedding.linear_1")}
    for path in doubled:
        unet.get_submodule(path).weight.data *= 2
    rng = np.random.default_rng(0)
    given = {"sample": rng.standard_normal((2, 4, 9, 7), np.float32), "timestep": np.array([500], np.float32)}
    given["encoder_hidden_states"] = rng.standard_normal((2, 77, 32), np.float32)
    edit = Residuals((32, 32, 32, 48, 48), "canny")
    sides = [(9, 7), (9, 7), (5, 4), (5, 4), (5, 4)]
    shapes = [(2, width, *side) for width, side in zip(edit.channels, sides, strict=True)]
    added = [rng.standard_normal(shape, np.float32) for shape in shapes]
    plain = [torch.from_numpy(each) for each in given.values()]
    with torch.no_grad():
        *skips, middle = map(torch.from_numpy, added)
        how = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
        wanted, bare = (unet(*plain, **more)[0].numpy() for more in (how, {}))
    bundle = open_bundle(exported("sd1", "fp32"))
    sizes = free_dimensions(bundle.graph_file("unet", "onnx"), dict(zip(edit.ports, shapes, strict=True)), [edit])
    assert len(sizes) == 15 and set(sizes.values()) == {2, 9, 7, 5, 4}  # which DirectML is told: all but the channels
    graph = open_graph(bundle, "unet", engine, threads=1, edits=[edit, NewWeights("twice", doubled)])
    assert np.abs(wanted - bare).max() > 0.5
    for factor, expected in ((1, wanted), (0, bare)):
        ports = {port: factor * each for port, each in zip(edit.ports, added, strict=True)}
        assert np.abs(graph(**given, **ports)["out_sample"] - expected).max() < 1e-4
    for other in ((8, 8, 8), (32, 32, 32, 48, 7)):
        with pytest.raises(BundleError, match=r"'canny' is not for '.*': .* and that model's are 32 x 3, 48 x 2; give"):
            wrong = open_graph(bundle, "unet", engine, edits=[Residuals(other, "canny")])
            wrong.prepare({port: each.shape for port, each in given.items()})
