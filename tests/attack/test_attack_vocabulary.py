"""What a stranger's manifest claims to know, and prompts that are to be held against it."""

import json

import pytest

from bundles import edit_manifest, light_copy, light_upscaler
from pleinair.bundle.manifest import MANIFEST
from pleinair.bundle.opening import open_bundle
from pleinair.cli import app as cli
from pleinair.errors import BundleError
from pleinair.text.reader import PromptReader
from pleinair.text.report import report
from pleinair.text.vocabulary import word_warnings

NESTED = [[[[["house"]]]]]
WORDS = {
    "a million": ["house"] * 1_000_000,
    "one too many": [f"word{n}" for n in range(10_001)],
    "of 1 MB": ["x" * (1 << 20)],
    "one letter too long": ["x" * 41],
    "colours": ["\x1b[31mred\x1b[0m"],
    "a title": ["\x1b]0;owned\x07"],
    "eight bits": ["\x9b31m"],
    "a bell": ["house\a"],
    "a line": ["house\npleinair: all is well"],
    "a carriage return": ["house\rboat"],
    "a line separator": ["house\u2028boat"],
    "backwards": ["\u202eesuoh"],
    "nothing to see": ["\u200b"],
    "a byte order mark": ["\ufeffhouse"],
    "half a letter": ["\ud800"],
    "a nul": ["hou\0se"],
    "empty": [""],
    "space": ["   "],
    "a number": [1],
    "a fraction": [1.5],
    "true": [True],
    "null": [None],
    "a list": NESTED,
    "an object": [{"house": 1}],
    "no list": "house",
    "an object of words": {"house": "boat"},
    "a number for all": 7,
    "true for all": True,
    "null for all": None,
}
SIZES = {
    "no object": [96, 160],
    "text": "96 to 160",
    "a number": 128,
    "true": True,
    "empty": {},
    "one missing": {"smallest": 96},
    "text for a side": {"smallest": "96", "largest": 160},
    "a fraction": {"smallest": 96.5, "largest": 160},
    "true for a side": {"smallest": True, "largest": 160},
    "null for a side": {"smallest": None, "largest": 160},
    "none": {"smallest": 0, "largest": 160},
    "negative": {"smallest": -96, "largest": 160},
    "the wrong way round": {"smallest": 160, "largest": 96},
    "beyond all": {"smallest": 1, "largest": 10**400},
    "without its own default": {"smallest": 256, "largest": 512},
    "smaller than its own default": {"smallest": 64, "largest": 96},
}
CLAIMS = [("vocabulary", name, value) for name, value in WORDS.items()]
CLAIMS += [("sizes", name, value) for name, value in SIZES.items()]


def claiming(folder, **claims):
    light_copy(folder)
    edit_manifest(folder, lambda raw: raw.update(claims))
    return folder


def one_line(error):
    line = str(error)
    assert "\n" not in line and line.isprintable() and len(line) < 400
    return line


@pytest.mark.parametrize("field, value", [(field, value) for field, _, value in CLAIMS], ids=[c[1] for c in CLAIMS])
def test_claims_that_no_model_makes(tmp_path, field, value):
    folder = claiming(tmp_path / "model", **{field: value})
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    line = one_line(caught.value)
    assert (field in line or "too large" in line) and line.endswith("export the model again")


def test_an_upscaler_makes_no_such_claims_either(tmp_path):
    folder = light_upscaler(tmp_path / "twice")
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(raw | {"vocabulary": ["\x1b[2J"]}))
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    one_line(caught.value)


@pytest.mark.parametrize("command", [["info"], ["prompt", "a dog"], ["generate", "a dog", "--engine", "fake"]])
def test_the_command_line_refuses_with_one_line(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    folder = claiming(tmp_path / "model", vocabulary=["\x1b[31mred\x1b[0m"])
    where = [str(folder)] if command == ["info"] else ["--model", str(folder)]
    assert cli.run([*command, *where]) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "\x1b" not in err


@pytest.mark.parametrize(
    "words", [[f"word{n:035}" for n in range(10_000)], ["…"], ["a", "the"], ["-"], ["'s"], ["'"], ["̈"], ["ſ", "İ"]]
)
def test_the_most_that_may_be_claimed_and_words_that_are_none(tmp_path, words):
    manifest = open_bundle(claiming(tmp_path / "model", vocabulary=words)).manifest
    (warning,) = word_warnings(manifest, ["a dog"], ["a cat"])
    assert "(dog)" in warning and "cat" in warning and len(warning) < 1500 and warning.isprintable()


@pytest.mark.parametrize(
    "prompt",
    [
        "dog " * 2_000,
        "x" * 10_000,
        "-".join("ab" * 2_000),
        "'".join("ab" * 2_000),
        "(" * 2_000 + "dog" + ")" * 2_000,
        "[" * 500 + "dog" + ":cat:0.5]" * 500,
        " AND ".join(["dog"] * 30),
        "[" + "|".join(f"dog{n}" for n in range(300)) + "]",
        " ".join(f"w{n}" for n in range(1_500)),
        "\x1b[31mdog\x1b[0m\x07\u202edog\u2028dog\ud7ff",
        "🐶" * 2_000,
        "e" + "\u0301" * 5_000,
        "ﷺ" * 2_000,
    ],
    ids=range(13),
)
def test_hostile_prompts_bring_one_short_line(prompt):
    found = report(PromptReader(open_bundle()), prompt, prompt, 20)["warnings"]
    (warning,) = [each for each in found if "it knows house" in each]
    assert len(warning) < 1000 and warning.isprintable()
