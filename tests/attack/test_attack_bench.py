"""Results files from strangers, and options nobody expects: one line of error, or a right table and page."""

import json
import os
import re
import time
from functools import cache
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path

import pytest

from bench_records import case, record
from every import every
from pleinair.cli import app as cli
from pleinair_bench import records
from pleinair_bench.records import problems

COMMANDS = {
    "table": ["table", "x.jsonl"],
    "csv": ["table", "x.jsonl", "-o", "csv"],
    "jsonl": ["table", "x.jsonl", "-o", "jsonl"],
    "report": ["report", "x.jsonl"],
    "compare": ["compare", "x.jsonl", "x.jsonl", "--all"],
    "compare json": ["compare", "x.jsonl", "x.jsonl", "--all", "-o", "json"],
    "within": ["compare", "x.jsonl", "--by", "engine"],
    "submit": ["submit", "x.jsonl"],
}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
STEERING = "\x1b[31m\x1b]0;title\x07\x9b2J\u202e\ud800\r\b\x00\n| a"
MARKUP = "</script><script>document.title='in'</script><img src=x onerror=alert(1)>\"'`&lt;/*DATA*/<!--"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfd):
    """Run a command; returns (exit code, stdout, stderr), with nothing in them that steers a terminal."""

    def call(*arguments):
        started = time.monotonic()
        code = cli.run(["bench", *arguments])
        out, err = capfd.readouterr()
        assert not CONTROL.search(out.replace("\n", "")) and not CONTROL.search(err.replace("\n", ""))
        assert "Traceback" not in err and time.monotonic() - started < 60
        return code, out, err

    return call


def refused(outcome, *words):
    code, out, err = outcome
    assert code == 2 and out == "" and err.count("\n") == 1 and len(err) < 1000, outcome
    assert all(word in err for word in words), err


@cache
def usual():
    return json.dumps(record(((0.1,),) * 3))


def plain(rounds=(), **more):
    """A record as a dict of its own, to be spoilt; the usual one where nothing is said."""
    return json.loads(json.dumps(record(rounds or ((0.1,),) * 3, **more)) if rounds or more else usual())


def put(*lines):
    """Lines as a results file; dicts become JSON, and NaN stays what Python writes for it."""
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    Path("x.jsonl").write_text(text + "\n", encoding="utf-8")


def fifo():
    os.mkfifo("x.jsonl")


def device(name):
    return lambda: Path("x.jsonl").symlink_to(name)


def sparse():
    with Path("x.jsonl").open("wb") as stream:
        stream.truncate(1 << 40)


def loop():
    Path("x.jsonl").symlink_to("x.jsonl")


def junk(count):
    return lambda: Path("x.jsonl").write_bytes(b"{}\n" * count)


def content(data):
    return lambda: Path("x.jsonl").write_bytes(data)


NO_FILES = {
    "a pipe": fifo,
    "zeros without end": device("/dev/zero"),
    "random bytes without end": device("/dev/urandom"),
    "the terminal": device("/dev/tty"),
    "a terabyte of nothing": sparse,
    "a link to itself": loop,
    "a link to nothing": device("gone"),
    "a folder": lambda: Path("x.jsonl").mkdir(),
    "a million lines": junk(1_000_000),
    "one line of 20 MB": content(b'{"schema": 3, "run": "' + b"a" * 20_000_000 + b'"}'),
    "one number of 2 MB": content(b"9" * 2_000_000),
    "a number of 100,000 digits": content(b'{"schema": ' + b"9" * 100_000 + b"}"),
    "nested lists": content(b"[" * 900_000),
    "nested objects": content(b'{"schema":' * 100_000),
    "bytes that are no text": content(bytes(range(256)) * 100),
    "UTF-16": content('{"schema": 3}'.encode("utf-16")),
    "a zip": content(b"PK\x03\x04" + b"\x00" * 1000),
    "an object over many lines": content(json.dumps({"schema": 3, "run": "a"}, indent=1).encode()),
}


@pytest.mark.parametrize("command", ["table", "report", "compare", "submit"])
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_results_file_is_one_line(run, make, command):
    make()
    refused(run(*COMMANDS[command]))
    assert not Path("report.html").exists()


def test_a_name_that_steers_the_terminal(run):
    name = "\x1b[31mx\n.jsonl"
    Path(name).write_text("{}\n")
    refused(run("table", name))
    refused(run("table", "gone" + name))


TOO_LONG = [["report", "x.jsonl", "-o", "n" * 300], ["table", "n" * 300], ["submit", "n" * 5000]]


@pytest.mark.parametrize("options", TOO_LONG, ids=["page", "file", "longer file"])
def test_a_name_that_is_too_long(run, options):
    put(plain())
    code, out, err = run(*options)
    assert code in (2, 4) and out == "" and err.count("\n") == 1


def test_a_page_never_takes_the_place_of_a_device(run):
    put(plain())
    os.mkfifo("pipe")
    code, _, err = run("report", "x.jsonl", "-o", "pipe", "--force")
    assert code == 4 and "not an ordinary file" in err and Path("pipe").is_fifo()


def changed(*path, to):
    """A record with another value somewhere; the last of `path` is a name or a number."""
    made = plain()
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return made


WRONG = {
    "NaN": changed("measures", "run", "median", to=float("nan")),
    "Infinity": changed("measures", "run", "rounds", 0, 0, to=float("inf")),
    "-Infinity": changed("measures", "load", "low", to=float("-inf")),
    "NaN in limits": changed("limits", "openvino", "gemm_fp32", to=float("nan")),
    "NaN in the picture": plain() | {"picture": {"sha256": "0" * 64, "same": None, "psnr_db": float("nan"), "ssim": 1}},
    "a negative time": changed("measures", "run", "rounds", 0, 0, to=-1.0),
    "a time of 10^300": changed("measures", "run", "median", to=1e300),
    "an integer of 1000 digits": changed("machine", "memory", "gib", to=10**1000),
    "an integer of 4000 digits": changed("measures", "run", "rounds", 0, 0, to=10**4000),
    "threads of 10^18": changed("case", "threads", to=10**18),
    "a width of 10^12": changed("case", "width", to=10**12),
    "no samples": changed("measures", "run", "rounds", to=[]),
    "an empty round": changed("measures", "run", "rounds", 1, to=[]),
    "rounds as text": changed("measures", "run", "rounds", to="0.1"),
    "samples as text": changed("measures", "run", "rounds", 0, to=["0.1"]),
    "samples as booleans": changed("measures", "run", "rounds", 0, to=[True]),
    "nested samples": changed("measures", "run", "rounds", 0, to=[[0.1]]),
    "a case that is a list": changed("case", to=[]),
    "a case that is null": changed("case", to=None),
    "a work nobody knows": changed("case", "work", to="mining"),
    "a precision nobody knows": changed("case", "precision", to="f8"),
    "measures that are a list": changed("measures", to=[]),
    "flags as text": changed("flags", to="noisy"),
    "a flag with markup": changed("flags", to=[MARKUP]),
    "a status with markup": changed("status", to=MARKUP),
    "a commit that is a path": changed("commit", to="/home/ann/pleinair"),
    "a run that is no run": changed("run", to=MARKUP),
    "a machine that is text": changed("machine", to="fast"),
    "cores as text": changed("machine", "cores", to="2"),
    "a core count of -1": changed("machine", "cores", "usable", to=-1),
    "a version from the future": plain() | {"schema": 99},
    "version true": plain() | {"schema": True},
    "version 3.0": plain() | {"schema": 3.0},
    "version 0": plain() | {"schema": 0},
    "version -1": plain() | {"schema": -1},
    "version 1 and nothing else": {"schema": 1},
    "version 2 and nothing else": {"schema": 2},
    "version 2 with a case that is a number": {"schema": 2, "case": 1, "measures": {}, "usage": {}, "engine": {}},
    "version 2 with measures that are text": {"schema": 2, "case": {}, "measures": "x", "usage": {}, "engine": {}},
    "version 2 with a round that is null": {
        "schema": 2,
        "case": {"precision": "fp32", "device": [], "engine": {}},
        "measures": {"run": {"rounds": None}},
        "usage": {},
        "engine": {},
    },
    "a key too many": plain() | {"host": "x"},
    "a list": [],
    "null": "null",
    "text": '"schema"',
}  # fmt: skip


@pytest.mark.parametrize("command, wrong", zip(cycle(["table", "compare json", "report"]), WRONG.values()), ids=WRONG)
def test_a_record_that_is_wrong_costs_its_line_only(run, command, wrong):
    put(wrong, plain(of=case(engine="onnx")))
    code, out, err = run(*COMMANDS[command])
    assert code == 0 and "line 1 is left out" in err and len(err) < 2000, (out, err)
    assert "onnx" in (Path("report.html").read_text(encoding="utf-8") if command == "report" else out)
    put(wrong)
    refused(run("table", "x.jsonl"), "'x.jsonl' holds no benchmark records (line 1")


ODD = {
    "samples of zero": plain([[0.0]] * 3),
    "samples of 10^18": plain([[1e18]] * 3),
    "samples far apart": changed("measures", "run", "rounds", to=[[5e-324], [1e18], [1.0]]),
    "one sample of one process": plain([[0.1]]),
    "two processes": plain([[0.1], [0.2]]),
    "figures that contradict the samples": changed("measures", "run", "median", to=1e9),
    "a yardstick without readings": changed("pace", to=[[], [], []]),
    "a yardstick of unequal lengths": changed("pace", to=[[0.1], [0.1, 0.2], []]),
    "a yardstick of zero": changed("pace", to=[[0.0, 0.0]] * 3),
    "a yardstick of 5e-324": changed("pace", to=[[5e-324, 5e-324]] * 3),
    "cores nobody asked for": changed("machine", "cores", "<b>", to=7),
    "a measure nobody knows": changed("measures", STEERING, to=plain()["measures"]["run"]),
    "a limit nobody knows": changed("limits", "openvino", MARKUP, to=3.0),
    "an engine nobody knows": changed("limits", STEERING, to=plain()["limits"]["openvino"]),
    "no limits": changed("limits", to={}),
    "no measures": changed("measures", to={}),
    "no usage": changed("usage", to={}),
    "whole numbers as floats": changed("case", "width", to=128.0),
    "an empty name": changed("machine", "cpu", to=""),
    "an empty system": changed("machine", "os", to=""),
    "a name of 300 kB": changed("machine", "cpu", to="x" * 300_000),
    "a name of combining marks": changed("machine", "cpu", to="a" + "\u0301" * 10_000),
    "a formula for a spreadsheet": changed("machine", "cpu", to='=HYPERLINK("http://a")'),
    "many samples": changed("measures", "run", "rounds", to=[[0.1] * 1000] * 20),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_record_that_is_odd_is_shown(run, odd):
    assert list(problems(odd)) == []
    put(plain(of=case(batch=1)), odd, odd | {"case": odd["case"] | {"engine": "onnx"}})
    said = {}
    for name, command in COMMANDS.items():
        code, said[name], err = run(*command)
        assert code == 0, (name, err)
    for line in [*said["jsonl"].splitlines(), *said["compare json"].splitlines()]:
        json.loads(line, parse_constant=lambda constant: pytest.fail(constant))
    assert not re.search(r'(^|,)"?[=+@]', said["csv"], re.M)


def texts():
    """Where in a record any text may stand, as paths."""
    return [
        ("pleinair",), ("reason",), ("case", "model"), ("case", "engine"), ("case", "device"), ("case", "weights"),
        ("case", "sampler"), ("engine", "version"), ("engine", "precision"), ("machine", "cpu"), ("machine", "os"),
        ("machine", "architecture"), ("machine", "python"), ("machine", "memory", "kind"),
        ("machine", "power", "governor"),
    ]  # fmt: skip


@pytest.mark.parametrize("path", texts(), ids=".".join)
def test_a_text_that_steers_the_terminal_is_shown_harmlessly(run, path):
    odd = changed(*path, to=STEERING)
    odd["status"] = "failed"
    put(odd, odd | {"case": odd["case"] | {"batch": 1}})
    for command in ("table", "csv", "jsonl", "report", "compare", "submit"):  # `run` looks at all they print
        assert run(*COMMANDS[command], *(["--force"] if command == "report" else []))[0] == 0
    rows = [line for line in run("table", "x.jsonl")[1].splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1


class Page(HTMLParser):
    """The tags of a page, the attributes that could do something, and the data inside."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.dangerous, self.data, self.inside = [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = dict(attributes).get("id")
        self.dangerous += [name for name, _ in attributes if name in ("src", "href") or name.startswith("on")]

    def handle_data(self, data):
        self.data += data if self.inside == "data" else ""

    def handle_endtag(self, tag):
        self.inside = None


@pytest.mark.parametrize("path", texts(), ids=".".join)
def test_markup_in_a_text_stays_text(run, path):
    put(plain(of=case(batch=1)))
    run("report", "x.jsonl")
    harmless = Page(Path("report.html").read_text(encoding="utf-8"))
    odd = changed(*path, to=MARKUP)
    put(odd)
    assert run("report", "x.jsonl", "--force")[0] == 0
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert page.tags == harmless.tags and page.dangerous == [] and len(json.loads(page.data)) == 1


def test_the_page_makes_no_markup_of_what_it_shows():
    """All that the script writes becomes text nodes and attributes, which no text can leave."""
    script = (Path(records.__file__).with_name("page.html")).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)
    assert "default-src 'none'" in script


def test_a_million_records_are_refused_or_shown(run):
    """Two megabytes stand for it: records are small, and what is read is capped in bytes."""
    line = json.dumps(plain([[0.1]] * 3)) + "\n"
    count = records.LARGEST_FILE // len(line) + 1
    with Path("x.jsonl").open("w") as stream:
        for _ in range(count):
            stream.write(line)
    refused(run("table", "x.jsonl"), "too large", "fewer records at once")
    Path("x.jsonl").write_text(line * (2_000_000 // len(line)))
    code, out, _ = run("table", "x.jsonl")
    assert code == 0 and out.count("\n| ") == 2  # the head and the newest of the one case


def test_many_lines_that_are_wrong_are_counted(run):
    put(plain(), *["{}"] * 5000)
    code, _, err = run("table", "x.jsonl")
    assert code == 0 and err.count("\n") == records.WARNED + 1 and "4995 more lines are left out" in err


def test_a_killed_run_that_left_nonsense(run, monkeypatch):
    """What lies beside the results file is a stranger's, too."""
    Path("pleinair-bench.jsonl.unfinished").write_bytes(b"\x00" * 100)
    refused(run("run", "--model", "storybook", "--work", "unet", "--rounds", "1"), "holds no benchmark records")


UNFIT = [
    ["--size", "0x0"], ["--size", "-8x8"], ["--size", "8"], ["--size", "8x8x8"], ["--size", "1e3x8"],
    ["--size", "\u0661\u0662\u0668x128"], ["--size", "9" * 5000 + "x8"], ["--size", ""], ["--size", ","],
    ["--threads", "0"], ["--threads", "-1"], ["--threads", "\u0662"], ["--threads", "9" * 5000], ["--threads", "1.5"],
    ["--batch", "1e1"], ["--steps", "0"], ["--steps", "nan"], ["--engine", ""], ["--engine", "fake"],
    ["--engine", "openvin"], ["--model", "../storybook"], ["--model", "/dev/zero"], ["--model", "\x1b[31m"],
    ["--work", "unet,dance"], ["--device", "cpuu"], ["--device", ":0"], ["--weights", "int3"],
    ["--precision", "fp16"], ["--precision", "int8"], ["--precision", "f64"], ["--sampler", "DPM++ 9M"],
    ["--sampler", "\x00"], ["--work", "unet", "--sampler", "euler"], ["--work", "text_encoder", "--batch", "2"],
    ["--batch", "2", "--steps", "5"], ["-o", "xml"], ["-o", ""], ["--rounds", "101"],
]  # fmt: skip


@pytest.mark.parametrize("quick", [[], ["--quick"]], ids=["all", "quick"])
def test_options_that_make_no_sense_are_one_line(run, quick):
    cases = {ascii(" ".join(options))[:40]: options for options in UNFIT}
    assert len(cases) == len(UNFIT)
    every(cases, lambda *options: refused(run("run", "--dry-run", *quick, *options), ";"))
