"""What is like a ControlNet and is none: refused by name wherever a file or a folder can be given."""

import json

import numpy as np
import pytest
from PIL import Image

from every import every
from vectors import safetensors

FILES = {  # a file's tensors -> what it is called
    ("lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight",): "a ControlNet-LLLite",
    ("control_type_proj.weight", "controlnet_cond_embedding.conv_in.weight"): "a ControlNet Union",
    ("control_model.task_embedding", "control_model.input_hint_block.0.weight"): "a ControlNet Union",
    ("adapter.body.0.resnets.0.block1.weight", "adapter.conv_in.weight"): "a T2I-Adapter",
    ("body.0.block1.weight", "conv_in.weight"): "a T2I-Adapter",
    ("body.0.in_conv.weight",): "a T2I-Adapter",
    ("image_proj.latents", "ip_adapter.1.to_v_ip.weight"): "an IP-Adapter",
    ("lora_controlnet", "input_hint_block.0.weight", "zero_convs.0.0.weight"): "a Control-LoRA",
}
NO_LORAS = {  # those whose layers cannot be taken for a LoRA's by their names
    ("controlnet_x_embedder.weight", "transformer_blocks.0.attn.to_q.weight"): "a ControlNet of FLUX or",
    ("double_blocks.0.img_attn.qkv.weight", "controlnet_blocks.0.weight"): "a ControlNet of FLUX or",
    ("down_blocks.0.ctrl_to_base.0.weight", "ctrl_conv_in.weight"): "a ControlNet-XS",
}
FOLDERS = {
    "ControlNetUnionModel": "a ControlNet Union",
    "T2IAdapter": "a T2I-Adapter",
    "MultiAdapter": "several T2I-Adapters",
    "ControlNetXSAdapter": "a ControlNet-XS",
    "FluxControlNetModel": "a ControlNet of FLUX",
    "SD3ControlNetModel": "a ControlNet of Stable Diffusion 3",
}
PAINT = ("generate", "a boat", "--engine", "fake", "--steps", "1", "-o", "a.png")
PLACES = {
    "control": lambda given: (*PAINT, "--control", f"{given}:seen.png"),
    "vae": lambda given: (*PAINT, "--vae", given),
    "model": lambda given: (*PAINT, "--model", given),
    "pour": lambda given: ("pour", given, "out"),
}


@pytest.mark.usefixtures("in_a_folder")
def test_each_is_named_in_each_place(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    Image.new("RGB", (8, 8)).save("seen.png")
    cases = {}
    for number, (names, what) in enumerate((FILES | NO_LORAS).items()):
        file = tmp_path / f"{number}.safetensors"
        file.write_bytes(safetensors({name: np.zeros((4, 4), np.float32) for name in names}))
        cases |= {f"{place} {what} {number}": (of(file), what) for place, of in PLACES.items()}
        if names in FILES:
            cases[f"lora {what} {number}"] = ((*PAINT, "--lora", file), what)
    for kind, what in FOLDERS.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"_class_name": kind}))
        cases |= {f"{place} {kind}": (of(folder), what) for place, of in PLACES.items()}
        cases[f"adopt {kind}"] = (("adopt", folder), what)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    cases["adopt a ControlNet"] = (("adopt", plain), "holds a ControlNet's weights and no graphs")

    def check(command, what):
        code, out, err = run(*command)
        (line,) = err.splitlines()
        assert code in (2, 3) and out == "" and what in line and ";" in line, line

    every(cases, check)
    assert not [*(tmp_path / "here").glob("a.png")] and not (tmp_path / "here" / "out").exists()


@pytest.mark.usefixtures("in_a_folder")
def test_configs_whose_class_is_no_name_are_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PLEINAIR_HOME", str(tmp_path / "home"))
    Image.new("RGB", (8, 8)).save("seen.png")
    cases = {}
    for number, kind in enumerate((["x"], {"a": 1}, 5, None, "x" * 3000)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"_class_name": kind}))
        cases |= {f"{place} {kind!r:.20}": (of(folder),) for place, of in PLACES.items()}

    def check(command):
        code, _, err = run(*command)
        (line,) = err.splitlines()
        assert code in (2, 3) and ";" in line and len(line) < 400

    every(cases, check)
