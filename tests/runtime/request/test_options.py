"""The table of options: what is made of it, and that a line added to it is all that a new option takes."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import pleinair
from pleinair.errors import RequestError
from pleinair.files.metadata import read_record
from pleinair.request.help import page, schema
from pleinair.request.keywords import Options
from pleinair.request.loading import LOADING
from pleinair.request.options import OPTIONS, PARAMETERS
from pleinair.request.record import tells_empty_apart
from pleinair.request.request import resolve
from pleinair.tasks.rerun import rerun

REPOSITORY = Path(__file__).parents[3]
BASE = {"seed": 1, "steps": 2, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


def test_editors_are_told_every_option():
    assert [*Options.__annotations__] == [name for name in OPTIONS if name not in PARAMETERS]


def test_load_takes_what_its_table_says():
    """Beside what only Python can give: functions."""
    parameters = inspect.signature(pleinair.load).parameters
    assert [name for name in parameters if name not in ("on_load", "on_news")] == [*LOADING]
    assert parameters["verify"].default is LOADING["verify"].default
    for name, wrong in {"threads": 0, "memory": "little"}.items():
        with pytest.raises(RequestError, match=name):
            pleinair.load(**{"engine": "fake", name: wrong})


def test_the_page_is_that_of_the_table():
    assert (REPOSITORY / "docs" / "options.md").read_text(encoding="utf-8") == page()


def test_a_program_finds_every_option_in_the_schema():
    found = json.loads(json.dumps(schema()))
    assert set(found["properties"]) == {*OPTIONS} - {"stop"} and found["required"] == ["prompt"]
    assert found["properties"]["guidance"]["maximum"] == 100 and found["properties"]["steps"]["type"] == "integer"
    assert found["properties"]["noise"]["enum"] == ["torch", "philox", "numpy"]
    assert found["properties"]["hires_strength"]["default"] == 0.5


ADDED = '    novelty: float = option(0.0, Real(0, 5), "Something new.", a1111="Novelty")\n'
BEFORE = "@dataclass(frozen=True)\nclass Hires:"
WITH_IT = """
import sys
from pathlib import Path
from PIL import Image
import pleinair
from pleinair.cli import app
from pleinair.files.foreign.infotext import read_infotext
from pleinair.files.metadata import read_record
from pleinair.request.help import page, schema
from pleinair.request.record import tells_empty_apart
from pleinair.request.request import resolve
from pleinair.tasks.rerun import rerun
from pleinair.tasks.rerun import rerun

pleinair_folder, model = Path(sys.argv[1]), sys.argv[2]
assert Path(pleinair.__file__).is_relative_to(pleinair_folder)
usual = ["--model", model, "--engine", "fake", "--size", "128x128", "--steps", "1", "--seed", "1"]

assert app.run(["generate", "a boat", *usual, "--novelty", "2.5", "-o", "a.png"]) == 0
assert read_record("a.png").ours["novelty"] == 2.5
with Image.open("a.png") as picture:
    text = picture.text["parameters"]
assert "Novelty: 2.5" in text and read_infotext(text).options["novelty"] == 2.5
again = rerun("a.png", model)
assert again.result.settings["novelty"] == 2.5 and again.warnings == (), again.warnings

assert app.run(["generate", "a boat", *usual, "--novelty", "7", "-o", "b.png"]) == 2
pipe = pleinair.load(model, engine="fake")
assert resolve(pipe.bundle, "a boat", novelty="2.5").steps.novelty == 2.5
assert "novelty" not in pipe.generate("a boat", steps=1, novelty=0).settings
try:
    pipe.generate("a boat", novelty="much")
except pleinair.RequestError as error:
    assert "novelty must be a number" in str(error) and "0 to 5" in str(error)

Path("list").write_text('{"prompt": "a boat", "novelty": 1, "output": "c.png"}')
assert app.run(["generate", "--prompts", "list", *usual]) == 0 and read_record("c.png").ours["novelty"] == 1.0
assert "| `novelty` | `--novelty` | Something new (0 to 5) | `0.0` |  | Novelty |" in page()
assert schema()["properties"]["novelty"]["maximum"] == 5
assert "novelty = 0.0" in pipe.generate.__doc__
"""


def test_a_new_option_is_one_line(tmp_path):
    """A line added to the table in a copy: flag, checks, lists, record, A1111's text, rerun, docs, schema have it."""
    copy = tmp_path / "copy" / "pleinair"
    shutil.copytree(REPOSITORY / "runtime" / "pleinair", copy, ignore=shutil.ignore_patterns("__pycache__"))
    table = copy / "request" / "pass_options.py"
    before, after = table.read_text(encoding="utf-8").split(BEFORE)
    table.write_text(f"{before.rstrip()}\n{ADDED}\n\n{BEFORE}{after}", encoding="utf-8")
    model = REPOSITORY / "models" / "storybook" / "bundle"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(copy.parent)!r})\n{WITH_IT}"]
    done = subprocess.run([*command, str(copy), str(model)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ---- one name, one way to say it ----

ALIKE = [
    ({"size": "64x48"}, {"width": 64, "height": 48}),
    ({"panorama": True}, {"tile": "x"}),
    ({"panorama": True, "tile": True}, {"tile": "xy"}),
    ({"panorama": True, "tile": "y"}, {"tile": True}),
    ({"panorama": False, "tile": True}, {"tile": "xy"}),
    ({"hires": "1.5x"}, {"hires": 1.5}),
    ({"hires": "2X"}, {"hires": 2}),
    ({"sampler": "euler", "sigmas": "14.6,3.2, 0.7"}, {"sampler": "euler", "sigmas": [14.6, 3.2, 0.7]}),
    ({"timesteps": "900,500,100"}, {"timesteps": [900, 500, 100]}),
    ({"seed": "3,1"}, {"seed": [3, 1]}),
    ({"image": Image.new("RGB", (64, 64)), "outpaint": "8,0,8,0"}, {"outpaint": (8, 0, 8, 0)}),
    ({"seed": 3, "count": 2}, {"seed": [3, 4]}),
]


@pytest.mark.parametrize("one, other", ALIKE)
def test_what_can_be_said_in_two_ways_means_the_same(pipe, one, other):
    image = {"image": one["image"]} if "image" in one else {}
    requests = [resolve(pipe.bundle, "a boat", **{"seed": 1, **image, **given}) for given in (one, other)]
    first, second = (pipe.settings(request, request.seeds) for request in requests)
    assert first == second


@pytest.mark.parametrize(
    "options, words",
    [
        ({"size": "64x64", "width": 64}, "size stands for width and height"),
        ({"size": "big"}, "512x512"),
        ({"size": (64, 64)}, "size must be text"),
        ({"panorama": "yes"}, "panorama must be true or false"),
        ({"hires": "twice"}, "hires must be a number"),
        ({"hires": "9x"}, "choose 1 to 8"),
        ({"sigmas": "much"}, "sigmas must be a list of numbers"),
        ({"seed": "1,x"}, "seed must be a whole number"),
        ({"together": False}, "unknown option 'together'"),
        ({"prompts": "a"}, "unknown option 'prompts'"),
    ],
)
def test_what_makes_no_sense_is_refused(pipe, options, words):
    with pytest.raises(RequestError, match=words):
        resolve(pipe.bundle, "a boat", **options)


# ---- nothing said, and an empty text ----


@pytest.mark.parametrize("said, kept", [(None, None), ("", ""), ("fog", "fog")])
def test_nothing_said_is_not_an_empty_text(pipe, said, kept):
    request = resolve(pipe.bundle, "a boat", said, **BASE)
    assert request.negative == kept
    settings = pipe.settings(request, request.seeds)
    assert settings["negative"] == (said or "") and "negative_said" not in settings


def test_only_some_models_tell_them_apart(pipe):
    def bundle(*empty):
        encoders = [SimpleNamespace(empty=each) for each in empty]
        return SimpleNamespace(manifest=SimpleNamespace(text_encoders=encoders))

    assert not tells_empty_apart(pipe.bundle) and not tells_empty_apart(bundle("encode", "encode"))
    assert tells_empty_apart(bundle("encode", "zeros"))


@pytest.mark.parametrize("said", [None, ""])
def test_a_record_of_such_a_model_tells_them_apart(pipe, tmp_path, monkeypatch, said):
    monkeypatch.setattr("pleinair.request.record.tells_empty_apart", lambda bundle: True)
    result = pipe.generate("a boat", said, **BASE)
    assert result.settings.get("negative_said") == (True if said == "" else None)
    (file,) = result.save(tmp_path / "made.png")
    assert read_record(file).options().get("negative") == said
    assert rerun(file).result.settings == result.settings


# ---- a second pass with options of its own ----


@pytest.mark.parametrize(
    "options, recorded",
    [
        ({"eta": 0.5}, {"eta": 0.5}),
        ({"hires_eta": 0.5}, {"hires_eta": 0.5}),
        ({"eta": 0.5, "hires_eta": 0.5}, {"eta": 0.5}),
        ({"eta": 0.5, "hires_eta": 0.2}, {"eta": 0.5, "hires_eta": 0.2}),
        ({"s_noise": 1.2, "hires_s_noise": 1}, {"s_noise": 1.2, "hires_s_noise": 1.0}),
        ({"sampler": "dpmpp_2m", "hires_sampler": "euler_a", "hires_eta": 0.2}, {"eta": 0.2}),
        ({"sampler": "euler_a", "hires_sampler": "euler", "hires_s_churn": 3}, {"s_churn": 3.0}),
    ],
)
def test_a_second_pass_may_renew_noise_in_its_own_way(pipe, tmp_path, options, recorded):
    options = {"sampler": "euler_a", **options}
    result = pipe.generate("a boat", **BASE, hires=1.5, **options)
    names = [f"{which}{name}" for name in ("eta", "s_churn", "s_noise") for which in ("", "hires_")]
    assert {name: result.settings[name] for name in names if name in result.settings} == recorded
    result.save(tmp_path / "made.png")
    assert rerun(tmp_path / "made.png").difference.max_abs == 0


def test_a_second_pass_is_refused_what_its_sampler_lacks(pipe):
    with pytest.raises(RequestError, match="has no eta"):
        pipe.stream("a boat", sampler="euler_a", hires=1.5, hires_sampler="euler", hires_eta=0.5)
