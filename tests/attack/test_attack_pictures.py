"""Pictures from strangers: what reading, showing and repeating them may cost."""

import json
import random
import re
import struct
import zlib
from time import process_time

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pleinair.cli import app as cli
from pleinair.errors import RequestError
from pleinair.files import exif
from pleinair.files.embedded import read_texts
from pleinair.files.foreign.infotext import infotext_fields
from pleinair.files.metadata import read_record
from pleinair.files.xmp import JPEG_MORE_HEADER
from pleinair.text.syntax import MAX_PROMPT

SECONDS = 5  # of the processor, where it was a minute or never
PRINTED = 4_000_000  # bytes that a command may print of any file


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own within SECONDS."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        start = process_time()
        code = cli.run(list(arguments))
        out, err = capsys.readouterr()
        assert process_time() - start < SECONDS
        assert "Traceback" not in err and len(out) + len(err) < PRINTED
        return code, out, err

    return call


def png(*chunks, width=8, height=8):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height)))
    every = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in every)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text(name, value):
    return b"iTXt", name.encode() + b"\0\1\0\0\0" + zlib.compress(value.encode("utf-8", "surrogatepass"))


def segment(kind, data):
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data


def extended_xmp(count, size=0):
    """Segments of as many different packets."""
    pieces = (b"%032d" % n + struct.pack(">II", size, 0) + b"x" * size for n in range(count))
    return b"\xff\xd8" + b"".join(segment(0xE1, JPEG_MORE_HEADER + piece) for piece in pieces) + b"\xff\xd9"


def tiff(entries):
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(struct.pack("<HHII", *entry) for entry in entries)


def record(**values):
    """A picture with our own record."""
    usual = {"format": 1, "prompt": "a", "negative": "", "seed": 1, "steps": 2, "width": 64, "height": 64}
    return png(text("pleinair", json.dumps({**usual, **values})), width=64, height=64)


def a1111(fields, prompt="a"):
    return png(text("parameters", f"{prompt}\nSteps: 2, {fields}"))


def xmp(settings):
    return text("XML:com.adobe.xmp", f"<pleinair:settings>{settings}</pleinair:settings>")


def graph(nodes):
    return json.dumps({name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()})


def sampler(**inputs):
    return "KSampler", {"seed": 1, "steps": 2, "cfg": 3, "sampler_name": "euler", "denoise": 1, **inputs}


def many_outputs(count=600):
    """Every output looks down the whole of one long chain."""
    chain = {f"c{n}": ("LatentUpscaleBy", {"samples": [f"c{n + 1}", 0], "scale_by": 1.01}) for n in range(count)}
    outputs = {f"s{n}": ("SaveImage", {"images": ["c0", 0], "filename_prefix": str(n)}) for n in range(count)}
    return graph({**chain, f"c{count}": sampler(), **outputs})


def many_passes(count=300):
    """Every pass has the whole of one long chain of conditions."""
    passes = {f"k{n}": sampler(latent_image=[f"k{n + 1}", 0], positive=["p0", 0]) for n in range(count)}
    chain = {f"p{n}": ("ConditioningSetArea", {"conditioning": [f"p{n + 1}", 0]}) for n in range(count)}
    return graph({"s": ("SaveImage", {"images": ["k0", 0]}), **passes, **chain})


def ladder(count=500):
    """Two ways from each node to the next: 2 to the power of `count` walks."""
    nodes = {
        f"n{n}": ("LatentBlend", {"samples1": [f"n{n + 1}", 0], "samples2": [f"n{n + 1}", 0]}) for n in range(count)
    }
    return graph({"s": ("SaveImage", {"images": ["n0", 0]}), **nodes, f"n{count}": sampler()})


def constants(count=1000):
    """Every size on a long chain stands behind a long chain of constants."""
    chain = {
        f"c{n}": ("LatentUpscale", {"samples": [f"c{n + 1}", 0], "width": ["v0", 0], "height": ["v0", 0]})
        for n in range(count)
    }
    values = {f"v{n}": ("PrimitiveInt", {"value": [f"v{n + 1}", 0]}) for n in range(count)}
    return graph({"s": ("SaveImage", {"images": ["c0", 0]}), **chain, **values, f"c{count}": sampler()})


def wide(count=20_000):
    return graph({"s": ("SaveImage", {"images": ["k", 0]}), "k": sampler(**{f"x{n}": ["k", 0] for n in range(count)})})


def rings(count=1900):
    return graph({str(n): sampler(latent_image=[str((n + 1) % count), 0], positive=[str(n), 0]) for n in range(count)})


LARGE = 1 << 18
ESCAPED = 'a: "\\", '
PICTURES = {
    "extended xmp of many packets": lambda: extended_xmp(9_000),
    "extended xmp of large packets": lambda: extended_xmp(200, 60_000),
    "exif whose entries are all of it": lambda: (
        b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + tiff([(n, 7, 60_000, 0) for n in range(512)]) + bytes(55_000)) * 50
    ),
    "exif of one tag again and again": lambda: png((b"eXIf", tiff([(0x9286, 7, 2_000_000, 0)] * 512) + bytes(1 << 21))),
    "many bombs": lambda: png(*[(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 22 | 1)))] * 3000),
    "many bombs that are cut": lambda: png(*[(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 22))[:-5])] * 3000),
    "fill bytes": lambda: b"\xff\xd8" + b"\xff" * 20_000_000,
    "empty chunks": lambda: png(*[(b"abcd", b"")] * 50_000),
    "empty segments": lambda: b"\xff\xd8" + b"\xff\xe0\0\2" * 200_000,
    "empty boxes": lambda: b"\0\0\0\x0cftypmp42" + b"\0\0\0\x08free" * 100_000,
    "empty blocks": lambda: b"GIF89a" + bytes(7) + b"\x21\xfe\0" * 200_000,
    "xmp of many entities": lambda: png(xmp("&#9" * LARGE)),
    "xmp with a long entity": lambda: png(xmp(f"&#{'9' * LARGE};")),
    "xmp of many beginnings": lambda: png(xmp("<pleinair:settings>" * (LARGE // 20))),
    "quotation marks that escape each other": lambda: a1111(ESCAPED * (LARGE // 8)),
    "quotation marks that end badly": lambda: a1111(f'{ESCAPED * (LARGE // 8)}"x'),
    "colons": lambda: a1111("a:" * (LARGE // 2)),
    "commas": lambda: a1111("a: b, " + "," * LARGE),
    "lists that never end": lambda: a1111("ab: [, " * (LARGE // 8)),
    "names of words": lambda: a1111("a " * LARGE + ": b, c: d"),
    "lines": lambda: a1111("Seed: 3, Size: 8x8", prompt="\n" * LARGE),
    "negatives": lambda: a1111("Seed: 3, Size: 8x8", prompt="Negative prompt:\n" * (LARGE // 17)),
    "networks": lambda: a1111("Seed: 3, Size: 8x8", prompt="<lora:a>" * (LARGE // 8)),
    "a long key among many": lambda: record(**{"k" * 300_000: 1}, **{f"k{n}": n for n in range(2000)}),
    "many keys": lambda: record(**{f"k{n}": n for n in range(15_000)}),
    "control letters": lambda: record(prompt="\x01" * 600_000),
    "deep and wide": lambda: record(x=nested(60, 60)),
    "a huge list": lambda: record(sigmas=[9] * 300_000),
    "embeddings without end": lambda: record(embeddings={f"e{n}": "a" for n in range(15_000)}),
    "a huge name": lambda: record(sampler="a" * 3_000_000),
    "a huge spacing": lambda: record(spacing="karras," * 400_000),
    "brackets for InvokeAI": lambda: png(text("sd-metadata", f'{{"image": {{"prompt": "{"[a" * (LARGE // 2)}"}}}}')),
    "weights for compel": lambda: png(text("invokeai_metadata", f'{{"positive_prompt": "{"a+)-" * (LARGE // 4)}"}}')),
    "a Dream of switches": lambda: png(text("Dream", "a -s5 " + "-x" * LARGE + " -S " * (LARGE // 4))),
    "a Dream of quotation marks": lambda: png(text("Dream", '"' * LARGE + '" -s5')),
    "a graph of many outputs": lambda: png(text("prompt", many_outputs())),
    "a graph of many passes": lambda: png(text("prompt", many_passes())),
    "a graph of two ways": lambda: png(text("prompt", ladder())),
    "a graph of constants": lambda: png(text("prompt", constants())),
    "a graph of one wide node": lambda: png(text("prompt", wide())),
    "a graph of rings": lambda: png(text("prompt", rings())),
    "a graph of many nodes": lambda: png(text("prompt", graph({str(n): ("A", {}) for n in range(15_000)}))),
    "a comment of brackets": lambda: b"\xff\xd8" + segment(0xFE, b"{" * 60_000) * 200 + b"\xff\xd9",
}


def nested(depth, width):
    value = 1
    for n in range(depth):
        value = {"k" * 500: value, **{f"{n}-{m}": "v" for m in range(width)}}
    return value


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_costs_seconds_and_prints_little(run, tmp_path, name):
    (tmp_path / "h.png").write_bytes(PICTURES[name]())
    form = ["--json"] if list(PICTURES).index(name) % 2 else []
    code, out, _ = run("metadata", "h.png", *form)
    assert code in (0, 2) and (code == 2 or out)
    code, _, err = run("rerun", "h.png", "--engine", "fake")
    assert code in (0, 2) and err.count("\n") < 120 and all(line.startswith("pleinair: ") for line in err.splitlines())


PROMPTS = {
    "long": "a " * 500_000,
    "one more than may be": "a" * (MAX_PROMPT + 1),
    "and": "a AND " * 1600,
    "break": "BREAK " * 1600,
    "wide letters": "🏠" * MAX_PROMPT,
    "turns": "[" + "|".join(f"w{n}" for n in range(1400)) + "]",
    "changes": " ".join(f"[a:b:{n}]" for n in range(1, 600)) + " red" * 500,
    "turns of all lengths": " ".join("[" + "|" * n + "a]" for n in range(1, 130)),
    "turns in parts": " AND ".join("[" + "|".join(f"w{n}" for n in range(30 + k)) + "]" for k in range(32)),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_that_asks_for_too_much_is_refused_everywhere(run, tmp_path, name):
    prompt, steps = PROMPTS[name], 800
    painted = ("--engine", "fake", "--steps", str(steps), "--size", "64x64", "--sampler", "ddim")
    (tmp_path / "list.jsonl").write_text(json.dumps({"prompt": prompt, "output": "l.png"}) + "\n")
    (tmp_path / "a.png").write_bytes(record(prompt=prompt, steps=steps, sampler="ddim"))
    for arguments in (
        ["generate", prompt, "-o", "g.png", *painted],
        ["prompt", prompt, "--steps", str(steps)],
        ["morph", "a", prompt, "-o", "m.gif", "--frames", "2", *painted],
        ["rerun", "a.png", "--engine", "fake"],
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and "pleinair: the prompt " in err and "; " in err, arguments[0]
    code, _, err = run("generate", "--prompts", "list.jsonl", "-o", "out", *painted)
    assert code == 7 and "line 1: the prompt " in err
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".gif",) or file.name in ("g.png", "l.png")]


def test_a_long_negative_prompt_is_refused_everywhere(run, tmp_path):
    long = "b" * (MAX_PROMPT + 1)
    (tmp_path / "list.jsonl").write_text(json.dumps({"prompt": "a", "negative": long}) + "\n")
    (tmp_path / "a.png").write_bytes(record(negative=long))
    for arguments in (
        ["generate", "a", "--engine", "fake"],
        ["prompt", "a"],
        ["morph", "a", "b", "--frames", "2", "--engine", "fake"],
    ):
        code, _, err = run(*arguments, "--negative", long)
        assert code == 2 and f"the negative prompt has {len(long):,} characters" in err and "10,000" in err
    assert "negative prompt has" in run("rerun", "a.png", "--engine", "fake")[2]
    assert "negative prompt has" in run("generate", "--prompts", "list.jsonl", "-o", "out", "--engine", "fake")[2]


def test_prompts_of_lengths_that_only_a_huge_one_divides_are_not_mixed(run):
    prompts = ["BREAK ".join(["a "] * count) for count in (97, 101)]
    code, _, err = run("morph", *prompts, "--frames", "3", "--engine", "fake", "--steps", "2", "--size", "64x64")
    assert code == 2 and "cannot be mixed" in err


def test_the_longest_prompt_that_may_be_is_painted(run):
    longest = ("a red house, " * 800)[:MAX_PROMPT]
    assert run("generate", longest, "-o", "a.png", "--engine", "fake", "--steps", "2", "--size", "64x64")[0] == 0
    code, _, err = run("rerun", "a.png")
    assert code == 0 and "10,000 characters" in err


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"width": 96, "height": 96, "steps": 900, "sampler": "ddim"}, "96x96 in 900 steps"),
        ({"width": 512, "height": 512, "steps": 40}, "512x512 in 40 steps"),
        ({"hires": 8, "hires_steps": 40}, "enlarged 8 times in 40 steps"),
        ({"batch": 40, "batch_seeds": list(range(40)), "steps": 40}, "40 pictures of 64x64"),
        ({"prompt": "a AND " * 30 + "b", "steps": 90}, "in 90 steps"),
    ],
)
def test_rerun_says_what_it_is_about_to_do(run, tmp_path, asked, said):
    (tmp_path / "a.png").write_bytes(record(**asked))
    code, _, err = run("rerun", "a.png", "--engine", "fake")
    assert code == 0 and said in err.splitlines()[0] and "Ctrl-C" in err.splitlines()[0]


@pytest.mark.parametrize(
    "asked",
    [
        {"steps": 10**9},
        {"width": 1 << 20},
        {"hires": 1e6},
        {"hires": 8, "width": 4096},
        {"eta": 1e300},
        {"sigmas": [9] * 5000},
        {"clip_skip": 10**6},
    ],
)
def test_rerun_refuses_what_generate_refuses(run, tmp_path, asked):
    (tmp_path / "a.png").write_bytes(record(**asked))
    code, out, err = run("rerun", "a.png", "--engine", "fake")
    assert (code, out) == (2, "") and err.startswith("pleinair: ") and len(err) < 600


def test_a_seed_that_none_can_be_is_said_to_be_none(run, tmp_path):
    (tmp_path / "a.png").write_bytes(record(seed=1 << 70))
    code, _, err = run("rerun", "a.png", "--engine", "fake")
    assert code == 0 and "the record has no seed; another picture with the same words is made" in err


def test_an_ordinary_picture_is_repeated_without_a_word(run, tmp_path):
    (tmp_path / "a.png").write_bytes(record())
    assert "the record asks for" not in run("rerun", "a.png", "--engine", "fake")[2]


def test_what_is_shown_is_cut_and_says_so(run, tmp_path):
    (tmp_path / "a.png").write_bytes(record(x="y" * 50_000, prompt="z" * 700_000))
    out = run("metadata", "a.png")[1]
    assert "(49,000 more characters)" in out and "(690,000 more characters)" in out
    report = json.loads(run("metadata", "a.png", "--json")[1])
    assert report["left_out"]["prompt"] == 700_002 and report["prompt"] == "z" * 10_000
    assert report["settings"] is None and "raw" in report["left_out"] and report["tool"] == "pleinair"


def test_fields_are_split_alike_however_quotation_marks_stand():
    """As A1111's own regular expression splits short random lines."""
    theirs = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    pick = random.Random(1)
    for _ in range(20_000):
        line = "".join(pick.choice(['"', "\\", ",", ":", "ab", " "]) for _ in range(pick.randrange(14)))
        expected = {name: value for name, value in theirs.findall(line)}
        found = infotext_fields(line)
        assert set(found) <= set(expected) or not expected, line


def test_texts_beside_a_bomb_are_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif.write("a\nSteps: 2, Seed: 3, Size: 8x8"))
    whole = (tmp_path / "a.jpg").read_bytes()
    bomb = extended_xmp(1000)[2:-2]
    (tmp_path / "a.jpg").write_bytes(whole[:2] + bomb + whole[2:])
    found = read_record(tmp_path / "a.jpg")
    assert found.options()["seed"] == 3 and "extended XMP that is damaged" in found.warnings[-1]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("alpha", [True, False])
def test_the_size_stands_in_the_header(tmp_path, suffix, lossless, alpha):
    file = tmp_path / f"a.{suffix}"
    mode = "RGBA" if alpha and suffix != "jpg" else "RGB"
    Image.new(mode, (96, 40)).save(file, **({"lossless": lossless} if suffix == "webp" else {}))
    assert read_texts(file).size == (96, 40)


def test_a_plain_comment_beside_a_record_is_no_loss(tmp_path):
    chunks = PngInfo()
    for name, value in {"parameters": "a\nSteps: 2, Seed: 3, Size: 8x8", "Software": "x", "other": "y"}.items():
        chunks.add_text(name, value)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunks)
    assert read_record(tmp_path / "a.png").warnings == ("not read: other",)


def test_a_picture_without_a_record_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(RequestError, match="has no record"):
        read_record(tmp_path / "a.png")
