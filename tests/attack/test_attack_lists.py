"""Lists, ledgers and output names from strangers: what is bad costs its line, and nothing is written elsewhere."""

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import pleinair
from pleinair.cli import app as cli
from pleinair.engines.fake import FakeEngine
from pleinair.errors import BundleError, EngineError, PleinairError, RequestError, ResourceError
from pleinair.files import film
from pleinair.files.output import free_names, planned_files, whole_file
from pleinair.tasks import lines as list_lines
from pleinair.tasks import lists as jobs
from pleinair.tasks.filming import Filming

pytestmark = pytest.mark.skipif(os.name == "nt", reason="has no FIFOs, and makes links for administrators only")

QUICK = {"steps": 1, "width": 32, "height": 32}
FAKE = ["--engine", "fake", "--steps", "1", "--size", "32x32"]
LEDGER = Path("out", "list.pictures.jsonl")


@pytest.fixture(scope="module")
def pipe():
    return pleinair.load(engine="fake")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """The working folder is `here`, with a folder `out` in it; what appears beside `here` has escaped."""
    (tmp_path / "here" / "out").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def paint(pipe, text, **options):
    raw = text if isinstance(text, bytes) else text.encode()
    lines = list_lines.read_lines(io.BytesIO(raw), pipe.bundle, QUICK)
    return list(jobs.run(lines, pipe, Path("out"), ledger=LEDGER, **options))


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def painted(reports):
    return [isinstance(each, jobs.Painted) for each in reports]


def pictures():
    return sorted(
        path.name for path in Path("out").iterdir() if path.suffix == ".png" and path.is_file() and path.stat().st_size
    )


def names():
    return sorted(path.name for path in Path().iterdir())


def obstacles(folder):
    """Things under names that a picture may be meant to have."""
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "fifo.png")
    for name, target in {
        "dangling.png": "nowhere",
        "outside.png": "../../escaped.png",
        "loop.png": "loop.png",
        "device.png": "/dev/zero",
        "to-folder.png": "folder.png",
        "to-fifo.png": "fifo.png",
        "link": "../..",
        "loop": "loop",
    }.items():
        (folder / name).symlink_to(target)


LINKS = ("dangling.png", "outside.png", "loop.png", "device.png", "to-fifo.png")  # the link itself may be replaced
SOLID = ("folder.png", "fifo.png", "to-folder.png")

# ---- lines of a list ----

OUTPUTS = [
    "a\0.png", "\ud800.png", "\udcff.png", "a\n.png", "\x1b[2J.png", "../x.png", "sub/../../x.png", "/x.png", "//x.png",
    "./x.png", "a//x.png", "C:x.png", "C:\\x.png", "\\\\host\\share\\x.png", "..\\x.png", "a.png:x.png", "con.png",
    "NUL.jpg", "nul .png", "com1.tar.png", "LPT9.webp", "aux/x.png", "conin$.png", "x" * 300 + ".png",
    "é" * 200 + ".png", "x" * 9000 + ".png", "x.exe", "x.png.exe", "x.npz", "x.gif", "x", "", ".", "..", "/", ".png",
    "no/such/x.png", "list.pictures.jsonl", "x.png/", "link/x.png", "link/here/out/../x.png", "loop/x.png",
    "fifo.png/x.png", *SOLID,
]  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "overwrite"])
def test_a_bad_output_name_costs_its_line(pipe, overwrite):
    obstacles(Path("out"))
    bad = [{"prompt": "a", "output": name} for name in OUTPUTS]
    reports = paint(
        pipe, lines({"prompt": "first", "seed": 1}, *bad, {"prompt": "last", "seed": 1}), overwrite=overwrite
    )
    first, *refused, last = reports
    assert painted([first, last]) == [True, True]
    for name, each in zip(OUTPUTS, refused, strict=True):
        assert not isinstance(each, jobs.Painted), name
        assert each.reason.isprintable() and len(each.reason) < 600, name
    assert pictures() == ["0001-first-1.png", f"{len(reports):04}-last-1.png"]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_the_way_costs_its_line_or_is_replaced(pipe, name):
    obstacles(Path("out"))
    text = lines({"prompt": "a", "output": name}, {"prompt": "last", "seed": 1})
    for _ in range(2):
        assert painted(paint(pipe, text)) == [False, True] and Path("out", name).is_symlink()
    assert painted(paint(pipe, text, overwrite=True)) == [True, True]
    assert Path("out", name).is_file() and not Path("out", name).is_symlink()


VALUES = [None, True, -1, 3, 10**30, float("inf"), "a\0b", "3", "\ud800", [3, 1], [[[]]], {"3": 1, "1": 0}]
OPTIONS = [*list_lines.KEYS, "stop", "no_such_option"]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_json_value_for_every_option_costs_no_other_line(pipe, option):
    reports = paint(pipe, lines(*({"prompt": "a", option: value} for value in VALUES), {"prompt": "last"}))
    assert {each.line for each in reports} == set(range(1, len(VALUES) + 2)) and isinstance(reports[-1], jobs.Painted)
    for bad in [each for each in reports if isinstance(each, list_lines.BadLine)]:
        assert len(bad.reason) < 600 and bad.reason.isprintable(), bad
    json.dumps([each.result.settings for each in reports if isinstance(each, jobs.Painted)])


ODD_LINES = {
    "cut": b'{"prompt": "a',
    "cut in an escape": b'{"prompt": "a\\u00',
    "not UTF-8": b"\xff\xfe",
    "a NUL": b"a\0b",
    "an escaped NUL and control characters": rb'{"prompt": "a\u0000\u001b[2J"}',
    "no prompt but white space": '{"prompt": "\u2003\u3000"}'.encode(),
    "deep": b'{"prompt": ' + b"[" * 200_000,
    "deep, closed": b'{"seed": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a number of a megabyte": b'{"prompt": "a", "seed": ' + b"9" * 1_000_000 + b"}",
    "longer than a line may be": b"a" * ((1 << 20) + 1),
    "a key of a megabyte": b'{"prompt": "a", "' + b"k" * 1_000_000 + b'": 1}',
    "a sampler of a megabyte": b'{"prompt": "a", "sampler": "' + b"k" * 1_000_000 + b'"}',
    "keys twice": b'{"prompt": "a", "prompt": "b"}',
    "two objects": b'{"prompt": "a"} {"prompt": "b"}',
    "brackets": b"(" * 5000,
    "a pair of braces": b"{}",
}


@pytest.mark.parametrize("name", ODD_LINES)
def test_an_odd_line_costs_itself_at_most(pipe, name):
    first, *own, last = paint(pipe, b"first\n" + ODD_LINES[name] + b"\nlast\n")
    assert painted([first, last]) == [True, True] and len(own) == 1
    if isinstance(own[0], list_lines.BadLine):
        assert own[0].line == 2 and len(own[0].reason) < 600 and own[0].reason.isprintable()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceError("not enough memory for the graph; choose a smaller size"),
        EngineError("NaN; lower --guidance"),
        BundleError("no graph; export again"),
        RequestError("no; leave it out"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["before", "during"])
def test_an_engine_that_fails_costs_the_line(pipe, monkeypatch, error, when):
    stream = pipe.stream

    def failing(prompt, negative, **options):
        if prompt == "bad" and when == "before":
            raise error
        for frame in stream(prompt, negative, **options):
            if prompt == "bad":
                raise error
            yield frame

    monkeypatch.setattr(pipe, "stream", failing)
    assert painted(paint(pipe, "first\nbad\nlast\n")) == [True, False, True]


def test_memory_that_ends_while_a_line_is_read_costs_the_line(pipe, monkeypatch):
    def exhausted(bundle, prompt, *rest, **options):
        if prompt == "bad":
            raise MemoryError
        return resolve(bundle, prompt, *rest, **options)

    resolve = list_lines.resolve
    monkeypatch.setattr(list_lines, "resolve", exhausted)
    assert painted(paint(pipe, "first\nbad\nlast\n")) == [True, False, True]


COLLISIONS = [
    ("x.png", "x.png"),
    ("x.png", "X.PNG"),
    ("straße.png", "STRASSE.png"),
    ("e\u0301.png", "\xe9.png"),
    ("sub/x.png", "same/x.png"),
]


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "overwrite"])
@pytest.mark.parametrize("names", COLLISIONS, ids=ascii)
def test_two_lines_never_share_a_file(pipe, names, overwrite):
    Path("out", "sub").mkdir()
    Path("out", "same").symlink_to("sub")
    text = lines(*({"prompt": "a", "seed": seed, "output": name} for seed, name in enumerate(names)))
    for _ in range(2):
        assert painted(paint(pipe, text, overwrite=overwrite)) == [True, False]


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "overwrite"])
@pytest.mark.parametrize(
    "values",
    [
        [{"seed": [4, 4, 4]}],
        [{"seed": [4, 4], "output": "x.png"}],
        [{"seed": 1, "output": "0002-a-2.png"}, {"seed": 2}],
        [{"seed": 2}, {"seed": [1, 3], "output": "0001-a.png"}],
    ],
)
def test_no_picture_of_a_list_is_lost_to_another(pipe, values, overwrite):
    text = lines(*({"prompt": "a"} | value for value in values))
    reports = paint(pipe, text, overwrite=overwrite)
    files = [each.file for each in reports if isinstance(each, jobs.Painted)]
    assert len(set(files)) == len(files) == len(pictures())
    assert [each.file for each in paint(pipe, text) if isinstance(each, jobs.Painted)] == files


# ---- the ledger ----


def entry(pipe, text):
    """What the ledger says of a list of one line, whose picture is taken away again."""
    paint(pipe, text)
    (line,) = LEDGER.read_text().splitlines()
    for file in Path("out").glob("*.png"):
        file.unlink()
    return json.loads(line)


FORGED = {
    "files above": {"files": ["../x.png"]},
    "files far above": {"files": ["../../../x.png"]},
    "files at the root": {"files": ["/x.png"]},
    "files through a link": {"files": ["link/x.png"]},
    "a home": {"files": ["~/x.png"]},
    "a drive": {"files": ["C:\\x.png"]},
    "a share": {"files": ["\\\\host\\x.png"]},
    "a device": {"files": ["/dev/null"]},
    "a device of Windows": {"files": ["nul.png"]},
    "another suffix": {"files": ["x.exe"]},
    "no suffix": {"files": ["x"]},
    "an array": {"files": ["0001-a-7.npz"]},
    "the ledger itself": {"files": ["list.pictures.jsonl"]},
    "another's picture": {"files": ["precious.png"]},
    "a NUL": {"files": ["a\0.png"]},
    "a surrogate": {"files": ["\ud800.png"]},
    "an escape": {"files": ["\x1b[2J.png"]},
    "a long name": {"files": ["x" * 5000 + ".png"]},
    "an empty name": {"files": [""]},
    "no files": {"files": []},
    "text for files": {"files": "x"},
    "numbers for files": {"files": [7]},
    "files by name": {"files": {"a": "x.png"}},
    "more files": {"files": ["0001-a-7.png", "x.png"], "seeds": [7, 8]},
    "a huge seed": {"seeds": [10**30]},
    "a seed below zero": {"seeds": [-1]},
    "half a seed": {"seeds": [7.5]},
    "an infinite seed": {"seeds": [float("inf")]},
    "text for a seed": {"seeds": ["7"]},
    "text for seeds": {"seeds": "7"},
    "a flag for a seed": {"seeds": [True]},
    "nothing for a seed": {"seeds": [None]},
    "no seeds": {"seeds": []},
    "another seed": {"seeds": [8], "files": ["0001-a-8.png"]},
    "a key of another kind": {"key": 5},
    "a key that is a list": {"key": ["a"]},
    "a line of another kind": {"line": "x", "prompt": 5},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_ledger_is_not_believed(pipe, name):
    text = lines({"prompt": "a", "seed": 7})
    forged = entry(pipe, text) | FORGED[name]
    obstacles(Path("out"))
    Image.new("RGB", (8, 8)).save("out/precious.png")
    before = Path("out", "precious.png").read_bytes()
    LEDGER.write_text(json.dumps(forged) + "\n")
    (report,) = paint(pipe, text)
    assert isinstance(report, jobs.Painted) and report.seed == 7 and report.result is not None
    assert report.file == Path("out", "0001-a-7.png") and Path("out", "precious.png").read_bytes() == before
    (again,) = paint(pipe, text)
    assert again.result is None and again.file == report.file


TORN = {
    "cut": lambda line: line[: len(line) // 2],
    "twice in a line": lambda line: line + line,
    "nested deeply": lambda line: b"[" * 100_000,
    "a long number": lambda line: b'{"key": ' + b"9" * 100_000 + b"}",
    "keys twice": lambda line: line[:-1] + b', "files": ["../x.png"]}',
    "not UTF-8": lambda line: line.replace(b"0001", b"\xff"),
    "NULs": lambda line: bytes(100_000),
    "a line of five megabytes": lambda line: b'{"key": "' + b"k" * (5 << 20) + b'"}',
    "other JSON": lambda line: b'[1, "a", null]',
    "only a number": lambda line: b"7",
    "Windows' line ends": lambda line: line + b"\r",
    "old Macs' line ends": lambda line: line + b"\r" + line,
}


@pytest.mark.parametrize("name", TORN)
def test_a_damaged_ledger_costs_its_own_lines(pipe, name):
    text = lines({"prompt": "a", "seed": 7})
    raw = json.dumps(entry(pipe, text)).encode()
    for end in (b"\n", b""):
        LEDGER.write_bytes(TORN[name](raw) + end)
        assert painted(paint(pipe, text)) == [True]
        assert all(each.result is None for each in paint(pipe, text))


def test_two_plans_for_one_file(pipe):
    """A file is done for the line that was given it last, and not for the other."""
    text = lines({"prompt": "a", "seed": 1, "output": "x.png"}, {"prompt": "b", "seed": 2, "output": "x.png"})
    assert painted(paint(pipe, text)) == [True, False]
    first = json.loads(LEDGER.read_text())
    Path("out", "x.png").unlink()
    second = lines({"prompt": "b", "seed": 2, "output": "x.png"})
    assert painted(paint(pipe, second)) == [True]
    LEDGER.write_text(LEDGER.read_text() + lines(first))
    assert painted(paint(pipe, second)) == [False]


ODD_LEDGERS = {
    "a FIFO": lambda: os.mkfifo(LEDGER),
    "a folder": LEDGER.mkdir,
    "a link out": lambda: LEDGER.symlink_to("../../escaped"),
    "a link to itself": lambda: LEDGER.symlink_to(LEDGER.name),
    "a device": lambda: LEDGER.symlink_to("/dev/zero"),
    "ten gigabytes": lambda: (LEDGER.touch(), os.truncate(LEDGER, 10 << 30)),
}


@pytest.mark.parametrize("name", ODD_LEDGERS)
def test_a_ledger_that_is_no_ledger_is_one_line(name, capsys):
    ODD_LEDGERS[name]()
    Path("list").write_text("a\n")
    assert cli.run(["generate", "--prompts", "list", "-o", "out", *FAKE]) == 4
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "another -o" in err and pictures() == []


# ---- the list's own file ----

ODD_LISTS = {
    "a FIFO": lambda file: os.mkfifo(file),
    "a folder": lambda file: file.mkdir(),
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "ten gigabytes": lambda file: (file.touch(), os.truncate(file, 10 << 30)),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "nothing": lambda file: None,
}


@pytest.mark.parametrize("name", ODD_LISTS)
def test_a_list_that_is_no_file_is_one_line(name, capsys):
    ODD_LISTS[name](Path("list"))
    assert cli.run(["generate", "--prompts", "list", "-o", "new", *FAKE]) == 4
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "check the path" in err and not Path("new").exists()


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"# a title\n", b"\xef\xbb\xbf", b" \t\r\n"], ids=ascii)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
def test_an_empty_list_says_so(raw, piped, monkeypatch, capsys):
    Path("list").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert cli.run(["generate", "--prompts", "-" if piped else "list", "-o", "new", *FAKE]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "empty" in err and not Path("new").exists()


def test_without_standard_input_a_piped_list_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.run(["generate", "--prompts", "-", "-o", "new", *FAKE]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_a_line_without_end_is_not_read_for_ever(pipe, monkeypatch):
    class Endless(io.RawIOBase):
        def readline(self, limit=-1):
            return bytes(limit)

    monkeypatch.setattr(list_lines, "LARGEST", 4 << 20)
    with pytest.raises(ResourceError, match="one prompt on each line"):
        list(list_lines.read_lines(Endless(), pipe.bundle))


@pytest.mark.parametrize("folder", ["file", "dangling", "loop", "no/such", "x" * 300, "file/below"])
def test_a_folder_that_cannot_be_is_one_line(folder, capsys):
    Path("file").write_text("precious")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("list").write_text("a\n")
    assert cli.run(["generate", "--prompts", "list", "-o", folder, *FAKE]) == 4
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "-o" in err and Path("file").read_text() == "precious"


def test_a_folder_that_is_deleted_meanwhile_ends_the_list_in_one_line(pipe):
    def deleted(result, places, overwrite):
        Path("out").rename("away")
        with whole_file(places[0], overwrite, []):
            pass

    with pytest.raises(ResourceError, match="cannot write"):
        paint(pipe, "a\nb\n", save=deleted)


# ---- two at once ----


def command(folder):
    arguments = ["generate", "--prompts", "list", "-o", folder, *FAKE]
    return [sys.executable, "-m", "pleinair", *arguments]


def test_two_processes_on_one_list_paint_it_once(pipe):
    Path("list").write_text("".join(f"picture {number}\n" for number in range(12)))
    both = [subprocess.Popen(command("out"), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert len(pictures()) == 12
    assert codes in ([0, 0], [0, 4])  # the second may have come after the first
    assert codes == [0, 0] or any("already" in error for error in errors)
    assert not list(Path("out").glob(".*"))


def test_a_list_that_is_in_use_says_so_until_it_is_free(pipe):
    running = jobs.run(
        list_lines.read_lines(io.BytesIO(b"a\nb\n"), pipe.bundle, QUICK), pipe, Path("out"), ledger=LEDGER
    )
    next(running)
    with pytest.raises(ResourceError, match="already; wait"):
        paint(pipe, "a\nb\n")
    running.close()
    assert painted(paint(pipe, "a\nb\n")) == [True, True]


LOCK = Path("out", f".{LEDGER.name}.lock")


@pytest.mark.parametrize(
    "place", [LOCK.touch, LOCK.mkdir, lambda: LOCK.symlink_to("../../escaped"), lambda: LOCK.symlink_to(LOCK.name)]
)
def test_what_stands_in_the_place_of_the_lock_is_passed_or_one_line(pipe, place):
    """A lock that a killed process has left is no lock."""
    place()
    if LOCK.is_file():
        assert painted(paint(pipe, "a\n")) == [True]
    else:
        with pytest.raises(ResourceError, match="another -o"):
            paint(pipe, "a\n")


# ---- output names of single commands ----


def single(output, *more):
    return cli.run(["generate", "a", "-o", str(output), *FAKE, *more])


def filmed(output, *more):
    return cli.run(["generate", "a", "-o", "picture.png", "--film", str(output), *FAKE, *more])


def morphed(output, *more):
    return cli.run(["morph", "a", "b", "--frames", "2", "-o", str(output), *FAKE, *more])


COMMANDS = pytest.mark.parametrize("command", [single, filmed, morphed])


@COMMANDS
@pytest.mark.parametrize("name", [*LINKS, *SOLID])
def test_an_output_that_is_taken_is_refused(command, name, capsys):
    obstacles(Path())
    before = names()
    assert command(name) == 4
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and names() == before


@COMMANDS
@pytest.mark.parametrize("name", [*LINKS, *SOLID])
def test_force_replaces_a_link_itself_and_nothing_but_links_and_files(command, name):
    obstacles(Path())
    assert command(name, "--force") == (0 if name in LINKS else 4)
    assert Path(name).is_symlink() == (name == "to-folder.png")
    assert Path(name).is_file() == (name in LINKS)


@COMMANDS
@pytest.mark.parametrize(
    "name",
    ["x" * 300 + ".png", "é" * 200 + ".png", "loop/x.png", "fifo.png/x.png", "no/x.png", "dangling.png/x.png",
     "a\0.png", "\ud800.png", "x" * 9000 + ".png"],
    ids=lambda name: ascii(name)[:30],
)  # fmt: skip
def test_an_output_that_cannot_be_is_one_line_before_anything_is_painted(command, name, capsys, monkeypatch):
    obstacles(Path())
    monkeypatch.setattr(FakeEngine, "open_graph", lambda *_, **__: pytest.fail("painted"))
    assert command(name) in (2, 4)  # the command line's parser knows some of them
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.strip().isprintable() and len(err) < 600


@pytest.mark.parametrize("name", LINKS)
def test_a_name_that_is_taken_meanwhile_by_a_link(name):
    """A picture goes to a free name beside it, at once."""
    obstacles(Path())
    written = []
    with whole_file(Path(name), False, written) as stream:
        stream.write(b"x")
    assert written == [Path(name).with_stem(f"{Path(name).stem}-2")] and written[0].read_bytes() == b"x"


def test_free_names_pass_links_folders_and_each_other():
    obstacles(Path())
    Path("dangling-2.png").symlink_to("nowhere")
    wanted = [Path(name) for name in ("dangling.png", "dangling.png", "new.png", "NEW.png", "new.png", "folder.png")]
    free = ["dangling-3.png", "dangling-4.png", "new.png", "NEW-2.png", "new-3.png", "folder-2.png"]
    assert [path.name for path in free_names(wanted)] == free


def test_ten_thousand_pictures_of_one_seed_have_names_of_their_own():
    assert len(set(planned_files(None, "a", (4,) * 10_000, False))) == 10_000


def test_a_folder_without_names_is_still_told_from_one_that_is_there(monkeypatch, capsys):
    """The working folder is deleted under the command."""
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    assert single("x.png") == 4
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    os.chdir("/")


SAME = [
    ("a.png", "a.png", 1),
    ("a.png", "./a.png", 1),
    ("a.png", "out/../a.png", 1),
    ("a.png", "here/a.png", 1),
    ("a.png", "A.PNG", 1),
    ("a.png", "a.png", 2),
    ("a.webp", "a.webp", 3),
    ("a.png", "here/A.png", 2),
]


@pytest.mark.parametrize("output, strip, count", SAME)
def test_the_picture_and_its_film_are_never_one_file(output, strip, count, capsys):
    Path("here").symlink_to(".")
    for more in ([], ["--force"]):
        assert single(output, "--film", strip, "--count", str(count), *more) == 2
        out, err = capsys.readouterr()
        assert out == "" and "one file" in err and names() == ["here", "out"]


@pytest.mark.parametrize(
    "error", [ResourceError("no room; free space"), EngineError("no encoder; install it"), MemoryError()]
)
@pytest.mark.parametrize("output", ["a.png", "a.npz"])
@pytest.mark.usefixtures("silent_storybook")
def test_a_film_that_fails_costs_no_picture(monkeypatch, capsys, error, output):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr(film, "save", failing)
    assert single(output, "--film", "f.gif", "--count", "3", "--seed", "1") in (4, 5)
    out, err = capsys.readouterr()
    files = ["a.npz"] if output == "a.npz" else ["a-1.png", "a-2.png", "a-3.png"]
    assert out.splitlines() == files and err.count("\n") == 1 and "Traceback" not in err
    assert names() == sorted([*files, "out"])


def test_a_preview_that_fails_costs_no_picture(pipe):
    def failing():
        raise EngineError("NaN; lower --guidance")

    def frames():
        return (replace(frame, preview=failing) for frame in pipe.stream("a", seed=1, **QUICK))

    filming = Filming([Path("f.gif")], sparing=True)
    *_, last = filming.through(frames())
    assert last.result is not None and len(filming.failed) == 1
    with pytest.raises(PleinairError):
        list(Filming([Path("g.gif")]).through(frames()))


def test_files_of_other_threads_keep_their_permissions():
    """The umask belongs to the whole process: whoever sets it to see it opens what others write meanwhile."""
    done, modes, before = threading.Event(), set(), os.umask(0o077)

    def others():
        number = 0
        while not done.is_set():
            file = Path("out", f"other-{number}")
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o666))
            modes.add(file.stat().st_mode & 0o777)
            number += 1

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for number in range(100):
            with whole_file(Path(f"{number}.txt"), False, []):
                pass
    finally:
        done.set()
        thread.join()
        os.umask(before)
    assert modes == {0o600} and Path("0.txt").stat().st_mode & 0o777 == 0o600
