"""A second model that takes over on the way, on the fake engine."""

import json

import numpy as np
import pytest

import pleinair
from bundles import edit_manifest, light_copy, light_edit_copy, light_upscaler, seal
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError, RequestError

QUICK = {"prompt": "a red house", "negative": "fog", "seed": 5, "steps": 8, "width": 64, "height": 48}
pytestmark = pytest.mark.usefixtures("silent_storybook")


@pytest.fixture
def refiner(tmp_path):
    return named(light_copy(tmp_path / "refiner"))


def named(folder):
    edit_manifest(folder, lambda raw: raw.update(name=folder.name))
    return folder


def other_scheduler(folder, **values):
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    seal(folder)


@pytest.mark.parametrize("memory", ["high", "low"])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "unipc"])
def test_a_model_goes_on_from_its_own_half(refiner, sampler, memory):
    """The same weights on both sides: one evaluation a step more or less makes no other picture, but for history."""
    told = []
    engine = FakeEngine(lambda graph, inputs: told.append(graph))
    pipe = pleinair.load(engine=engine, memory=memory)
    alone = pipe.generate(**QUICK, sampler=sampler)
    calls = told.count("unet")
    both = pipe.generate(**QUICK, sampler=sampler, refiner=refiner, refiner_start=0.5)
    assert told.count("unet") == 2 * calls
    limit = 0.3 if sampler in ("dpmpp_2m", "unipc") else 1e-6  # those that look back have nothing to look at
    assert np.abs(alone.latents - both.latents).max() < limit
    assert (both.settings["refiner"], both.settings["refiner_start"]) == (refiner.name, 0.5)


def test_both_walk_one_way_and_read_for_themselves(refiner):
    told = []
    pipe = pleinair.load(engine=FakeEngine(lambda graph, inputs: told.append((graph, inputs))))
    frames = list(pipe.stream(**QUICK, sampler="euler", spacing="trailing", refiner=refiner, refiner_start=0.5))
    assert [frame.step for frame in frames] == [*range(1, 9), 8]
    steps = [float(inputs["timestep"][0]) for graph, inputs in told if graph == "unet"]
    assert steps == [999, 874, 749, 624, 499, 374, 249, 124]
    assert sum(graph == "text_encoder" for graph, _ in told) == 4  # the prompt and the negative one, twice


def test_a_prompt_that_changes_is_read_over_the_whole_way(refiner):
    """The change lies in the refiner's part."""
    pipe = pleinair.load(engine="fake")
    changing = pipe.generate(**QUICK | {"prompt": "a [red:blue:0.75] house"}, sampler="euler")
    both = pipe.generate(
        **QUICK | {"prompt": "a [red:blue:0.75] house"}, sampler="euler", refiner=refiner, refiner_start=0.5
    )
    assert np.abs(changing.latents - both.latents).max() < 1e-6


def test_what_lies_outside_a_mask_is_kept_by_both(refiner):
    pipe = pleinair.load(engine="fake")
    grey = np.full((48, 64, 3), 90, np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    how = {"image": grey, "mask": mask, "restore": False, "sampler": "euler"}
    alone = pipe.generate(**QUICK, **how)
    both = pipe.generate(**QUICK, **how, refiner=refiner, refiner_start=0.5)
    assert np.abs(alone.pixels - both.pixels).max() < 1e-5


REFUSED = {
    "no share left": ({"refiner_start": 1.0}, RequestError, "leaves 'refiner' no step of 8"),
    "no share at first": ({"refiner_start": 0.0}, RequestError, "leaves 'storybook' no step of 8"),
    "a second pass": ({"hires": 2}, RequestError, "a refiner and a second pass do not work together"),
    "a number": ({"refiner": 5}, RequestError, "refiner must be the folder of a bundle"),
    "nothing there": ({"refiner": "nowhere"}, BundleError, "no model folder 'nowhere'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(refiner, name):
    options, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        pleinair.load(engine="fake").generate(**QUICK, **{"refiner": refiner} | options)


def test_models_that_do_not_fit_are_refused(refiner, tmp_path):
    pipe = pleinair.load(engine="fake")
    with pytest.raises(BundleError, match="'big' can do upscale, but not image2image"):
        pipe.generate(**QUICK, refiner=light_upscaler(tmp_path / "big"))
    with pytest.raises(RequestError, match="made to paint over pictures, and a refiner cannot continue from it"):
        picture = np.zeros((48, 64, 3), np.uint8)
        edits = pleinair.load(light_edit_copy(tmp_path / "edits"), engine="fake")
        edits.generate(**QUICK, image=picture, refiner=refiner)
    other_scheduler(refiner, beta_end=0.02)
    with pytest.raises(BundleError, match="'refiner' was trained on other noise levels than 'storybook'"):
        pipe.generate(**QUICK, refiner=refiner)

    def widen(raw):
        raw["vaes"]["default"]["downsample"] = raw["latents"]["multiple"] = 16

    wide = named(light_copy(tmp_path / "wide"))
    edit_manifest(wide, widen)
    with pytest.raises(BundleError, match="the latents of 'wide' differ from those of 'storybook'"):
        pipe.generate(**QUICK, refiner=wide)
