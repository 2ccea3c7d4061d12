"""LoRAs as they are asked for: files with weights, names in prompts, and those that want few steps."""

import numpy as np
import pytest

from loras import kohya, write_lora
from pleinair.bundle.opening import open_bundle
from pleinair.errors import RequestError
from pleinair.request.lora_types import Loras
from pleinair.request.request import resolve
from pleinair.text.lora_tags import tags_in, without_tags


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "loras").mkdir(parents=True)
    return tmp_path / "home"


def lora(folder, name="style", metadata=None):
    return write_lora(folder / f"{name}.safetensors", kohya({"conv_in": (4, 4)}), metadata)


def uses(prompt="a house", **options):
    request = resolve(open_bundle(), prompt, **options)
    return [(use.name, use.weight, use.text_weight) for use in request.loras]


@pytest.mark.parametrize(
    ("said", "file", "weight"),
    [
        ("style.safetensors", "style.safetensors", 1.0),
        ("a/b.safetensors:0.8", "a/b.safetensors", 0.8),
        ("C:\\loras\\style.safetensors", "C:\\loras\\style.safetensors", 1.0),
        ("C:\\loras\\style.safetensors:-0.5", "C:\\loras\\style.safetensors", -0.5),
        ("C:/style.safetensors:1", "C:/style.safetensors", 1.0),
        (("style.safetensors", 0.5), "style.safetensors", 0.5),
        (["style.safetensors", np.float32(0.5)], "style.safetensors", 0.5),
    ],
)
def test_a_file_and_its_weight(said, file, weight):
    ((found, number),) = Loras().read("loras", [said])
    assert (str(found), number) == (file, weight)


@pytest.mark.parametrize(
    "said",
    ["a.safetensors:nan", "a.safetensors:100", "a.safetensors:inf", "a.safetensors:much", ("a", None), ("a", True)],
)
def test_weights_that_are_none(said):
    with pytest.raises(RequestError, match="LoRA 'a' cannot have the weight .*; choose -10 to 10"):
        Loras().read("loras", [said])


@pytest.mark.parametrize(
    "said", ["style.safetensors", [7], [("a", 1, 2)], 3, ["a"] * 33, ["https://example.org/a.safetensors"]]
)
def test_lists_that_are_none(said):
    with pytest.raises(RequestError):
        Loras().read("loras", said)


def test_names_in_prompts_have_the_text_encoders_weight_first():
    """As A1111 reads them."""
    prompt = "a <lora:one:0.8> house <lora:two:0.5:0.25><lora:three> <lora:four:unet=0.5:te=1> by night"
    assert without_tags(prompt) == "a  house   by night"
    assert [tuple(tag) for tag in tags_in(prompt)] == [
        ("one", 0.8, 0.8),
        ("two", 0.5, 0.25),
        ("three", 1.0, 1.0),
        ("four", 1.0, 0.5),
    ]


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("<lora:a:nan>", "LoRA 'a' cannot have the weight nan; choose -10 to 10"),
        ("<lora:a:100>", "choose -10 to 10"),
        ("<lora:a:high>", "cannot have the weight high; "),
        ("<lora::1>", "names no LoRA"),
        ("<lora:a:1> <lora:a:0.5>", "names the LoRA 'a' twice"),
        ("<lora:a:1:1:8>", "LoRA 'a' has more than two numbers; write <lora:NAME:TEXT:UNET>"),
        ("<lora:a:1:lbw=OUTS>", "LoRA 'a' has the setting 'lbw', which is not supported; leave it out"),
        ("<lora:nowhere:1>", "no LoRA 'nowhere', which the prompt names; put nowhere.safetensors into"),
        ("<lora:../../a:1>", "no LoRA '../../a'"),
    ],
)
def test_names_in_prompts_that_are_wrong(home, prompt, line):
    with pytest.raises(RequestError, match=line):
        uses(prompt)


def test_where_loras_are_found(home, tmp_path):
    kept, given, beside = lora(home / "loras", "kept"), lora(tmp_path, "given"), lora(tmp_path, "beside")
    assert uses(loras=[f"{given}:0.5", "kept:2"]) == [("given", 0.5, 0.5), ("kept", 2.0, 2.0)]
    assert uses("a <lora:kept:0.5:0.25>") == [("kept", 0.25, 0.5)]
    assert uses("a <lora:beside:0.5>", loras=[given]) == [("given", 1.0, 1.0), ("beside", 0.5, 0.5)]
    assert uses("a <lora:given:0.5>", loras=[(given, 0)]) == [("given", 0.5, 0.5)]
    with pytest.raises(RequestError, match="two LoRAs are called 'given'"):
        uses("a <lora:given:0.5>", loras=[given])
    with pytest.raises(RequestError, match="is missing"):
        uses(loras=[tmp_path / "none.safetensors"])
    assert kept.is_file() and beside.is_file()


@pytest.mark.parametrize(
    ("name", "metadata", "asked"),
    [
        ("lcm-lora-sdv1-5", None, ("lcm", None, 4, 1.0)),
        ("pytorch_lora_weights", {"ss_output_name": "My LCM"}, ("lcm", None, 4, 1.0)),
        ("sdxl_lightning_8step_lora", None, ("euler", "trailing", 8, 1.0)),
        ("Hyper-SDXL-2steps-lora", None, ("ddim", "trailing", 2, 1.0)),
    ],
)
def test_loras_for_few_steps_say_how_they_are_to_be_used(tmp_path, name, metadata, asked):
    request = resolve(open_bundle(), "a house", loras=[lora(tmp_path, name, metadata)])
    steps = request.steps
    assert (steps.sampler, steps.spacing, steps.count, request.guidance.scale) == asked
    (note,) = request.idle
    assert (
        f"'{name}' is a" in note
        and "-LoRA: painted with sampler" in note
        and f"steps {asked[2]}" in note
        and note.count("; ") == 1
    )


def test_what_the_caller_says_holds_before_a_lora(tmp_path):
    file, bundle = lora(tmp_path, "lcm"), open_bundle()
    request = resolve(bundle, "a house", loras=[file], sampler="euler", steps=7, guidance=3)
    assert (request.steps.sampler, request.steps.count, request.guidance.scale) == (
        "euler",
        7,
        3.0,
    ) and not request.idle
    plain = resolve(bundle, "a house")
    for other in ("lightning-bolts", "hyper-real", "calm"):
        assert resolve(bundle, "a house", loras=[lora(tmp_path, other)]).steps == plain.steps
    assert resolve(bundle, "a house", loras=[(file, 0)]).steps == plain.steps
