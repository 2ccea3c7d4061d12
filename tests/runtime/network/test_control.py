"""ControlNets on the fake engine: when they are asked, what is recorded, and what is refused."""

import gc
import json
import math
import weakref

import numpy as np
import pytest
from PIL import Image

import pleinair
from bundles import edit_manifest, light_control, light_copy, light_packed_copy, light_upscaler, light_vae
from every import every
from pleinair.bundle.onnx_data import Initializer
from pleinair.bundle.onnx_nodes import Node
from pleinair.cli.app import run
from pleinair.engines.fake import FakeEngine
from pleinair.engines.onnx_residuals import Arrays, Kind
from pleinair.errors import BundleError, PleinairError, RequestError
from pleinair.files.metadata import read_record
from pleinair.request.controls import Control, parsed
from pleinair.tasks.rerun import rerun

JOB = {"prompt": "a boat", "seed": 1, "steps": 10, "guidance": 4.0, "width": 64, "height": 64}
SIZE = (64, 64)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return light_copy(tmp_path_factory.mktemp("model") / "story")


@pytest.fixture
def canny(tmp_path):
    return light_control(tmp_path / "canny")


@pytest.fixture
def watched(model):
    """A pipeline, and the calls of its graphs: their names and inputs."""
    calls = []
    return pleinair.load(model, engine=FakeEngine(lambda graph, inputs: calls.append((graph, inputs)))), calls


def gray(level, size=SIZE):
    return Image.new("RGB", size, (level,) * 3)


def rows_told(calls):
    """Rows of each call of the ControlNet, and what it saw."""
    return [len(inputs["sample"]) for graph, inputs in calls if graph == "controlnet"]


def residuals_of(calls):
    return [inputs["mid_block_additional_residual"] for graph, inputs in calls if graph == "unet"]


def test_a_picture_changes_by_what_its_controlnet_sees(watched, canny):
    """The more the stronger; not at all where the strength is 0, and then by the plain graph."""
    pipe, calls = watched
    plain = pipe.generate(**JOB).pixels
    light = {
        strength: pipe.generate(**JOB, controls=[Control(canny, gray(255), strength)]).pixels
        for strength in (0.0, 1.0, 2.0)
    }
    assert np.array_equal(light[0.0], plain)
    apart = [np.abs(light[strength] - plain).mean() for strength in (1.0, 2.0)]
    assert 0.001 < apart[0] < apart[1]
    dark = pipe.generate(**JOB, controls=[Control(canny, gray(0))]).pixels
    assert np.abs(dark - plain).mean() < apart[0] / 2
    calls.clear()
    pipe.generate(**JOB, controls=[Control(canny, gray(255), 0.0)])
    assert not rows_told(calls) and all("mid_block_additional_residual" not in inputs for _, inputs in calls)


def test_a_controlnet_is_asked_in_its_steps_alone(watched, canny):
    """As diffusers counts them; the others get zeros from the same graph."""
    pipe, calls = watched
    pipe.generate(**JOB, controls=[Control(canny, gray(255), start=0.2, end=0.65)])
    sizes = [abs(each).max() for each in residuals_of(calls)]
    assert [step for step, size in enumerate(sizes) if size] == [2, 3, 4, 5]
    assert rows_told(calls) == [2] * 4
    never = pipe.generate(**JOB, controls=[Control(canny, gray(255), start=0.01, end=0.09)])
    assert "1 of the ControlNets count in no step" in " ".join(never.warnings) and rows_told(calls) == [2] * 4


def test_guess_mode_leaves_the_negative_prompt_alone(watched, canny):
    pipe, calls = watched
    for two_calls, rows in ((False, [1] * 10), (True, [1] * 10)):
        calls.clear()
        pipe.generate(**JOB, two_calls=two_calls, controls=[Control(canny, gray(255), guess=True)])
        assert rows_told(calls) == rows
        told = np.concatenate(residuals_of(calls)).reshape(-1, *residuals_of(calls)[0].shape[1:])
        assert not told[::2].any() and told[1::2].all()
    finest, middle = "down_block_additional_residual.0", "mid_block_additional_residual"
    first, last = (calls[-2][1][port].mean() for port in (finest, middle))
    assert math.isclose(last / first, 10, rel_tol=1e-4)


def test_parts_batches_and_passes_see_the_picture_at_their_size(watched, canny):
    """Three rows for two parts and the negative prompt, for two pictures; the second pass is twice as large."""
    pipe, calls = watched
    job = JOB | {"prompt": "a boat AND a house", "seed": [1, 2], "batch": 2, "hires": 2.0, "steps": 2}
    made = pipe.generate(**job, controls=[Control(canny, gray(200, (32, 48)))])
    seen = [inputs["controlnet_cond"].shape for graph, inputs in calls if graph == "controlnet"]
    assert set(seen) == {(6, 3, 64, 64), (6, 3, 128, 128)}
    assert "is 32x48 and is stretched to 64x64" in " ".join(made.warnings)
    alone = pipe.generate(**job | {"seed": 2, "batch": 1}, controls=[Control(canny, gray(200))])
    assert np.allclose(made.pixels[1], alone.pixels[0], atol=1e-5)


def test_pooled_and_swapped_controlnets(watched, tmp_path):
    """One whose residuals are means counts as in guess mode; one of other colours sees them turned round."""
    pipe, calls = watched
    pooled = light_control(tmp_path / "shuffle", global_pool_conditions=True)
    turned = light_control(tmp_path / "turned", controlnet_conditioning_channel_order="bgr")
    red = Image.new("RGB", SIZE, (255, 0, 0))
    pipe.generate(**JOB, controls=[Control(pooled, red), Control(turned, red)])
    shown = [inputs["controlnet_cond"] for graph, inputs in calls if graph == "controlnet"][:2]
    assert [len(each) for each in shown] == [1, 2]
    assert shown[0][0, :, 0, 0].tolist() == [1, 0, 0] and shown[1][0, :, 0, 0].tolist() == [0, 0, 1]


def test_seamless_pictures_show_their_controlnet_what_they_show_the_network(watched, canny):
    pipe, calls = watched
    half = Image.new("RGB", SIZE)
    half.paste((255, 255, 255), (0, 0, 32, 64))
    pipe.generate(**JOB, tile=True, controls=[Control(canny, half)])
    seen = [inputs["controlnet_cond"][0, 0] for graph, inputs in calls if graph == "controlnet"]
    assert len({each.tobytes() for each in seen}) > 3 and all(math.isclose(each.mean(), 0.5) for each in seen)


def test_a_region_that_is_painted_alone_is_what_the_controlnet_sees(watched, canny):
    pipe, calls = watched
    seen, mask = gray(0), Image.new("L", SIZE)
    seen.paste((255, 255, 255), (32, 32, 64, 64))
    mask.paste(255, (34, 34, 62, 62))
    pipe.generate(**JOB, image=gray(90), mask=mask, only_masked=True, padding=0, controls=[Control(canny, seen)])
    shown = next(inputs["controlnet_cond"] for graph, inputs in calls if graph == "controlnet")
    assert shown.mean() > 0.99
    below, hole = gray(90, (80, 64)), Image.new("L", (80, 64), 255)
    made = pipe.generate(**JOB, image=below, mask=hole, only_masked=True, controls=[Control(canny, seen)])
    assert "is 64x64 and is stretched to 80x64" in " ".join(made.warnings)


def test_an_inpaint_controlnet_is_not_shown_what_is_repainted(watched, canny):
    """The whole picture, or the region of it that is painted alone."""
    pipe, calls = watched
    mask = Image.new("L", SIZE)
    mask.paste(255, (16, 16, 48, 48))
    over = {"image": gray(90), "mask": mask, "controls": [Control(canny, gray(255), prepare="inpaint")]}
    for how, share in (({}, 0.25), ({"only_masked": True, "padding": 0}, 1.0)):
        calls.clear()
        made = pipe.generate(**JOB, **over, **how)
        (shown, *_) = [inputs["controlnet_cond"] for graph, inputs in calls if graph == "controlnet"]
        assert set(np.unique(shown)) <= {-1, 1} and (shown[0, 0] < 0).mean() == share
        assert shown[0, :, 32, 32].tolist() == [-1] * 3
        assert made.settings["controls"][0]["prepare"] == "inpaint"


class Loaded(FakeEngine):
    """An engine that keeps, at each call of a graph, the names of all that are loaded."""

    def __init__(self):
        super().__init__(self.called)
        self.graphs, self.seen = {}, {}

    def open_graph(self, bundle, graph, how):
        opened = super().open_graph(bundle, graph, how)
        self.graphs[f"{bundle.path.name}/{graph}"] = weakref.ref(opened)
        return opened

    def called(self, graph, inputs):
        self.seen.setdefault(graph, []).append(self.alive())

    def alive(self):
        gc.collect()
        return {name for name, opened in self.graphs.items() if opened() is not None}


def test_with_little_memory_controlnets_and_vaes_are_loaded_for_their_stage_alone(model, canny, tmp_path):
    """In two passes over a picture, with one VAE for the picture and one that shows steps."""
    vae, shown = light_vae(tmp_path / "vae"), light_vae(tmp_path / "shown")
    engine = Loaded()
    pipe = pleinair.load(model, engine=engine, memory="low")
    more = {"steps": 2, "hires": 2.0, "enlarger": "lanczos", "image": gray(9), "vae": vae, "preview_vae": shown}
    for frame in pipe.stream(**JOB | more, controls=[Control(canny, gray(255))]):
        frame.preview()
    walking = {"story/unet", "canny/controlnet"}
    assert engine.seen["text_encoder"] == [{"story/text_encoder"}] * len(engine.seen["text_encoder"])
    assert all(seen - {"shown/vae_decoder"} == walking for seen in engine.seen["unet"] + engine.seen["controlnet"])
    assert all(seen <= {"vae/vae_encoder", "vae/vae_decoder"} for seen in engine.seen["vae_encoder"])
    assert engine.seen["vae_decoder"][-1] <= {"vae/vae_encoder", "vae/vae_decoder"} and not engine.alive()


def test_a_controlnet_without_graphs_for_the_engine_is_told_before_anything_is_loaded(model, canny):
    engine = Loaded()
    engine.format = "onnx"

    def for_openvino(raw):
        files = [f"controlnet/openvino_model.{end}" for end in ("xml", "bin")]
        raw["graphs"]["controlnet"]["files"] = {"openvino": files}
        raw["files"] |= dict.fromkeys(files, {"size": 9, "sha256": "0" * 64})

    edit_manifest(canny, for_openvino)
    pipe = pleinair.load(model, engine=engine)
    with pytest.raises(PleinairError, match="'canny' has graphs for openvino, not onnx; choose another engine, or"):
        pipe.generate(**JOB, controls=[Control(canny, gray(9))])
    assert not engine.graphs


def test_what_is_said_of_a_controlnet(monkeypatch, tmp_path):
    """Drives, spaces, numbers and words in any order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b.png").write_bytes(b"")
    cases = {
        "canny:edges.png": ("canny", "edges.png", 1.0, 0.0, 1.0, False, None),
        "my canny:a b.png:0.5": ("my canny", "a b.png", 0.5, 0.0, 1.0, False, None),
        "canny:x.png:0.5:0:.5:canny:guess": ("canny", "x.png", 0.5, 0.0, 0.5, True, "canny"),
        "canny:x.png:guess:1.5": ("canny", "x.png", 1.5, 0.0, 1.0, True, None),
        "C:\\models\\canny:D:\\x.png:1": ("C:\\models\\canny", "D:\\x.png", 1.0, 0.0, 1.0, False, None),
        "C:/x.png": (None, "C:/x.png", 1.0, 0.0, 1.0, False, None),
        "canny:C:/x.png:blur": ("canny", "C:/x.png", 1.0, 0.0, 1.0, False, "blur"),
        "inpaint:x.png:inpaint:0.5": ("inpaint", "x.png", 0.5, 0.0, 1.0, False, "inpaint"),
        "canny:a:b.png": ("canny", "a:b.png", 1.0, 0.0, 1.0, False, None),
    }

    def check(text, expected):
        found = parsed(text)
        given = (found.strength, found.start, found.end, found.guess, found.prepare)
        assert (found.model and str(found.model), found.image, *given) == expected

    every({text: (text, expected) for text, expected in cases.items()}, check)


def test_what_is_refused(watched, canny, tmp_path, model):
    """Each in one line that says what leads on, before anything is loaded."""
    pipe, calls = watched
    picture = gray(9)
    picture.save(tmp_path / "seen.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    wide = light_control(tmp_path / "wide", cross_attention_dim=1024)
    told = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80}
    xl = light_control(tmp_path / "xl", addition_embed_type="text_time", **told)
    coarse = light_control(tmp_path / "coarse", conditioning_embedding_out_channels=(8, 8))
    deep = light_control(tmp_path / "deep", block_out_channels=(8, 16, 16))
    cases = {
        "another width": ([Control(wide, picture)], "'wide' is not for 'storybook': its text has 1024 numbers"),
        "SDXL's": ([Control(xl, picture)], "'xl' is not for 'storybook': it is told 'pooled'"),
        "another size of latents": ([Control(coarse, picture)], "'coarse' is not for 'storybook'"),
        "two of different models": ([Control(canny, picture), Control(deep, picture)], "different models"),
        "a model": ([Control(model, picture)], "but not control; choose another --control"),
        "a VAE": ([Control(light_vae(tmp_path / "vae"), picture)], "decode, encode, but not control; give it to"),
        "an upscaler": ([Control(light_upscaler(tmp_path / "x2"), picture)], "can do upscale, but not control"),
        "a folder of bundles": ([Control(tmp_path, picture)], "but holds one; give "),
        "a number": ([{"model": 5, "image": picture}], "must be the folder of a bundle, not 5"),
        "nothing": ([Control(tmp_path / "absent", picture)], "no model folder"),
        "no picture there": ([Control(canny, tmp_path / "absent.png")], "absent.png"),
        "a broken picture": ([Control(canny, tmp_path / "broken.png")], "broken.png"),
        "strength of NaN": ([f"{canny}:x.png:nan"], "control strength nan is out of range; choose 0 to 2"),
        "a strength of 100": ([{"model": canny, "image": picture, "strength": 100}], "control strength 100"),
        "a start behind its end": ([f"{canny}:x.png:1:0.5:0.5"], "from 0.5 to 0.5 of the steps is never on"),
        "two numbers": ([f"{canny}:x.png:1:0.5"], "write BUNDLE:IMAGE[:STRENGTH"),
        "a picture alone": (["edges.png"], "a ControlNet needs a bundle and a picture"),
        "no picture": ([{"model": canny}], "add its image"),
        "another part": ([{"model": canny, "image": picture, "weight": 1}], "unknown part of a ControlNet 'weight'"),
        "no list": (5, "controls must be a list"),
        "inpainting without a mask": ([f"{canny}:{tmp_path / 'seen.png'}:inpaint"], "add --image and --mask"),
        "too many": ([Control(canny, picture)] * 9, "more than 8"),
    }

    def check(controls, words):
        with pytest.raises(PleinairError) as caught:
            pipe.generate(**JOB, controls=controls)
        assert words in str(caught.value) and ";" in str(caught.value) and "\n" not in str(caught.value)

    every(cases, check)
    packed = pleinair.load(light_packed_copy(tmp_path / "packed"), engine="fake")
    with pytest.raises(BundleError, match="'canny' is not for 'storybook': that model's network reads patches"):
        packed.generate(**JOB, controls=[Control(canny, picture)])
    assert not calls


def test_a_bundle_of_a_controlnet_is_checked_and_paints_nothing(canny, tmp_path):
    with pytest.raises(BundleError, match="can do control, but not text2image; give it to --control with a picture"):
        pleinair.load(canny, engine="fake")
    changes = {
        "no port": lambda raw: raw["control"]["residuals"].update(other=1),
        "no picture": lambda raw: raw["control"]["feeds"].pop("controlnet_cond"),
        "an order": lambda raw: raw["control"].update(order="hsv"),
        "no halves": lambda raw: raw["control"]["residuals"].update(mid_block_res_sample=0),
        "a port more": lambda raw: raw["graphs"]["controlnet"]["inputs"].update(x={"dtype": "float32", "shape": [1]}),
    }

    def check(number, change):
        edit_manifest(light_control(tmp_path / f"odd{number}"), change)
        with pytest.raises(BundleError):
            pleinair.open_bundle(tmp_path / f"odd{number}")

    every({name: (number, change) for number, (name, change) in enumerate(changes.items())}, check)


def test_a_controlnet_is_recorded_and_painted_with_again(model, tmp_path, monkeypatch, capsys):
    """By the command line: its name and hashes and no path, A1111's field, and `rerun` with the picture again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    light_control(tmp_path / "models" / "canny")
    disc = gray(0)
    disc.paste((255, 255, 255), (16, 16, 48, 48))
    disc.save("disc one.png")
    usual = ["--model", str(model), "--engine", "fake", "--size", "64x64", "--steps", "2", "--seed", "1"]
    control = "canny:disc one.png:0.8:0:0.5:canny:guess"
    assert run(["generate", "a boat", *usual, "--control", control, "-o", "a.png"]) == 0
    told = read_record("a.png").ours["controls"]
    followed = {"strength": 0.8, "start": 0.0, "end": 0.5, "guess": True, "prepare": "canny"}
    assert [{name: each[name] for name in ("model", *followed)} for each in told] == [{"model": "canny", **followed}]
    with Image.open("a.png") as made:
        text = made.text["parameters"]
        assert "disc" not in str(made.text)
    assert (
        f'ControlNet 0: "Module: canny, Model: canny [{told[0]["sha256"][:8]}], Weight: 0.8, Resize Mode: Just Resize,'
        " Processor Res: -1, Threshold A: 100.0, Threshold B: 200.0, Guidance Start: 0.0, Guidance End: 0.5,"
        ' Pixel Perfect: True, Control Mode: ControlNet is more important"'
    ) in text
    again = rerun("a.png", model, controls=["disc one.png"])
    assert (again.difference.max_abs, again.warnings) == (0, ())
    gray(255).save("other.png")
    assert "is not what this picture was made with" in " ".join(rerun("a.png", model, controls=["other.png"]).warnings)
    for given, words in (([], "give --control [BUNDLE:]IMAGE for each"), (["disc one.png"] * 2, "for each")):
        with pytest.raises(RequestError) as caught:
            rerun("a.png", model, controls=given)
        assert words in str(caught.value)
    assert run(["generate", "a boat", *usual, "-o", "plain.png"]) == 0
    with pytest.raises(RequestError, match="was made without --control"):
        rerun("plain.png", model, controls=["disc one.png"])
    line = {"prompt": "a boat", "seed": 1, "output": "b.png", "controls": [control]}
    (tmp_path / "list.jsonl").write_text(json.dumps(line))
    assert run(["generate", "--prompts", "list.jsonl", *usual[:-2]]) == 0
    assert np.array_equal(*(np.asarray(Image.open(name)) for name in ("a.png", "b.png")))
    assert run(["info", "canny"]) == 0 and "8, 8, 8, 16, 16" in capsys.readouterr().out
    assert run(["models"]) == 0 and "canny" in capsys.readouterr().out


def test_channels_are_told_through_quantizers():
    """A ControlNet's places are found by the convolutions that arrays come from, whose answers may be quantized."""
    read = {"Conv": ("x", "weight"), "QuantizeLinear": ("Conv/y", "s"), "DequantizeLinear": ("QuantizeLinear/y", "s")}
    nodes = [Node(op, op, inputs, (f"{op}/y",), {}, 0, 0, 0) for op, inputs in read.items()]
    arrays = Arrays(nodes, {"weight": Initializer(1, (6, 4, 3, 3), None)})
    assert arrays.kind("DequantizeLinear/y") == Kind(channels=6, numbers=1) and arrays.kind("x") is None
