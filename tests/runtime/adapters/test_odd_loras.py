"""LoRA files that somebody made to be odd: each has its effect, or a line that tells what is wrong."""

import json
import warnings

import numpy as np
import pytest

from loras import kohya, numbers
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks
from pleinair.adapters.merging import Use, planned
from pleinair.engines.edits import Layer
from pleinair.errors import RequestError
from vectors import framed, safetensors

CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
LAYERS = {
    "unet": {CROSS: (16, 768), "conv_in": (16, 4, 3, 3), "mid_block.attentions.0.proj_in": (16, 16, 1, 1)},
    "text_encoder": {"encoder.layers.0.mlp.fc1": (32, 16)},
}
MODEL = Networks("storybook", "unet", ("text_encoder",))
KERNEL, MATRIX = "lora_unet_conv_in", "lora_unet_mid_block_attentions_0_proj_in"
TO_K = "lora_unet_" + CROSS.replace(".", "_")
RNG = np.random.default_rng(0)
OK, UNFIT = "layers at 1", "no layer here has the name and the shape"


def of(name, **parts):
    """Tensors of a layer; shapes stand for random numbers of them, and _ for a dot."""
    arrays = {role: numbers(RNG, part) if isinstance(part, tuple) else part for role, part in parts.items()}
    return {f"{name}.{role.replace('__', '.')}": array for role, array in arrays.items()}


def lied(kind, shape, size, name=f"{KERNEL}.alpha"):
    """A file of one tensor whose header says this of it."""
    return framed(json.dumps({name: {"dtype": kind, "shape": shape, "data_offsets": [0, size]}}).encode(), bytes(size))


PAIR = of(KERNEL, lora_down__weight=(4, 4, 3, 3), lora_up__weight=(16, 4, 1, 1))
PEFT = {f"unet.conv_in.lora_{side}.weight": array for side, array in zip("AB", PAIR.values(), strict=True)}
TEXT = kohya(LAYERS["text_encoder"], "lora_te1_text_model_")
SCALAR = np.float32(1).reshape(())
CASES = {  # what is odd -> tensors or bytes, and what is said: that it has its effect, or why not
    # numbers
    "half precision": ({key: array.astype(np.float16) for key, array in PAIR.items()}, OK),
    "double precision": ({key: array.astype(np.float64) for key, array in PAIR.items()}, OK),
    "an alpha that is whole": (PAIR | of(KERNEL, alpha=np.array(2, np.int64)), OK),
    "an alpha in a list": (PAIR | of(KERNEL, alpha=np.array([2], np.float32)), OK),
    "several alphas": (PAIR | of(KERNEL, alpha=(2,)), UNFIT),
    "an alpha that is no number": (PAIR | of(KERNEL, alpha=np.float32("nan").reshape(())), "holds NaN or infinity in"),
    "products without end": ({key: array * np.float32(1e30) for key, array in PAIR.items()}, "makes infinite numbers"),
    "more than float32 holds": ({key: 1e200 * array.astype(float) for key, array in PAIR.items()}, "NaN or infinity"),
    "kinds of numbers that are not read": (lied("I8", [4, 4], 16, f"{KERNEL}.diff"), "of a kind that is not read, I8;"),
    # headers that lie
    "an alpha of a million million numbers": (lied("I64", [1 << 40], 8), "has an impossible"),
    "a kind that is none": (lied(None, [1], 4), "has an impossible"),
    "kinds in a list": (lied(["F32"], [1], 4), "has an impossible"),
    "no shape": (lied("F32", None, 4), "has an impossible"),
    # shapes that do not multiply
    "rank 0": (of(KERNEL, lora_down__weight=(0, 4, 3, 3), lora_up__weight=(16, 0), alpha=SCALAR), UNFIT),
    "two ranks": (of(KERNEL, lora_down__weight=(4, 4, 3, 3), lora_up__weight=(16, 5)), UNFIT),
    "one half": (of(KERNEL, lora_down__weight=(4, 4, 3, 3)), UNFIT),
    "a half that is a number": (of(KERNEL, lora_down__weight=(4, 4, 3, 3), lora_up__weight=SCALAR), UNFIT),
    "another kernel": (of(KERNEL, lora_down__weight=(4, 4, 5, 5), lora_up__weight=(16, 4)), "takes 100 numbers and"),
    "a core without shape": (PAIR | of(KERNEL, lora_mid__weight=SCALAR), UNFIT),
    "a core in one half": (
        of(KERNEL, hada_w1_a=(4, 16), hada_w1_b=(4, 4), hada_t1=(4, 4, 3, 3), hada_w2_a=(16, 4), hada_w2_b=(4, 36)),
        OK,
    ),
    "Kronecker's of nothing": (of(KERNEL, lokr_w1=(4, 0), lokr_w2=(4, 4, 3, 3)), UNFIT),
    "Kronecker's of vectors": (of(MATRIX, lokr_w1=(16,), lokr_w2=(16,)), UNFIT),
    "IA3 of the other side": (
        of(KERNEL, weight=(16,), on_input=np.array(1)),
        "has arrays for conv_in that do not fit each other",
    ),
    "IA3 of several sides": (of(KERNEL, weight=(16,), on_input=np.zeros(3, np.int64)), UNFIT),
    "norms of no side": (PAIR | of(KERNEL, dora_scale=(7,)), UNFIT),
    "a bias beside LoHa": (
        of(MATRIX, hada_w1_a=(16, 4), hada_w1_b=(4, 16), hada_w2_a=(16, 4), hada_w2_b=(4, 16), lora_B__bias=(16,)),
        "one key is not applied: lora_unet_mid_block_attentions_0_proj_in.lora_B.bias",
    ),
    # names
    "a layer under two names": (PAIR | PEFT, "2 keys are not applied: unet.conv_in.lora_A.weight"),
    "a name that moves the cursor": (of("lora_unet_\n\x1b[31mX", diff=(2, 2)), UNFIT),
    "a name without end": (of("x" * 99_999, diff=(2, 2)), UNFIT),
    "a name without a name": ({"": numbers(RNG, (2, 2))}, "changes no weights, as a LoRA does; "),
    # kinds that are not merged
    "BOFT": (of(KERNEL, oft_blocks=(2, 4, 4, 4)), "is a BOFT, which is not supported"),
    "GLoRA": (of(KERNEL, a1__weight=(4, 4), a2__weight=(4, 4)), "is a GLoRA, which is not supported"),
    "T-LoRA": (of(KERNEL, q_layer__weight=(4, 4), p_layer__weight=(4, 4), lambda_layer=(4,)), "is a T-LoRA, whose"),
    # other models
    "SDXL's, whole": (of(TO_K, diff=(16, 2048)), "a text 2048 (SDXL) wide, and this model's 768 (SD 1.x)"),
    "FLUX's beside a text encoder that is here": (
        kohya({"double_blocks.0.img_attn.qkv": (96, 8)}) | TEXT,
        "it is for a transformer such as FLUX or SD 3, and this is a UNet",
    ),
    "a text encoder's alone": (TEXT, OK),
    "a text encoder's of another width": (
        kohya({"encoder.layers.0.mlp.fc1": (32, 20)}, "lora_te_text_model_"),
        "takes 20 numbers and gives 32, and this model's takes 16 numbers and gives 32",
    ),
    # other files
    "a ControlNet": (of("control_model.input_hint_block.0", weight=(4, 4)), "is a ControlNet, not a LoRA; pour it"),
    "diffusers' ControlNet": (
        of("controlnet_cond_embedding.conv_in", weight=(4, 4)) | of("down_blocks.0.resnets.0.conv1", weight=(4, 4)),
        "is a ControlNet, not a LoRA",
    ),
    "a VAE": (of("decoder.up_blocks.0.resnets.0.conv1", weight=(4, 4)), "is a VAE, not a LoRA; give it with --vae"),
    "a model": (
        of("model.diffusion_model.input_blocks.0.0", weight=(16, 4, 3, 3))
        | of("first_stage_model.decoder.conv_in", weight=(4, 4)),
        "is a model's own weights, not a LoRA; choose a LoRA, or make a bundle of this file: pleinair pour FILE",
    ),
    "a textual inversion": ({"emb_params": numbers(RNG, (2, 768))}, "is a textual inversion, not a LoRA; give it with"),
    "a ControlNet-LLLite": (of("lllite_unet_x.depth1.0", weight=(2, 2)), "is a ControlNet-LLLite of kohya's, which"),
    "an IP-Adapter": (of("ip_adapter.1.to_k_ip", weight=(2, 2)), "is an IP-Adapter, which is not supported"),
    "a text encoder": (of("text_model.encoder.layers.0.mlp.fc1", weight=(2, 2)), "is a text encoder, not a LoRA"),
}


def effect(path):
    """What is said of a file when it is opened and merged into all layers."""
    layers = {graph: {name: Layer(shape, bias=True) for name, shape in each.items()} for graph, each in LAYERS.items()}
    merge = planned(MODEL, [Use(open_lora(path), 1.0, 1.0)], layers.__getitem__)
    for graph, each in layers.items():
        for edit in merge.edits(graph):
            for name, change in edit.changes.items():
                shape = each[name].shape
                for make, old in ((change.weight, shape), (change.bias, shape[:1])):
                    made = make(np.ones(old, np.float32)) if make else np.ones(old, np.float32)
                    assert made.shape == old and made.dtype == np.float32 and np.isfinite(made).all(), name
                assert change.weight or change.bias
    return " ".join([merge.applied[0].words, *merge.applied[0].warnings])


def test_odd_files_are_told_or_merged(tmp_path):
    wrong = {}
    for name, (content, words) in CASES.items():
        path = tmp_path / "style.safetensors"
        path.write_bytes(content if isinstance(content, bytes) else safetensors(content))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                said = effect(path)
        except RequestError as error:
            said = str(error)
            if "\n" in said or "; " not in said or len(said) > 400 or not said.isprintable():
                wrong[f"{name}, line"] = said
        except Exception as error:  # a traceback for the user, whatever it is
            said = repr(error)
        if words not in said:
            wrong[name] = said
        path.unlink()
    assert wrong == {}


@pytest.mark.parametrize(
    "said",
    [
        '{"unet.lora_alpha": NaN}',
        '{"unet.lora_alpha": 1' + "0" * 400 + "}",
        '{"unet.lora_alpha": ' + "9" * 5000 + "}",
        '{"unet.lora_alpha": true}',
        "[1, 2]",
        '{"unet.alpha_pattern": {"conv_in": "many"}}',
        "[" * 100_000,
    ],
    ids=["NaN", "beyond a float", "beyond Python", "a flag", "a list", "a word", "deep"],
)
def test_what_peft_says_of_alphas_is_left_where_it_makes_no_sense(tmp_path, said):
    path = tmp_path / "style.safetensors"
    changes = []
    for metadata in (None, {"lora_adapter_metadata": said}):
        path.write_bytes(safetensors(PEFT, metadata))
        merge = planned(MODEL, [Use(open_lora(path), 1.0, 1.0)], lambda graph: {"conv_in": Layer((16, 4, 3, 3))})
        changes.append(merge.edits("unet")[0].changes["conv_in"].weight(np.ones((16, 4, 3, 3), np.float32)))
    np.testing.assert_array_equal(*changes)


def test_alphas_that_peft_writes_beside_its_file_count(tmp_path):
    """peft's own folders have no metadata; a file by another name takes no notice of what lies beside it."""
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 8, "alpha_pattern": {}, "use_rslora": false}')
    old, changes = np.zeros((16, 4, 3, 3), np.float32), {}
    for name in ("adapter_model", "other"):
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors(PEFT))
        use = Use(open_lora(tmp_path / f"{name}.safetensors"), 1.0, 1.0)
        merge = planned(MODEL, [use], lambda graph: {"conv_in": Layer((16, 4, 3, 3))})
        changes[name] = merge.edits("unet")[0].changes["conv_in"].weight(old)
    np.testing.assert_allclose(changes["adapter_model"], 2 * changes["other"], rtol=1e-6)  # alpha 8 of rank 4
    (tmp_path / "adapter_config.json").write_text("[")
    with pytest.raises(RequestError, match="adapter_config.json' is malformed"):
        effect(tmp_path / "adapter_model.safetensors")


def test_files_of_any_name_are_opened(tmp_path):
    """What decides is in them."""
    for name in ("ein Bild – ä 絵.safetensors", "STYLE.SAFETENSORS", "plain", "a.b.safetensors"):
        (tmp_path / name).write_bytes(safetensors(PAIR))
        assert "1 of 1 layers" in effect(tmp_path / name)
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "plain")
    assert effect(tmp_path / "link.safetensors") == "link: 1 of 1 layers at 1"
    (tmp_path / "broken.safetensors").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RequestError, match="is missing"):
        open_lora(tmp_path / "broken.safetensors")
