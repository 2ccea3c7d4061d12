"""What a stranger's names and values do on the screen: nothing."""

import json
import os
from itertools import cycle

import pytest

from bundles import edit_manifest, light_copy
from pleinair.cli import app as cli
from pleinair.cli import terminal

COMMANDING = [
    "\x1b[2J",  # clears the screen
    "\x1b]0;title\x07",  # renames the window
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[6n",  # makes the terminal type
    "\x9b31m",  # the same as one byte
    "\x90q\x9c",
    "\r overwritten",
    "line\nline",
    "back\x08\x08",
    "\x07bell",
    "nul\x00",
    "\x7f",
    "\u202egnp.exe",  # right to left from here on
    "\u2066isolated\u2069",
    "\u200fmark",
    "\u061cmark",
    "\u2028separated\u2029",
    "\u200bzero width",
    "\ufeffmark",
    "\u00adhyphen",
    "\U000e0041tag",
    "\ud800 alone",
    "\udcff undecodable",
]


def harmless(text):
    """No control, format or separating character and no lone surrogate, except the ends of lines."""
    return all(c == "\n" or terminal.printable(c) == c for c in text) and text.encode("utf-8").isascii()


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("text", COMMANDING, ids=ascii)
def test_what_commands_a_terminal_is_written_out(text):
    shown = terminal.printable(f"before {text} after")
    assert shown.startswith("before ") and shown.endswith(" after") and harmless(shown) and "\\" in shown


@pytest.mark.parametrize(
    "text", ["家 の 猫", "naïve café", "می\u200cخواهم", "👩\u200d🎨", "a\u3000b", "C:\\new\\test"], ids=ascii
)
def test_what_people_write_stays_as_it_is(text):
    assert terminal.printable(text) == text


@pytest.mark.parametrize("text", COMMANDING, ids=ascii)
def test_a_bundles_name_stays_on_its_line(run, tmp_path, text):
    folder = light_copy(tmp_path / "bundle")
    name = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if "\ud800" in text else text
    edit_manifest(folder, lambda raw: raw.update(name=name.replace("\udcff", "?")))
    code, out, err = run("info", folder)
    assert harmless(out.replace("\ufffd", "?")) and harmless(err)
    if code == 0:  # and not refused for its name
        assert out.count("\n") == run("info", light_copy(tmp_path / "plain"))[1].count("\n")


@pytest.mark.parametrize("text, as_json", zip(COMMANDING, cycle([False, True]), strict=False), ids=ascii)
def test_errors_quote_names_without_obeying_them(run, text, as_json):
    option = ["--json"] if as_json else []
    for arguments in (
        ["info", text],
        ["metadata", f"{text}.png"],
        ["rerun", f"{text}.png"],
        ["generate", "a", "--engine", text],
        ["generate", "a", "--engine", "fake", "--sampler", text],
        ["generate", "a", "--engine", "fake", "-o", f"{text}/a.png"],
        ["generate", "a", "--engine", "fake", "--image", text],
        ["generate", text, text],
        ["generate", "a", f"--{text}"],
        [f"{text}"],
    ):
        code, out, err = run(*arguments, *option)
        assert code in (2, 3, 4) and harmless(err) and err.count("\n") == 1, (arguments, err)
        if as_json:
            assert json.loads(out)["error"]["exit_code"] == code
        else:
            assert out == ""


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202e", "a\nb", "\x9b31m"], ids=ascii)
def test_a_files_name_on_stdout_is_one_line(run, text):
    if os.name == "nt":
        pytest.skip("Windows allows no such names")
    code, out, err = run("generate", "a", "--engine", "fake", "--steps", "1", "-o", f"{text}.png")
    assert (code, err) == (0, "") and harmless(out) and out.count("\n") == 1


def test_numbers_that_json_has_no_words_for_become_null(capsys):
    terminal.document({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": float("-inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
