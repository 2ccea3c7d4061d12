"""Latents as tokens and back, where the tokens lie, and what several text encoders' tokens become."""

import numpy as np
import pytest

import pleinair
from bundles import edit_manifest, light_packed_copy
from pleinair.bundle.manifest import Joined
from pleinair.bundle.opening import open_bundle
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError
from pleinair.network.feeds import fed
from pleinair.network.patches import image_ids, packed, text_ids, unpacked

JOB = {"seed": 1, "steps": 2, "width": 96, "height": 64, "guidance": 1.0}


@pytest.fixture
def seen():
    """The inputs of every call, by graph."""
    return {}


@pytest.fixture
def folder(tmp_path):
    return light_packed_copy(tmp_path / "packed")


@pytest.fixture
def pipe(folder, seen):
    return pleinair.load(folder, engine=FakeEngine(lambda graph, given: seen.setdefault(graph, []).append(given)))


def test_a_token_holds_a_square_of_each_channel():
    latents = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    tokens = packed(latents, 2)
    assert tokens.shape == (2, 6, 12)
    assert tokens[1, 4].tolist() == latents[1, :, 2:4, 2:4].ravel().tolist()  # row 1, column 1 of 2 x 3 squares
    assert np.array_equal(unpacked(tokens, latents.shape, 2), latents)
    assert packed(latents, 1) is latents and unpacked(latents, latents.shape, 1) is latents


def test_patches_lie_in_rows_and_columns_and_a_text_in_one_place():
    assert image_ids(2, 3).tolist() == [[0, row, column] for row in range(2) for column in range(3)]
    assert text_ids(4).tolist() == [[0, 0, 0]] * 4 and text_ids(4).dtype == image_ids(1, 1).dtype == np.float32


def test_tokens_follow_those_of_other_encoders_and_are_filled_with_zeros():
    said = {name: np.full((1, tokens, width), width, np.float32) for name, tokens, width in
            (("first", 2, 3), ("second", 2, 4), ("third", 5, 8))}  # fmt: skip
    rows = fed(Joined(("first", "second"), then=("third",), width=8, zeros=1), said.__getitem__)
    assert rows.shape == (1, 2 + 5 + 1, 8)
    assert rows[0, 0].tolist() == [3, 3, 3, 4, 4, 4, 4, 0] and rows[0, 2].tolist() == [8] * 8 and not rows[0, 7].any()


def test_a_packed_network_is_told_places_and_a_scaled_time(pipe, seen):
    result = pipe.generate("a red house", **JOB, count=2, batch=2)
    call, channels = seen["transformer"][0], pipe.bundle.manifest.latents.channels
    assert call["hidden_states"].shape == (2, 6 * 4, 4 * channels)
    assert call["img_ids"].tolist() == image_ids(4, 6).tolist() and call["txt_ids"].shape == (77, 3)
    assert call["guidance"].tolist() == [1.0, 1.0] and 0 < call["timestep"][0] <= 1
    assert result.pixels.shape == (2, 64, 96, 3) and np.isfinite(result.pixels).all()


def test_sizes_are_multiples_of_a_token(pipe):
    with pytest.raises(pleinair.RequestError, match="multiple of 16"):
        pipe.generate("a red house", **{**JOB, "width": 72})


def test_an_encoder_that_cuts_reads_one_chunk_and_says_so(pipe, seen):
    result = pipe.generate("a red house, " * 60, **JOB)
    assert seen["transformer"][0]["encoder_hidden_states"].shape[1] == 77 and len(seen["text_encoder_2"]) == 1
    (ids,) = seen["text_encoder_2"][0]["input_ids"]
    encoder = pipe.bundle.manifest.text_encoders[1]
    assert encoder.bos_id is None and ids[-1] == encoder.eos_id and ids[0] != encoder.eos_id
    assert "reads 76 tokens of a text" in " ".join(result.warnings)


def test_plain_emphasis_multiplies_what_is_said_of_a_word(pipe, seen):
    pipe.generate("red house", **JOB)
    pipe.generate("(red:1.5) house", **JOB)
    plain, heavy = (seen["transformer"][n]["encoder_hidden_states"][0] for n in (0, 2))
    assert np.allclose(heavy[0], 1.5 * plain[0]) and np.allclose(heavy[1:], plain[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"patch": 0},
        {"patch": 9},
        {"patch": 3},
        {"time_scale": 0.0},
        {"channels": ["image"]},
        {"patch": 1},
    ],
)
def test_a_denoiser_whose_latents_cannot_be_laid_is_refused(folder, change):
    edit_manifest(folder, lambda raw: raw["denoisers"][0].update(change))
    with pytest.raises(BundleError, match="impossible values"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"zeros": 4},
        {"then": ["text_encoder"]},
        {"width": 1},
        {"width": 1 << 40},
        {"width": 256, "zeros": -1},
        {"width": 256, "zeros": 1 << 40},
    ],
)
def test_tokens_that_do_not_fit_together_are_refused(folder, change):
    edit_manifest(folder, lambda raw: raw["conditioning"]["text"].update(change))
    with pytest.raises(BundleError, match="impossible values"):
        open_bundle(folder)
