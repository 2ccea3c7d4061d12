"""Records of earlier versions, as `tests/golden/records.py` let them be written, are read, and their pictures made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pleinair.files.embedded import read_texts
from pleinair.files.foreign import read_foreign
from pleinair.files.metadata import read_record
from pleinair.request.record import modern
from pleinair.tasks.rerun import rerun

pytestmark = pytest.mark.usefixtures("silent_storybook")
RECORDS = Path(__file__).parents[2] / "golden" / "records"
ABOUT_HERE = {"bundle", "engine_version", "pleinair", "seed"}  # of this version and model, not of the picture
ASKED = {  # by file, beside the prompt; what is not here was the model's default
    "c43b55a-plain.png": {"steps": 3, "sampler": "euler", "guidance": 5.5, "negative": "fog", "seed": 5},
    "c43b55a-batch-2.png": {"steps": 2, "spacing": "trailing", "seed": 6},
    "a714357-sigmas.png": {"steps": 3, "sampler": "dpmpp_2m", "spacing": "linspace,karras", "seed": 5},
    "caa4e5b-plain.jpg": {"subseed": 9, "subseed_strength": 0.25, "negative": "fog", "seed": 5},
    "caa4e5b-batch-2.png": {"seed": 6},
    "caa4e5b-noise.png": {"sampler": "euler_a", "eta": 0.5, "noise": "philox", "clip_skip": 2},
    "caa4e5b-guided.webp": {"rescale": 0.5, "guidance_end": 0.75, "two_calls": True, "tile": True},
    "caa4e5b-hires.png": {"hires": 1.5, "hires_steps": 2, "enlarger": "lanczos", "hires_strength": 0.5},
    "caa4e5b-masked.png": {"fill": "noise", "mask_blur": 4.0, "restore": True},
    "caa4e5b-outpainted.png": {"outpaint": [0, 0, 8, 0], "fill": "original"},
    "caa4e5b-listed.png": {"sampler": "euler", "sigmas": [14.6, 3.2, 0.7, 0.0]},
    "caa4e5b-filmed.gif": {"sampler": "euler", "sigmas": [14.6, 3.2, 0.7, 0.0]},
    "28eb119-plain.png": {"steps": 2},
    "fcaa74b-guided.webp": {"rescale": 0.5, "two_calls": True, "tile": "x"},
}
PICTURES = [name for name in ASKED if not name.endswith(".gif")]


def test_every_form_is_read():
    for name, asked in ASKED.items():
        found = read_record(RECORDS / name)
        assert asked.items() <= found.options().items(), name
        assert (found.tool, found.prompt, found.warnings) == ("pleinair", "a (red:1.2) house", ()), name


def test_the_text_for_other_tools_says_the_same():
    for name in PICTURES:
        texts = read_texts(RECORDS / name).texts
        record, _ = read_foreign({key: text for key, text in texts.items() if key != "pleinair"})
        whole = read_record(RECORDS / name).options()
        alike = {key for key in ("seed", "sampler", "guidance", "rescale", "subseed", "eta", "hires") if key in whole}
        assert {key: record.options[key] for key in alike} == {key: whole[key] for key in alike}, name


def test_every_picture_is_made_again(tmp_path):
    """What is recorded of it is what the old record says, under the names that it has here."""
    Image.fromarray(np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    for name in PICTURES:
        found = read_record(RECORDS / name)
        inputs = {each: tmp_path / f"{each}.png" for each in found.inputs}
        again = rerun(RECORDS / name, **inputs)
        was = {key: value for key, value in modern(found.ours).items() if key not in ABOUT_HERE and value is not None}
        apart = {key for key, value in was.items() if again.result.settings.get(key) != value}
        assert apart <= {"format", "batch", "batch_seeds", "image_sha256", "mask_sha256"}, (name, apart)
        assert again.difference is not None and found.ours["seed"] in again.result.seeds, name
