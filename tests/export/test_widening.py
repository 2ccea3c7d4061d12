"""A topology made of two narrow models is to the byte what an export of the real widths makes."""

import argparse
from dataclasses import replace

import pytest

from pleinair.pouring import topologies
from pleinair.pouring.topologies import open_topologies
from pleinair.sources.architectures import ARCHITECTURES

TEXT = {
    "vocab_size": 200,
    "hidden_size": 192,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 12,
    "projection_dim": 192,
    "max_position_embeddings": 77,
    "bos_token_id": 198,
    "eos_token_id": 199,
}
UNET = {
    "sample_size": 8,
    "cross_attention_dim": 48,
    "attention_head_dim": 8,
    "time_cond_proj_dim": 96,
    "layers_per_block": 1,
    "block_out_channels": (160, 320),
    "mid_block_type": None,  # whose layers are those of the other blocks
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
SMALL = {"text_encoder": TEXT, "unet": UNET, "vae": {"block_out_channels": (32,) * 4}}
SIX = argparse.Namespace(weights=("fp16", "int8", "fp32"), format=("openvino", "onnx"))


@pytest.fixture
def models(monkeypatch, tmp_path):
    """A model, and one that is shown a mask and a picture as well."""
    monkeypatch.setitem(ARCHITECTURES, "small", SMALL)
    monkeypatch.setitem(ARCHITECTURES, "small-inpaint", SMALL | {"unet": UNET | {"in_channels": 9}})
    monkeypatch.setattr(topologies, "TOPOLOGIES", tmp_path / "topologies")
    topologies.TOPOLOGIES.mkdir()
    return argparse.Namespace(**vars(SIX), models=["small", "small-inpaint"], graph=["unet"], scratch=tmp_path)


def test_a_unet_is_exported_to_the_byte(proving, models):
    """In all six variants, and with nine channels as with four."""
    assert proving.groups(models) == [["unet", "small", "small-inpaint"]]
    rows = [row for row, _ in proving.made(["small", "small-inpaint"], "unet", models)]
    assert [(row["format"], row["weights"]) for row in rows] == [(f, w) for f in SIX.format for w in SIX.weights]
    assert [words for _, words in proving.compared(["small-inpaint"], "unet", models)] == ["agrees"] * 6
    altered(proving, rows[0])
    with pytest.raises(ValueError, match="openvino_model.xml differs"):
        list(proving.compared(["small-inpaint"], "unet", models))


def altered(proving, row):
    """Ship a file in which a byte of the graph is another."""
    found = open_topologies(row)
    topology = found["small-inpaint"]
    (text,) = topology.files["openvino_model.xml"]
    files = {**topology.files, "openvino_model.xml": (bytes(text).replace(b"640", b"641", 1),)}
    proving.enter(found | {"small-inpaint": replace(topology, files=files)}, *(row[part] for part in topologies.KEY))


def test_a_text_encoder_is_exported_to_the_byte(proving, models):
    list(proving.made(["small"], "text_encoder", models))
    assert [words for _, words in proving.compared(["small"], "text_encoder", models)] == ["agrees"] * 6
