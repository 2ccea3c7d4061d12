"""LoRA files from anywhere: each that cannot be used is told in one line, before anything is loaded."""

import numpy as np
import pytest

from loras import kohya, write_lora
from pleinair.adapters.lora_file import open_lora
from pleinair.adapters.matching import Networks
from pleinair.adapters.merging import Use, planned
from pleinair.engines.edits import Layer
from pleinair.errors import RequestError
from vectors import framed, safetensors

MODEL = Networks("storybook", "unet", ("text_encoder",))
CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
SHAPES = {CROSS: (16, 768), "conv_in": (16, 4, 3, 3), "mid_block.attentions.0.proj_in": (16, 16, 1, 1)}


def merged(tmp_path, tensors, shapes=SHAPES, name="style.safetensors", metadata=None):
    """What a file does to a UNet of layers of these shapes."""
    layers = {path: Layer(shape, bias=True) for path, shape in shapes.items()}
    file = open_lora(write_lora(tmp_path / name, tensors, metadata))
    return planned(MODEL, [Use(file, 1.0, 1.0)], lambda graph: layers if graph == "unet" else {})


def refusal(call, *given):
    with pytest.raises(RequestError) as caught:
        call(*given)
    line = str(caught.value)
    assert "\n" not in line and "; " in line and len(line) < 400
    return line


NUMBERS = safetensors({"lora_unet_conv_in.diff": np.zeros((2, 2), np.float32)})
FILES = {
    "pickle": ("a.pt", b"\x80\x02}", "can run any code when it is opened"),
    "pickle by another name": ("a.safetensors", b"\x80\x02}q\x00" + bytes(60), "can run any code when it is opened"),
    "archive by another name": ("a.safetensors", b"PK\x03\x04" + bytes(60), "can run any code when it is opened"),
    "4 GB of header": ("a.safetensors", (4 << 30).to_bytes(8, "little") + b"{" + bytes(99), "damaged or cut short"),
    "cut short": ("a.safetensors", NUMBERS[:-4], "is damaged or cut short"),
    "empty": ("a.safetensors", b"", "is damaged or cut short"),
    "a page": ("a.safetensors", b"<!DOCTYPE html><html><body>log in</body></html>", "page of a web site"),
    "no tensors": ("a.safetensors", framed(b"{}"), "is damaged or cut short"),
    "no JSON": ("a.safetensors", framed(b"[" * 5000), "not a safetensors file"),
    "impossible": (
        "a.safetensors",
        framed(b'{"a.diff": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}', bytes(4)),
        "has an impossible 'a.diff'",
    ),
}


@pytest.mark.parametrize(("name", "content", "line"), FILES.values(), ids=FILES)
def test_what_is_no_lora_is_told(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=line):
        open_lora(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    assert "is missing" in refusal(open_lora, tmp_path / "none.safetensors")
    assert "is a folder; give the LoRA file in it" in refusal(open_lora, tmp_path)
    assert "not a safetensors file" in refusal(open_lora, tmp_path / "a\0b")


@pytest.mark.parametrize(
    ("width", "words"),
    [(1024, "a text 1024 \\(SD 2.x\\) wide, and this model's 768 \\(SD 1.x\\)"), (2048, "2048 \\(SDXL\\)")],
)
def test_a_lora_of_another_family_names_both(tmp_path, width, words):
    """Though some of its layers would fit."""
    with pytest.raises(RequestError, match=words):
        merged(tmp_path, kohya(SHAPES | {CROSS: (16, width)}))


def test_a_lora_of_which_nothing_applies(tmp_path):
    line = refusal(merged, tmp_path, kohya({"elsewhere": (4, 4)}))
    assert "no layer here has the name and the shape of one of its own (lora_unet_elsewhere)" in line
    line = refusal(merged, tmp_path, kohya({"double_blocks_0_img_attn_proj": (4, 4)}))
    assert "for a transformer such as FLUX or SD 3" in line


def test_what_does_not_apply_is_listed(tmp_path):
    """Another shape, another name, kinds that are not known, a textual inversion inside."""
    zeros = np.zeros((4, 4), np.float32)
    odd = {
        "lora_unet_other.lora_up.weight": zeros,
        "lora_unet_mid_block_attentions_0_proj_in.diff": zeros,
        "lora_unet_conv_in.oft_blocks": np.zeros((1, 2, 4, 4), np.float32),
        "lora_unet_conv_in.a1.weight": zeros,
        "bundle_emb.cat.clip_l": zeros,
    }
    (applied,) = merged(tmp_path, kohya({CROSS: SHAPES[CROSS]}) | odd).applied
    assert (applied.layers, set(applied.left_out)) == (1, set(odd))
    assert applied.words == f"style: 1 of {applied.of} layers at 1"
    (warning,) = applied.warnings
    assert "LoRA 'style': 5 keys are not applied: " in warning and "and 2 more" in warning


def test_of_two_spellings_stabilitys_is_left(tmp_path):
    """As diffusers does."""
    both = kohya(SHAPES) | kohya({"input_blocks_0_0": SHAPES["conv_in"]})
    (applied,) = merged(tmp_path, both).applied
    assert applied.layers == 3 and {key.partition(".")[0] for key in applied.left_out} == {"lora_unet_input_blocks_0_0"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_without_end_are_told_when_they_are_read(tmp_path, bad):
    tensors = kohya({"conv_in": SHAPES["conv_in"]})
    tensors["lora_unet_conv_in.lora_up.weight"][0] = bad
    (edit,) = merged(tmp_path, tensors).edits("unet")
    line = refusal(edit.changes["conv_in"].weight, np.zeros(SHAPES["conv_in"], np.float32))
    assert "holds NaN or infinity in lora_unet_conv_in.lora_up.weight" in line


def test_a_kernel_of_one_pixel_serves_a_matrix_and_the_other_way_round(tmp_path):
    wide, flat = {"conv_in": (8, 4, 1, 1)}, {"conv_in": (8, 4)}
    old = np.ones((8, 4), np.float32)
    found = []
    for stored, shape in ((wide, (8, 4)), (flat, (8, 4, 1, 1))):
        (edit,) = merged(tmp_path, kohya(stored), {"conv_in": shape}).edits("unet")
        found.append(edit.changes["conv_in"].weight(old.reshape(shape)).reshape(8, 4))
    np.testing.assert_array_equal(*found)


def test_several_add_up(tmp_path):
    layers = {"conv_in": Layer((8, 4))}
    files = [write_lora(tmp_path / f"{n}.safetensors", kohya({"conv_in": (8, 4)}, seed=n)) for n in (1, 2)]
    uses = [Use(open_lora(file), weight, 0.0) for file, weight in zip(files, (0.5, -1.0), strict=True)]
    old, changes = np.ones((8, 4), np.float32), []
    for some in (uses[:1], uses[1:], uses):
        (edit,) = planned(MODEL, some, lambda graph: layers).edits("unet")
        changes.append(edit.changes["conv_in"].weight(old) - old)
    np.testing.assert_allclose(changes[0] + changes[1], changes[2], atol=1e-6)


def test_edits_are_told_apart_by_files_and_weights(tmp_path):
    file = write_lora(tmp_path / "a.safetensors", kohya({"conv_in": (8, 4)}))
    other = write_lora(tmp_path / "b.safetensors", kohya({"conv_in": (8, 4)}, seed=1))

    def edits(path, weight):
        layers = {"conv_in": Layer((8, 4))}
        return planned(MODEL, [Use(open_lora(path), weight, 1.0)], lambda graph: layers).edits("unet")

    assert edits(file, 0.5) == edits(file, 0.5) and hash(edits(file, 0.5)) == hash(edits(file, 0.5))
    assert len({edits(file, 0.5), edits(file, 0.6), edits(other, 0.5)}) == 3
    assert edits(file, 0.0) == ()
