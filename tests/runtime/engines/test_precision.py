"""What the networks compute in: what may be asked for, what `auto` takes, and where it is recorded."""

import json

import numpy as np
import pytest

import pleinair
from bundles import light_copy, seal
from pleinair.bundle.opening import open_bundle
from pleinair.cli import app as cli
from pleinair.engines import openvino, precision
from pleinair.engines.components import written
from pleinair.engines.fake import FakeEngine
from pleinair.engines.openvino import OpenVINOEngine
from pleinair.errors import RequestError
from pleinair.tasks.rerun import rerun


@pytest.mark.parametrize(
    "asked, unet, vae, text",
    [
        (None, "auto", "auto", "auto"),
        ("auto", "auto", "auto", "auto"),
        ("f32", "f32", "f32", "f32"),
        (" BF16 ", "bf16", "bf16", "bf16"),
        ("unet=bf16", "bf16", "auto", "auto"),
        ("unet=bf16, vae=f32,text=auto", "bf16", "f32", "auto"),
        ({"vae": "f16"}, "auto", "f16", "auto"),
    ],
)
def test_what_may_be_asked_for(asked, unet, vae, text):
    found = precision.parse(asked)
    assert (found["unet"], found["vae"], found["text"]) == (unet, vae, text)


@pytest.mark.parametrize(
    "asked", ["int8", "fp16", "", "unet=", "unet=bf16,unet=f32", "vea=f32", "unet:bf16", 16, ["f32"], {"unet": 16}]
)
def test_what_makes_no_sense_is_refused(asked):
    with pytest.raises(RequestError) as caught:
        precision.parse(asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", ["f32", "bf16", "text=f32,unet=bf16,vae=f32"])
def test_what_is_written_is_read_again(asked):
    found = precision.parse(asked)
    assert precision.parse(written(found)) == found
    assert written({"text": "f32", "unet": "bf16", "vae": "bf16"}) == "text=f32,unet=bf16,vae=bf16"


@pytest.mark.parametrize(
    "device, offered, graph, expected",
    [
        ("CPU", ("f32",), "unet", "f32"),
        ("CPU", ("f32", "bf16"), "unet", "bf16"),
        ("CPU", ("f32", "bf16"), "vae_decoder", "bf16"),
        ("CPU", ("f32", "bf16"), "text_encoder", "f32"),
        ("CPU", ("f32", "f16"), "unet", "f32"),  # ARM: not measured
        ("GPU", ("f32", "f16"), "unet", "f16"),
        ("GPU", ("f32", "f16"), "vae_decoder", "f32"),  # storybook's config does not say that f16 is enough
        ("NPU", ("f16",), "unet", "f16"),
        ("NPU", ("f16",), "vae_decoder", "f16"),
    ],
)
def test_what_auto_takes(monkeypatch, device, offered, graph, expected):
    assert precision.fastest(open_bundle(), graph, device, offered) == expected


def test_t5_is_not_computed_in_f16_where_there_is_f32(tmp_path):
    """Its activations go beyond 65504, which is why transformers keeps some of its layers in float32."""
    folder = light_copy(tmp_path / "t5")
    (folder / "text_encoder" / "config.json").write_text(json.dumps({"model_type": "t5"}))
    bundle = open_bundle(seal(folder))
    assert precision.fastest(bundle, "text_encoder", "GPU", ("f32", "f16")) == "f32"
    assert precision.fastest(bundle, "text_encoder", "NPU", ("f16",)) == "f16"


@pytest.fixture
def with_bf16(monkeypatch):
    """An OpenVINO that says its CPU computes in bf16, and does where it can."""
    monkeypatch.setattr(OpenVINOEngine, "offered", lambda engine, device: ("f32", "bf16"))


@pytest.fixture
def without_networks(monkeypatch):
    """An OpenVINO whose graphs are the fake engine's: what is computed in is asked for and recorded all the same."""
    monkeypatch.setattr(
        OpenVINOEngine, "open_graph", lambda engine, *what, **how: FakeEngine().open_graph(*what, **how)
    )


@pytest.mark.usefixtures("with_bf16", "without_networks")
def test_a_picture_records_what_was_computed_in(monkeypatch):
    monkeypatch.setattr(precision, "FASTEST", {("CPU", "bf16"): {"unet": "bf16", "vae": "bf16"}})
    settings = pleinair.load(engine="openvino").generate("a boat", seed=1, steps=1).settings
    assert settings["precision"] == "text=f32,unet=bf16,vae=bf16"
    settings = pleinair.load(engine="openvino", precision="f32").generate("a boat", seed=1, steps=1).settings
    assert settings["precision"] == "f32"


def test_the_engine_is_told(sketch, with_bf16, monkeypatch):
    told = {}
    compile_model = openvino.ov.Core.compile_model

    def compiled(core, model, device, settings):
        told[model.get_friendly_name(), *sorted(port.get_any_name() for port in model.outputs)] = settings
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(openvino.ov.Core, "compile_model", compiled)
    pleinair.load(sketch, engine="openvino", precision="unet=bf16,vae=f32").generate("a boat", seed=1, steps=1)
    hints = {ports[1]: settings["INFERENCE_PRECISION_HINT"] for ports, settings in told.items()}
    assert hints["out_sample"] == "bf16" and hints["sample"] == "f32"


def test_a_precision_that_the_device_lacks_is_refused_before_anything_is_loaded():
    for engine in ("onnx", "fake"):
        with pytest.raises(RequestError, match="'cpu' does not compute in bf16 here; choose from auto, f32"):
            pleinair.load(engine=engine, precision="unet=bf16")


def test_a_lower_instruction_set_that_is_forced_has_no_bf16(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "bf16" not in OpenVINOEngine().offered(None)


def test_bf16_is_near_f32_where_the_cpu_has_it():
    """On other CPUs it cannot be asked for. In one step the error of the first answer would be 15 times as large."""
    if "bf16" not in OpenVINOEngine().offered(None):
        with pytest.raises(RequestError, match="bf16"):
            pleinair.load(engine="openvino", precision="bf16")
        return
    options = {"prompt": "a red house", "seed": 1, "steps": 8}
    exact, fast = (
        pleinair.load(engine="openvino", precision=kind).generate(**options).pixels for kind in ("f32", "bf16")
    )
    assert -10 * np.log10(np.mean((exact - fast) ** 2)) > 40


@pytest.mark.usefixtures("with_bf16", "without_networks")
def test_rerun_computes_in_what_the_picture_was_made_with(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision, "FASTEST", {("CPU", "bf16"): {"unet": "bf16"}})
    assert cli.run(["generate", "a boat", "--seed", "1", "--steps", "1", "--precision", "f32", "-o", "a.png"]) == 0
    again = rerun("a.png")
    assert again.result.settings["precision"] == "f32" and again.difference.max_abs == 0
    assert rerun("a.png", precision="auto").result.settings["precision"] == "text=f32,unet=bf16,vae=f32"


@pytest.mark.parametrize(
    "offered, words", [(("f32",), "f32: it is all"), (("f32", "bf16"), "unet in bf16, vae in bf16")]
)
def test_doctor_says_which_and_why(monkeypatch, capsys, offered, words):
    monkeypatch.setattr(OpenVINOEngine, "offered", lambda engine, device: offered)
    assert cli.run(["doctor", "--json"]) == 0
    assert words in json.loads(capsys.readouterr().out)["engines"]["openvino"]["precision"]


@pytest.mark.usefixtures("without_networks")
def test_rerun_says_where_a_precision_is_not_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(OpenVINOEngine, "offered", lambda engine, device: ("f32", "bf16"))
        result = pleinair.load(engine="openvino", precision="unet=bf16").generate("a boat", seed=1, steps=1)
        result.save("a.png")
    monkeypatch.setattr(OpenVINOEngine, "offered", lambda engine, device: ("f32",))
    again = rerun("a.png")
    assert again.result.settings["precision"] == "f32"
    assert [each for each in again.warnings if "does not compute in bf16 here" in each]
