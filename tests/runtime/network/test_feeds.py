"""What a network is told besides its latents, and the bundles that say so."""

from dataclasses import replace

import numpy as np
import pytest

import pleinair
from bundles import light_copy, light_xl_copy
from pleinair.bundle.manifest import KNOWN_FEEDS, Denoiser
from pleinair.engines.fake import FakeEngine
from pleinair.network.denoiser import denoiser_inputs
from pleinair.network.feeds import (
    CHANNELS,
    MAKERS,
    Known,
    guidance_embedding,
    joined,
    scored_size_ids,
    size_ids,
    stacked_rows,
)

JOB = {"seed": 1, "steps": 2, "width": 72, "height": 48}


@pytest.fixture
def seen():
    """The inputs of every call, by graph."""
    return {}


@pytest.fixture
def xl(tmp_path, seen):
    def look(graph, inputs):
        seen.setdefault(graph, []).append(inputs)

    return pleinair.load(light_xl_copy(tmp_path / "xl"), engine=FakeEngine(look))


def test_every_feed_that_a_manifest_may_name_is_made():
    assert set(MAKERS) == set(KNOWN_FEEDS)
    for feed, columns in KNOWN_FEEDS.items():
        row = MAKERS[feed](Known(width=64, height=32, guidance=4.0), columns or 8)
        assert row.shape == (1, columns or 8) and row.dtype == np.float32


def test_sizes_are_told_height_first():
    assert size_ids(Known(width=64, height=32, guidance=1.0), 6).tolist() == [[32, 64, 0, 0, 32, 64]]


def test_what_is_wanted_is_scored_above_what_is_not():
    """diffusers' `aesthetic_score` and `negative_aesthetic_score`."""
    known = Known(width=64, height=32, guidance=1.0)
    assert scored_size_ids(known, 5).tolist() == [[32, 64, 0, 0, 6.0]]
    assert scored_size_ids(replace(known, wanted=False), 5).tolist() == [[32, 64, 0, 0, 2.5]]


@pytest.mark.parametrize("columns", [8, 9, 256])
def test_the_guidance_is_told_as_sinusoids(columns):
    (row,) = guidance_embedding(Known(1, 1, guidance=1.0), columns)
    half = columns // 2
    assert (row[:half] == 0).all() and (row[half : 2 * half] == 1).all() and not row[2 * half :].any()
    (other,) = guidance_embedding(Known(1, 1, guidance=8.5), columns)
    assert np.isclose(other[0], np.sin(7500), atol=1e-3) and np.abs(other).max() <= 1


def test_rows_are_repeated_for_every_picture_unless_they_are_of_each():
    first, second = ({"text": np.full((1, 2, 3), n), "channels": np.arange(2.0).reshape(2, 1)} for n in range(2))
    told = stacked_rows([first, second], pictures=2)
    assert told["text"][:, 0, 0].tolist() == [0, 0, 1, 1] and told["channels"][:, 0].tolist() == [0, 1, 0, 1]
    assert np.array_equal(joined([np.zeros((1, 2, 3)), np.ones((1, 2, 4))])[0, 0], [0] * 3 + [1] * 4)


def test_what_lies_behind_the_latents_goes_into_their_port():
    part = Denoiser("unet", {"x": "latents", "t": "timestep", "c": "text"}, "out", ("mask",))
    x, text = np.ones((2, 4, 3, 3), np.float32), np.zeros((2, 5, 6), np.float32)
    given = denoiser_inputs(part, x, 7.0, {"text": text, CHANNELS: np.zeros((2, 1, 3, 3), np.float32)})
    assert set(given) == {"x", "t", "c"} and given["x"].shape == (2, 5, 3, 3) and given["t"].tolist() == [7.0]
    assert given["c"] is text


def test_two_encoders_a_pooled_text_and_sizes_reach_the_network(xl, seen):
    result = xl.generate("a red house", "a boat", **JOB, guidance=5.0, count=2, batch=2)
    call, texts = seen["unet"][0], seen["text_encoder_2"]
    assert call["encoder_hidden_states"].shape == (4, 77, 256) and call["text_embeds"].shape == (4, 128)
    assert call["time_ids"].tolist() == [[48, 72, 0, 0, 48, 72]] * 4
    negative, prompt = call["text_embeds"][0], call["text_embeds"][2]
    assert not np.array_equal(negative, prompt) and len(texts) == 2
    assert result.pixels.shape == (2, 48, 72, 3) and np.isfinite(result.pixels).all()


@pytest.mark.parametrize("negative, silent", [(None, True), ("", False), ("a boat", False)])
def test_nothing_said_is_zeros_where_the_model_was_trained_so_and_an_empty_text_is_a_text(xl, seen, negative, silent):
    xl.generate("a red house", negative, **JOB, guidance=5.0)
    call = seen["unet"][0]
    assert (not call["encoder_hidden_states"][0].any()) == (not call["text_embeds"][0].any()) == silent
    assert call["encoder_hidden_states"][1].any() and call["text_embeds"][1].any()


def test_without_guidance_nothing_is_asked_for_the_negative(xl, seen):
    xl.generate("a red house", **JOB, guidance=1.0)
    assert len(seen["text_encoder"]) == 1 and seen["unet"][0]["text_embeds"].shape == (1, 128)


def test_a_long_prompt_is_pooled_by_its_first_chunk(xl, seen):
    short = "a red house, " * 10
    for prompt in (short, short + "a boat, " * 60):
        xl.generate(prompt, **JOB, guidance=1.0)
    first, second = (seen["unet"][n] for n in (0, 2))
    assert second["encoder_hidden_states"].shape[1] > first["encoder_hidden_states"].shape[1] == 77
    assert second["text_embeds"].shape == first["text_embeds"].shape


def test_a_bundle_paints_alike_in_either_format(tmp_path):
    old = pleinair.load(engine="fake").generate("a red house", **JOB)
    new = pleinair.load(light_copy(tmp_path / "new"), engine="fake").generate("a red house", **JOB)
    assert np.array_equal(old.latents, new.latents) and np.array_equal(old.pixels, new.pixels)
