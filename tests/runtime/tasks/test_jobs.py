"""Lists of prompts: how lines are read, and that what is done is never done again."""

import io
import json
import sys
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

import pleinair
from pleinair.cli import app as cli
from pleinair.errors import EngineError, ResourceError
from pleinair.files.output import write_pictures
from pleinair.tasks import lines as list_lines
from pleinair.tasks import lists as jobs

pytestmark = pytest.mark.usefixtures("silent_storybook")
QUICK = {"steps": 1, "width": 32, "height": 32}


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(pipe, text, common=QUICK):
    return list(
        list_lines.read_lines(io.BytesIO(text if isinstance(text, bytes) else text.encode()), pipe.bundle, common)
    )


def paint(pipe, text, common=QUICK, **options):
    lines = list_lines.read_lines(io.BytesIO(text.encode()), pipe.bundle, common)
    return jobs.run(lines, pipe, Path(), ledger=Path("list.pictures.jsonl"), **options)


def files():
    return sorted(path.name for path in Path().iterdir() if path.suffix in {".png", ".jpg", ".webp"})


def test_prompts_and_objects_are_told_apart_line_by_line(pipe):
    text = """# a list
a red house

{"prompt": "a boat", "negative": "fog", "seed": 7, "size": "64x32", "steps": 3, "output": "boat.webp"}
  (a cat:1.2), [a dog]
"""
    first, second, third = read(pipe, text)
    assert first == list_lines.Line(2, "a red house", None, QUICK, None)
    assert second.number == 4 and (second.prompt, second.negative) == ("a boat", "fog")
    assert second.options == {"seed": 7, "steps": 3, "width": 64, "height": 32} and second.output == Path("boat.webp")
    assert third.number == 5 and third.prompt == "(a cat:1.2), [a dog]"


def test_byte_order_mark_and_line_ends_of_windows(pipe):
    text = b'\xef\xbb\xbfa house\r\n{"prompt": "a b\xc3\xb6at"}\r\n\r\nlast'
    assert [(line.number, line.prompt) for line in read(pipe, text)] == [(1, "a house"), (2, "a böat"), (4, "last")]


def test_common_options_hold_where_a_line_is_silent(pipe):
    common = {**QUICK, "negative": "fog", "seed": None}
    plain, own = read(pipe, 'a\n{"prompt": "b", "negative": "", "steps": 4}', common)
    assert plain.negative == "fog" and own.negative == "" and own.options["steps"] == 4
    assert "seed" not in plain.options


@pytest.mark.parametrize(
    "line, words",
    [
        ('{"prompt": "a", "stepz": 3}', "did you mean 'steps'"),
        ('{"prompt": "a", "steps": "three"}', "whole number"),
        ('{"prompt": "a", "steps": 2.5}', "whole number"),
        ('{"prompt": "a", "steps": true}', "whole number, not True"),
        ('{"prompt": "a", "steps": 0}', "1 to 1000"),
        ('{"prompt": "a", "guidance": NaN}', "guidance"),
        ('{"prompt": "a", "seed": -1}', "seed"),
        ('{"prompt": "a", "seed": []}', "empty"),
        ('{"prompt": "a", "sampler": "eular"}', "did you mean 'euler'"),
        ('{"prompt": "a", "sampler": 3}', "sampler"),
        ('{"prompt": 3}', "must be text"),
        ('{"prompt": ["a"]}', "must be text"),
        ('{"seed": 3}', "no prompt"),
        ('{"prompt": "  "}', "no prompt"),
        ('{"prompt": "a", "prompt": "b"}', "twice"),
        ('{"prompt": "a", "size": "big"}', "512x512"),
        ('{"prompt": "a", "size": "30x32"}', "multiple of 8"),
        ('{"prompt": "a", "output": "../a.png"}', "in the folder"),
        ('{"prompt": "a", "output": "/a.png"}', "in the folder"),
        ('{"prompt": "a", "output": ""}', "in the folder"),
        ('{"prompt": "a", "stop": 1}', "unknown option 'stop'"),
        ('{"prompt": "a"', "not a JSON object"),
        ("{" * 100_000, "not a JSON object"),
        ('{"prompt": ' + "[" * 100_000, "not a JSON object"),
        ('{"prompt": "a", "steps": ' + "9" * 5000 + "}", ""),
        ('{"prompt": "a", "seed": 1e400}', "seed"),
        (r'{"prompt": "\ud800"}', "Unicode"),
        ("a" * (1 << 21), "longer than"),
        (b"a \xff b", "UTF-8"),
        (b"a\0b", "NUL"),
        ("a house".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_understood(pipe, line, words):
    raw = line if isinstance(line, bytes) else line.encode()
    before, bad, after = read(pipe, b"first\n" + raw.replace(b"\n", b"") + b"\nlast\n")
    assert isinstance(bad, list_lines.BadLine) and bad.line == 2 and words in bad.reason, bad
    assert len(bad.reason) < 600 and (before.prompt, after.prompt, after.number) == ("first", "last", 3)


def test_lists_are_read_no_further_than_asked(pipe):
    class Endless(io.RawIOBase):
        told = 0

        def readline(self, limit=-1):
            self.told += 1
            return b"a boat\n"

    stream = Endless()
    assert len(list(islice(list_lines.read_lines(stream, pipe.bundle), 3))) == 3 and stream.told == 3


def test_a_list_that_is_not_there(pipe):
    with pytest.raises(ResourceError, match="check the path"):
        list(list_lines.read_lines(Path("no-such-list"), pipe.bundle))


LIST = """a house
{"prompt": "a boat", "seed": 5, "count": 3}
a house
{"prompt": "a cat", "output": "cat.webp", "seed": 1}
{"prompt": "a dog", "seed": [4, 4], "batch": 2, "output": "dog.jpg"}
"""


def test_every_line_is_painted_under_a_name_that_is_its_own(pipe):
    painted = list(paint(pipe, LIST))
    assert [(each.line, each.seed) for each in painted[1:4]] == [(2, 5), (2, 6), (2, 7)]
    names = [each.file.name for each in painted]
    assert names[0] == f"0001-a-house-{painted[0].seed}.png" and names[1:4] == [
        f"0002-a-boat-{s}.png" for s in (5, 6, 7)
    ]
    assert names[4].startswith("0003-a-house-") and names[5:] == ["cat.webp", "dog-1.jpg", "dog-2.jpg"]
    assert files() == sorted(names)
    assert painted[0].seed != painted[4].seed  # two equal lines are two wishes


@pytest.mark.parametrize("done", range(9))
def test_an_interrupted_list_goes_on_where_it_stopped(pipe, done, monkeypatch):
    for _ in islice(paint(pipe, LIST), done):
        pass
    before = {name: Path(name).stat().st_mtime_ns for name in files()}
    assert len(before) >= done
    again = list(paint(pipe, LIST))
    assert len(again) == len(files()) == 8
    assert [each.result is None for each in again] == [each.file.name in before for each in again]
    assert all(Path(name).stat().st_mtime_ns == before[name] for name in before)
    monkeypatch.setattr(pipe, "stream", lambda *_, **__: pytest.fail("painted again"))
    assert all(each.result is None for each in paint(pipe, LIST))


def test_a_kill_while_a_file_is_written_leaves_that_picture_to_do(pipe):
    seen = []

    def killed(result, places, overwrite):
        seen.append(result.seeds)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return write_pictures(result, places, overwrite)

    with pytest.raises(KeyboardInterrupt):
        list(paint(pipe, LIST, save=killed))
    assert len(files()) == 2
    again = list(paint(pipe, LIST))
    assert len(files()) == 8 and sum(each.result is None for each in again) == 2
    assert again[2].seed == seen[2][0]


def test_a_picture_that_was_deleted_is_made_again_as_it_was(pipe):
    first = next(paint(pipe, "a house"))
    pixels = first.file.read_bytes()
    first.file.unlink()
    again = next(paint(pipe, "a house"))
    assert again.file == first.file and again.seed == first.seed
    with Image.open(again.file) as picture, Image.open(io.BytesIO(pixels)) as before:
        assert picture.tobytes() == before.tobytes()


def test_lines_may_move_and_new_ones_join(pipe):
    list(paint(pipe, "a house\na boat"))
    again = list(paint(pipe, "# a title\na cat\na boat\na house"))
    assert [each.result is None for each in again] == [False, True, True]
    assert len(files()) == 3


def test_other_settings_are_other_pictures(pipe):
    list(paint(pipe, "a house"))
    again = list(paint(pipe, "a house", {**QUICK, "steps": 2}))
    assert again[0].result is not None and len(files()) == 2


def test_a_torn_or_foreign_ledger_line_costs_only_that_line(pipe):
    list(paint(pipe, "a house\na boat"))
    ledger = Path("list.pictures.jsonl")
    house, boat = ledger.read_bytes().splitlines()
    ledger.write_bytes(b'[1]\n{"key": 3}\n\xff\n' + house + b"\n" + boat[:40])
    again = list(paint(pipe, "a house\na boat"))
    assert [each.result is None for each in again] == [True, False]
    assert all(each.result is None for each in paint(pipe, "a house\na boat"))


def test_a_file_in_the_way_makes_its_line_bad_and_stays(pipe):
    Path("boat.png").write_text("precious")
    text = '{"prompt": "a boat", "output": "boat.png"}\na house'
    for _ in range(2):
        bad, house = paint(pipe, text)
        assert bad.line == 1 and "--force" in bad.reason and isinstance(house, jobs.Painted)
    assert Path("boat.png").read_text() == "precious"
    forced = list(paint(pipe, text, overwrite=True))
    assert all(each.result for each in forced) and Path("boat.png").stat().st_size > 20


def test_two_lines_that_want_one_file(pipe):
    text = '{"prompt": "a", "output": "x.png"}\n{"prompt": "b", "output": "x.png"}'
    for _ in range(2):
        first, second = paint(pipe, text)
        assert isinstance(first, jobs.Painted) and isinstance(second, list_lines.BadLine)


@pytest.mark.parametrize("output", ["x.npz", "x.bmp", "x", "no/such/x.png"])
def test_an_output_that_cannot_be_makes_its_line_bad(pipe, output):
    bad, good = paint(pipe, json.dumps({"prompt": "a", "output": output}) + "\na house")
    assert isinstance(bad, list_lines.BadLine) and isinstance(good, jobs.Painted) and len(files()) == 1


def test_a_line_that_fails_while_it_is_painted_does_not_stop_the_rest(pipe, monkeypatch):
    stream = pipe.stream

    def failing(prompt, negative, **options):
        if prompt == "bad":
            raise EngineError("NaN; lower --guidance")
        if prompt == "huge":
            raise MemoryError
        return stream(prompt, negative, **options)

    monkeypatch.setattr(pipe, "stream", failing)
    reports = list(paint(pipe, "a\nbad\nhuge\nb"))
    assert [isinstance(each, list_lines.BadLine) for each in reports] == [False, True, True, False]
    assert "--guidance" in reports[1].reason and "memory" in reports[2].reason


def test_a_full_disk_ends_the_list(pipe):
    def full(result, places, overwrite):
        raise ResourceError("cannot write; free space")

    with pytest.raises(ResourceError):
        list(paint(pipe, "a\nb", save=full))


def test_a_folder_that_is_not_there(pipe):
    lines = list_lines.read_lines(io.BytesIO(b"a"), pipe.bundle, QUICK)
    with pytest.raises(ResourceError, match="create it"):
        list(jobs.run(lines, pipe, Path("nowhere")))


FAKE = ["--engine", "fake", "--steps", "1", "--size", "32x32"]


def command(*arguments):
    return cli.run(["generate", "--prompts", *map(str, arguments), *FAKE])


def test_the_command_paints_all_good_lines_and_exits_7(tmp_path, capsys):
    Path("list.txt").write_text('a house\n{"prompt": "a boat", "steps": 0}\n{"prompt": "a cat", "seed": 3}\n')
    Path("out").mkdir()
    assert command("list.txt", "-o", "out") == 7
    out, err = capsys.readouterr()
    house, cat = out.splitlines()
    assert Path(house).exists() and cat == str(Path("out", "0003-a-cat-3.png"))
    assert err.splitlines()[0].startswith("pleinair: line 2: steps 0") and "1 of the lines (2)" in err.splitlines()[1]
    assert command("list.txt", "-o", "out") == 7
    out, err = capsys.readouterr()
    assert out == "" and "already there: 2" in err
    Path("list.txt").write_text("a house\na boat\n")
    assert command("list.txt", "-o", "out", "--json") == 0
    done, new = map(json.loads, capsys.readouterr().out.splitlines())
    assert done == {"line": 1, "path": house, "seed": done["seed"], "painted": False}
    assert new["painted"] and new["settings"]["prompt"] == "a boat" and new["warnings"] == []
    assert sorted(path.name for path in Path().iterdir()) == ["list.txt", "out"]


def test_a_list_from_standard_input(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a böat\n\xff".encode())))
    assert command("-", "--seed", 4, "--json") == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["seed"] for report in reports] == [4, 4] and Path("stdin.pictures.jsonl").exists()


def test_a_bad_line_in_json(capsys):
    Path("list.jsonl").write_text('{"prompt": 1}\n')
    assert command("list.jsonl", "--json") == 7
    assert json.loads(capsys.readouterr().out)["line"] == 1


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["generate"], 2, "--prompts"),
        (["generate", "a", "--prompts", "list"], 2, "not both"),
        (["generate", "--prompts", "no-such-list"], 4, "check the path"),
        (["generate", "--prompts", "list", "-o", "no/where"], 4, "another -o"),
        (["generate", "--prompts", "list", "-o", "list.png"], 2, "needs a folder"),
        (["generate", "--prompts", "list", "--film", "f.gif"], 2, "--film"),
    ],
)
def test_bad_commands_are_one_line(capsys, arguments, code, words):
    Path("list").write_text("a\n")
    assert cli.run([*arguments, *FAKE]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
    assert files() == []


@pytest.mark.usefixtures("sketched")
def test_a_real_engine_paints_a_list():
    Path("list.txt").write_text("a red house\na blue boat on the sea\n")
    arguments = [
        "generate",
        "--prompts",
        "list.txt",
        "--engine",
        "onnx",
        "--threads",
        "1",
        "--steps",
        "4",
        "--seed",
        "1",
    ]
    assert cli.run(arguments) == 0 and files() == ["0001-a-red-house-1.png", "0002-a-blue-boat-on-the-sea-1.png"]
    times = [Path(name).stat().st_mtime_ns for name in files()]
    assert cli.run(arguments) == 0 and [Path(name).stat().st_mtime_ns for name in files()] == times


UNUSABLE = [
    {"upscale": "/nonexistent"},
    {"upscale": 5},
    {"upscale": "made.png"},
    {"embeddings": 5},
    {"embeddings": [5]},
    {"embeddings": "missing.safetensors"},
    {"embeddings": ["missing.safetensors"]},
    {"outpaint": 64},
    {"outpaint": 64, "image": "made.png"},
    {"outpaint": "8,8,8", "image": "made.png"},
    {"outpaint": [8, "x", 8, 8], "image": "made.png"},
    {"outpaint": {"left": 8}, "image": "made.png"},
    {"image": "missing.png"},
    {"image": 5},
    {"image": [1, 2]},
    {"image": ""},
    {"image": "list.jsonl"},
    {"mask": 3},
    {"mask": 3, "image": "made.png"},
    {"mask": "missing.png", "image": "made.png"},
    {"sampler": 7},
    {"sampler": ["euler"]},
    {"spacing": {}},
    {"steps": "ten"},
    {"steps": [3]},
    {"sigmas": "x"},
    {"sigmas": 5},
    {"sigmas": ["x", "y"]},
    {"sigmas": []},
    {"sigmas": [[1, 2], [3, 4]]},
    {"timesteps": "x"},
    {"timesteps": {"a": 1}},
    {"prompt": 5},
    {"tile": "maybe"},
    {"tile": 5},
    {"tile": ["x"]},
    {"vae_tile": "big"},
    {"enlarger": "/nope", "hires": 1.5},
    {"enlarger": 5, "hires": 1.5},
    {"hires": "twice"},
    {"hires": 1.5, "hires_sampler": 3},
    {"seed": {}},
    {"seed": [1, "x"]},
    {"seed": "one"},
    {"subseed": 1.5, "subseed_strength": 0.5},
    {"noise": 3},
    {"noise": ["torch"]},
    {"fill": 3, "image": "made.png"},
    {"fill": ["noise"], "image": "made.png"},
    {"restore": "no", "image": "made.png"},
    {"only_masked": 1, "image": "made.png"},
    {"two_calls": "yes"},
    {"width": "wide"},
    {"width": [64]},
    {"size": [64, 64]},
    {"negative": ["fog"]},
    {"guidance": "strong"},
    {"guidance": [1]},
    {"eta": "x"},
    {"clip_skip": "two"},
    {"output": 5},
    {"output": "x.png/y.png"},
]


def in_words(values):
    return json.dumps(values)[:60]


@pytest.mark.parametrize("values", UNUSABLE[::12], ids=in_words)  # all of them below, in one list
def test_a_line_with_values_that_cannot_be_used_costs_only_that_line(values, capsys):
    Image.new("RGB", (32, 32), (200, 60, 30)).save("made.png")
    lines = [{"prompt": "first", "seed": 1}, {"prompt": "a", **values}, {"prompt": "last", "seed": 2}]
    Path("list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("out").mkdir()
    assert command("list.jsonl", "-o", "out") == 7
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(Path("out", name)) for name in ("0001-first-1.png", "0003-last-2.png")]
    why, sum_of_it = err.splitlines()
    assert why.startswith("pleinair: line 2: ") and "1 of the lines (2)" in sum_of_it
    assert len(why) < 600 and "Error" not in why
    assert sorted(path.suffix for path in Path("out").iterdir()) == [".jsonl", ".png", ".png"]


def test_lines_that_cannot_be_used_are_named_one_by_one(capsys):
    Image.new("RGB", (32, 32)).save("made.png")
    lines = [{"prompt": "a", **values} for values in UNUSABLE] + [{"prompt": "good", "seed": 1}]
    Path("list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("list.jsonl", "--json") == 7
    *bad, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert [report["line"] for report in bad] == list(range(1, len(UNUSABLE) + 1))
    assert all(report["error"] for report in bad) and good["painted"] and good["path"].endswith("good-1.png")


def test_an_option_for_all_lines_that_cannot_be_used_paints_nothing(capsys):
    Path("list").write_text("a\nb\n")
    assert command("list", "--upscale", "nowhere") in (3, 7)
    out, err = capsys.readouterr()
    assert out == "" and "nowhere" in err and files() == []
