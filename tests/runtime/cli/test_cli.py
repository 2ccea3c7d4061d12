"""The command line: what it writes, prints and returns. On the fake engine, in this process."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import edit_manifest, full_copy, light_copy
from pleinair import __version__, open_bundle
from pleinair.cli.app import COMMANDS, command_named
from pleinair.cli.usage import EXAMPLES
from pleinair.engines.engine import ENGINES, EngineInfo
from pleinair.files.output import write_pictures
from pleinair.request.options import OPTIONS
from pleinair.request.pass_options import Hires
from pleinair.request.request import resolve
from pleinair.system import install
from pleinair.system.install import PARTS

FAKE = ["--engine", "fake", "--steps", "2"]


pytestmark = pytest.mark.usefixtures("in_a_folder")


def refused(outcome, code, *words):
    """One line on stderr with the words, nothing on stdout, and the exit code."""
    assert outcome[0] == code, outcome
    assert outcome[1] == ""
    assert outcome[2].count("\n") == 1 and outcome[2].startswith("pleinair: "), outcome[2]
    for word in words:
        assert word in outcome[2], outcome[2]


def test_generate_writes_a_picture_and_prints_its_name(run, tmp_path):
    assert run("generate", "A red house, at night!", "--seed", 7, *FAKE) == (0, "a-red-house-at-night-7.png\n", "")
    with Image.open("a-red-house-at-night-7.png") as picture:
        assert picture.mode == "RGB" and picture.size == (256, 256)
    run("generate", "A red house, at night!", "--seed", 7, *FAKE)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "a-red-house-at-night-7-2.png",
        "a-red-house-at-night-7.png",
    ]


def test_json_report_has_every_field(run):
    code, out, err = run(
        "generate", "a boat", *FAKE, "--seed", 1, "--count", 2, "--size", "136x128", "-o", "b.png", "--json"
    )
    report = json.loads(out)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert report["images"] == [
        {"path": "b-1.png", "seed": 1, "width": 136, "height": 128},
        {"path": "b-2.png", "seed": 2, "width": 136, "height": 128},
    ]
    assert set(report) == {"images", "settings", "timings", "peak_rss_mb", "warnings"}
    timings = report["timings"]
    assert set(timings) == {"import_s", "load_s", "text_s", "encode_s", "steps_s", "decode_s", "write_s", "total_s"}
    assert len(timings["steps_s"]) == 4 and report["peak_rss_mb"] > 10
    assert report["settings"]["guidance"] and report["settings"]["spacing"]


@pytest.mark.parametrize("suffix, kind", [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_suffix_decides_the_kind_of_file(run, suffix, kind):
    assert run("generate", "a boat", *FAKE, "-o", f"b.{suffix}")[0] == 0
    with Image.open(f"b.{suffix}") as picture:
        assert picture.format == kind


def test_npz_stores_float_pictures_and_latents(run):
    assert run("generate", "a boat", *FAKE, "--count", 3, "--size", "64x72", "-o", "b.npz")[1] == "b.npz\n"
    with np.load("b.npz") as arrays:
        assert arrays["images"].shape == (3, 72, 64, 3) and arrays["images"].dtype == np.float32
        assert arrays["latents"].shape == (3, 4, 9, 8) and arrays["latents"].dtype == np.float32
        assert 0 <= arrays["images"].min() <= arrays["images"].max() <= 1


def test_png_carries_the_settings(run):
    run("generate", "a boat, blue", "--negative", "red: fish", *FAKE, "--seed", 5, "--spacing", "karras", "-o", "b.png")
    with Image.open("b.png") as picture:
        lines = picture.text["parameters"].split("\n")
        ours = json.loads(picture.text["pleinair"])
    assert lines[:2] == ["a boat, blue", "Negative prompt: red: fish"]
    fields = dict(field.split(": ") for field in lines[2].split(", "))
    assert fields["Steps"] == "2" and fields["Seed"] == "5" and fields["Schedule type"] == "Karras"
    assert ours["prompt"] == "a boat, blue" and ours["seed"] == 5 and ours["format"] == 1


@pytest.mark.parametrize(
    "spacing, name",
    [("trailing", "SGM Uniform"), ("trailing,exponential", "Exponential"), ("beta", "Beta"), ("lu", "Lu")],
)
def test_png_names_the_sigma_schedule(run, spacing, name):
    run("generate", "a boat", *FAKE, "--spacing", spacing, "-o", "b.png")
    with Image.open("b.png") as picture:
        assert f"Schedule type: {name}," in picture.text["parameters"]


def test_existing_files_are_never_overwritten_in_silence(run):
    run("generate", "a boat", *FAKE, "-o", "b.png", "--seed", 1)
    before = Path("b.png").read_bytes()
    refused(run("generate", "a cat", *FAKE, "-o", "b.png"), 4, "exists", "--force")
    assert Path("b.png").read_bytes() == before
    assert run("generate", "a cat", *FAKE, "-o", "b.png", "--force")[0] == 0
    assert Path("b.png").read_bytes() != before


def test_a_warning_is_on_stderr_and_in_the_report(run):
    code, out, err = run("generate", "a (house", *FAKE, "--json")
    assert code == 0 and err.startswith("pleinair: warning: ") and "never closed" in json.loads(out)["warnings"][0]


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["generate", "a", "--size", "100x64"], 2, ["multiple of 8"]),
        (["generate", "a", "--size", "99999999x8"], 2, ["4096"]),
        (["generate", "a", "--size", "8"], 2, ["512x512"]),
        (["generate", "a", "--size", "axb"], 2, ["512x512"]),
        (["generate", "a", "--size", "²x8"], 2, ["512x512"]),
        (["generate", "a", "--steps", "0"], 2, ["1 to 1000"]),
        (["generate", "a", "--steps", "100000"], 2, ["1 to 1000"]),
        (["generate", "a", "--steps", "two"], 2, ["--steps", "--help"]),
        (["generate", "a", "--guidance", "nan"], 2, ["guidance"]),
        (["generate", "a", "--seed", "-1"], 2, ["seed"]),
        (["generate", "a", "--seed", str(1 << 64)], 2, ["seed"]),
        (["generate", "a", "--sampler", "eular"], 2, ["did you mean 'euler'"]),
        (["generate", "a", "--spacing", "karas"], 2, ["did you mean 'karras'"]),
        (["generate", "a", "--spacing", "leading,trailing"], 2, ["two of one kind"]),
        (["generate", "a", "--device", "cpu:7", "--engine", "onnx"], 2, ["choose from"]),
        (["generate", "a", "--model", "m" * 300], 3, ["no model folder"]),
        (["generate", "a", "-o", "o" * 300 + ".png"], 4, ["check the path"]),
        (["generate", "a", "--engine", "cuda"], 2, ["openvino, onnx"]),
        (["generate", "a", "--stpes", "3"], 2, ["--steps", "generate --help"]),
        (["generate"], 2, ["prompt"]),
        (["generate", "a", "-o", "b.gif"], 2, [".png"]),
        (["generate", "a", "-o", "b"], 2, [".png"]),
        (["generate", "a", "-o", "no/such/b.png"], 4, ["create it"]),
        (["generate", "a", "-o", "dir.png"], 4, ["is a folder"]),
        (["generate", "a", "--model", "no/such/model"], 3, ["no model folder", "pleinair pour"]),
        (["generate", "a", "--model", "."], 3, ["bundle.json"]),
        (["info", "no/such/model"], 3, ["no model folder"]),
        (["frobnicate"], 2, ["--help"]),
        (["export", "nowhere", "out", "--format", "tflite"], 2, ["openvino, onnx or both"]),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(run, tmp_path, arguments, code, words):
    (tmp_path / "here" / "dir.png").mkdir()
    refused(run(*arguments), code, *words)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["dir.png"]


def test_a_long_path_is_shown_by_its_end(run):
    path = "/".join(["d" * 90] * 11 + ["end"])
    for arguments in (
        *(["generate", "a", flag, path] for flag in ("--model", "--upscale", "--embedding", "--image")),
        *([command, path] for command in ("info", "metadata", "rerun", "adopt", "pour")),
    ):
        code, _, err = run(*arguments)
        assert code and len(err) < 300 and "end'" in err, err


def test_a_missing_engine_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(ENGINES, "onnx", replace(ENGINES["onnx"], requires="no_such_module"))
    refused(run("generate", "a", "--engine", "onnx"), 5, "install it with: pip install onnxruntime")


def test_a_missing_extra_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(PARTS, "model export", (("no_such_package",), PARTS["model export"][1]))
    refused(run("export", "a", "b"), 5, "no_such_package", 'install with: pip install ".[export]" in your clone')
    assert json.loads(run("doctor", "--json")[1])["missing"]["model export"].startswith('pip install ".[export]"')


def test_an_installation_knows_whether_it_came_from_a_clone(tmp_path):
    package = tmp_path / "lib" / "site-packages" / "pleinair"
    notes = package.with_name(f"pleinair-{__version__}.dist-info")
    notes.mkdir(parents=True)
    assert not install.from_clone(package)
    (notes / "direct_url.json").write_text('{"url": "file:///a/pleinair.whl", "archive_info": {}}')
    assert not install.from_clone(package)
    (notes / "direct_url.json").write_text('{"url": "file:///a/pleinair", "dir_info": {}}')
    assert install.from_clone(package) and install.from_clone(install.HERE)


def test_export_says_which_python_it_needs(run, monkeypatch):
    monkeypatch.setitem(install.NEWEST_PYTHON, "model export", (3, 10))
    refused(run("export", "a", "b"), 5, "needs Python 3.10 or older")


def test_an_engine_that_cannot_be_loaded_is_named(run, monkeypatch, tmp_path):
    """As after a broken installation: the package is there, and importing it fails."""
    (tmp_path / "broken_engine.py").write_text("raise ImportError('DLL load failed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(
        ENGINES, "onnx", EngineInfo("broken_engine", "Broken", "broken_engine", (), "pip install it", "onnx")
    )
    refused(run("generate", "a", "--engine", "onnx"), 5, "DLL load failed", "pip install it")
    assert "DLL load failed" in json.loads(run("doctor", "--json")[1])["engines"]["onnx"]["error"]


def test_a_newer_bundle_says_how_to_update(run, tmp_path):
    folder = light_copy(tmp_path / "newer")
    edit_manifest(folder, lambda raw: raw.update(format=99))
    refused(run("generate", "a", "--model", folder), 3, "update pleinair")


@pytest.mark.parametrize("engine, name", [("openvino", "openvino_model.bin"), ("onnx", "model.onnx")])
def test_missing_and_truncated_graphs_are_named(run, tmp_path, engine, name):
    folder = full_copy(tmp_path / "broken")
    file = folder / "unet" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(run("generate", "a", "--model", folder, "--engine", engine), 3, "unet", "damaged")
    file.unlink()
    refused(run("generate", "a", "--model", folder, "--engine", engine), 3, "unet", "missing")


@pytest.mark.parametrize("engine, name", [("openvino", "openvino_model.xml"), ("onnx", "model.onnx")])
def test_garbage_of_the_right_size_is_no_traceback(run, tmp_path, engine, name):
    folder = full_copy(tmp_path / "broken")
    file = folder / "unet" / name
    file.write_bytes(bytes(range(256)) * (file.stat().st_size // 256) + bytes(file.stat().st_size % 256))
    refused(run("generate", "a", "--model", folder, "--engine", engine), 3, "unet", "--verify")


def test_a_broken_tokenizer_is_named(run, tmp_path):
    folder = light_copy(tmp_path / "broken")
    (folder / "tokenizer" / "tokenizer.json").write_text("{")
    refused(run("generate", "a", "--model", folder, *FAKE), 3, "tokenizer.json")


def test_info_verify_names_the_flipped_file(run, tmp_path):
    folder = full_copy(tmp_path / "flipped")
    assert json.loads(run("info", folder, "--verify", "--json")[1])["verified"] is True
    file = folder / "unet" / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-5] ^= 0x10
    file.write_bytes(data)
    code, out, err = run("info", folder, "--verify", "--json")
    assert code == 3 and json.loads(out)["damaged"] == ["unet/model.onnx: content differs from its SHA-256"]
    assert err.count("\n") == 1 and "unet/model.onnx" in err


def test_info_shows_the_default_model(run):
    code, out, _ = run("info", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["name"] == "storybook" and facts["formats"] == ["onnx", "openvino"]
    assert facts["graphs"]["unet"]["fidelity_db"]["openvino"] > 35
    assert "storybook" in run("info")[1]


def test_samplers_lists_what_generate_takes(run):
    listed = json.loads(run("samplers", "--json")[1])
    assert {"ddim", "euler", "euler_a", "dpmpp_2m"} <= set(listed["samplers"])
    assert {"leading", "linspace", "trailing", "karras"} <= set(listed["spacings"])
    table = run("samplers")[1]
    assert all(name in table for name in listed["samplers"])


def test_doctor_tells_the_machine(run):
    facts = json.loads(run("doctor", "--json")[1])
    assert facts["cores"] >= 1 and facts["memory_gb"] > 0 and facts["cpu"]
    assert "CPU" in facts["engines"]["openvino"]["devices"]
    assert run("doctor")[1].startswith("pleinair")


def test_doctor_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr("pleinair.system.install.PARTS", {"a purpose": (("no_such_package",), "pip install it")})
    assert json.loads(run("doctor", "--json")[1])["missing"] == {"a purpose": "pip install it"}


def test_version_and_help(run):
    from pleinair import __version__

    assert run("--version") == (0, f"{__version__}\n", "")
    assert "generate" in run("--help")[1]


def test_interrupting_exits_130_and_keeps_what_is_done(run, monkeypatch):
    done = []

    def interrupted(result, files, overwrite, *rest):
        if done:
            raise KeyboardInterrupt
        done.append(files)
        return write_pictures(result, files, overwrite, *rest)

    monkeypatch.setattr("pleinair.cli.generate.write_pictures", interrupted)
    refused(run("generate", "a", *FAKE, "--count", 3, "-o", "b.png"), 130, "interrupted")
    assert [path.name for path in Path().iterdir()] == ["b-1.png"]


def test_a_file_that_appears_while_painting_is_left_alone(run, monkeypatch):
    def late(result, files, overwrite, *rest):
        files[0].write_text("precious")
        return write_pictures(result, files, overwrite, *rest)

    monkeypatch.setattr("pleinair.cli.generate.write_pictures", late)
    assert run("generate", "a", *FAKE, "-o", "b.png")[:2] == (0, "b-2.png\n")
    assert Path("b.png").read_text() == "precious" and Path("b-2.png").stat().st_size > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="the limit below is POSIX")
def test_a_full_disk_leaves_nothing_behind(run):
    """A file size limit is the full disk that any user can make: writing past it fails like one."""
    import resource

    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
    try:
        refused(run("generate", "a", *FAKE, "--size", "512x512", "-o", "b.npz"), 4, "cannot write 'b.npz'")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a folder that nobody can write in, on Linux alone")
def test_an_unwritable_folder_is_found_before_painting(run):
    refused(run("generate", "a", "--engine", "fake", "-o", "/proc/b.png"), 4, "cannot write", "choose another -o")


def test_a_console_that_knows_few_letters_gets_the_name_all_the_same(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "pleinair", "generate", "家 house", *FAKE, "--seed", "1"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    assert outcome.returncode == 0 and "house-1" in outcome.stdout, outcome.stderr


@pytest.mark.parametrize("arguments, code, kind", [
    (["generate"], 2, "RequestError"),
    (["generate", "a", "--no-such-option"], 2, "RequestError"),
    (["generate", "a", "--steps", "two"], 2, "RequestError"),
    (["generate", "a", "--steps"], 2, "RequestError"),
    (["generate", "a", "--size", "9x9"], 2, "RequestError"),
    (["generate", "a", "red", "house"], 2, "RequestError"),
    (["generate", "--prompts", "no-such-list", "--engine", "fake"], 4, "ResourceError"),
    (["generate", "a", "-o", "no/such/b.png"], 4, "ResourceError"),
    (["no-such-command"], 2, "RequestError"),
    (["serve", "--port", "70000"], 2, "RequestError"),
    (["info", "no/such/model"], 3, "BundleError"),
    (["prompt", "a", "--model", "no/such/model"], 3, "BundleError"),
    (["morph", "a", "--engine", "fake"], 2, "RequestError"),
    (["metadata", "no-such-file.png"], None, None),
    (["rerun", "no-such-file.png"], None, None),
    (["export", "nowhere", "out", "--format", "tflite"], 2, "RequestError"),
    (["samplers", "surplus"], 2, "RequestError"),
    (["doctor", "surplus"], 2, "RequestError"),
])  # fmt: skip
def test_an_error_is_an_object_for_who_asked_for_json(run, arguments, code, kind):
    returned, out, err = run(*arguments, "--json")
    error = json.loads(out)["error"]
    assert set(error) == {"kind", "message", "exit_code"} and error["exit_code"] == returned != 0
    assert err == f"pleinair: {error['message']}\n"
    assert (code, kind) in ((returned, error["kind"]), (None, None))


def test_a_damaged_bundle_is_one_object_with_its_error(run, tmp_path):
    folder = full_copy(tmp_path / "flipped")
    (folder / "unet" / "model.onnx").write_bytes(b"other")
    code, out, err = run("info", folder, "--verify", "--json")
    facts = json.loads(out)
    assert code == 3 == facts["error"]["exit_code"] and facts["damaged"] and err.count("\n") == 1


def test_a_list_in_json_has_an_object_for_each_line(run):
    Path("list.txt").write_text('a house\n{"prompt": 1}\n')
    code, out, _ = run("generate", "--prompts", "list.txt", *FAKE, "--json")
    done, bad = map(json.loads, out.splitlines())
    assert code == 7 and done["painted"] and bad["line"] == 2 and bad["error"]["exit_code"] == 7


@pytest.mark.parametrize("arguments, words", [
    (["generate", "a", "red", "house"], 'pleinair generate "a red house"'),
    (["generate", "a", "red", "house", "--steps", "4"], 'pleinair generate "a red house"'),
    (["generate", "--steps", "4", "a", "red", "house"], "double quotes"),
    (["prompt", "a", "red", "house"], 'pleinair prompt "a red house"'),
    (["a", "red", "house"], 'pleinair generate "a red house"'),
    (["a red house"], 'pleinair generate "a red house"'),
    (["generat", "a"], "did you mean 'generate'"),
    (["docter"], "did you mean 'doctor'"),
    (["generate", "a", "--smapler", "ddim"], "--sampler"),
    (["generate", "a", "-steps", "4"], "--steps"),
    (["--seed", "4", "generate", "a"], "after the command"),
    (["generate", "a", "--control", "x"], "write BUNDLE:IMAGE"),
    (["models", "--vae", "x"], "make a bundle (pour, adopt)"),
    (["generate", "a", "--width", "64"], "--size"),
    (["generate", "a", "--negative-prompt", "b"], "--negative"),
    (["web"], "pleinair serve --open"),
    (["download", "org/name"], "pleinair pull"),
    (["txt2img", "a"], "pleinair generate"),
    (["models", "inf", "a"], "did you mean 'info'? see: pleinair models --help"),
    (["bench", "--steps"], "see: pleinair bench --help"),
    (["pour", "-x.safetensors", "out"], f"write .{os.sep}-x.safetensors"),
])  # fmt: skip
def test_what_was_meant_is_said(run, arguments, words):
    refused(run(*arguments), 2, words)


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name != "pleinair"])
def test_help_ends_with_examples(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    end = out[out.index("Examples:") :]
    assert all(len(example) <= 78 and example in end for example in EXAMPLES[command])


def test_defaults_in_the_help_are_those_that_are_used(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    lines = run("generate", "--help")[1].splitlines()
    request = resolve(open_bundle(), "a", image=Image.new("RGB", (8, 8)), mask=Image.new("L", (8, 8), 255), seed=1)
    larger = resolve(open_bundle(), "a", hires=1)
    for option in OPTIONS.values():
        if option.flag and not isinstance(option.default, bool | None):
            (line,) = [line for line in lines if line.lstrip("│ ").startswith(f"{option.flag} ")]
            told = line.partition("[default: ")[2].partition("]")[0]
            used = option.of(larger if option.group is Hires else request)
            assert told == (used if isinstance(used, str) else f"{used:g}" if used != () else ""), option.name


def test_every_option_has_its_flag_and_no_other_is_there(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    shown = {word for word in run("generate", "--help")[1].split() if word.startswith("--")}
    flags = {option.flag for option in OPTIONS.values() if option.flag}
    assert shown - flags == {
        *("--prompts", "--film", "--workers", "--ray", "--output", "--force", "--no-metadata", "--json", "--help"),
        *("--model", "--engine", "--device", "--threads", "--precision", "--memory", "--no-verify"),
        *("--fallback", "--no-cache", "--int8", "--no-fold", "--no-share", "--no-preflight"),
    }
    assert flags <= shown


def test_a_flag_without_its_value_is_one_line_on_every_command(run):
    commands = {name: command_named(name) for name in COMMANDS if name != "bench"}  # which has a parser of its own
    flags = [(name, each.opts[0]) for name in commands for each in commands[name].params if takes_a_value(each)]
    assert ("generate", "--embedding") in flags and ("pour", "--vae") in flags
    for name, flag in flags:
        refused(run(name, flag), 2, f"{flag} ", f"see: pleinair {name} --help")


def takes_a_value(parameter):
    return parameter.param_type_name == "option" and not parameter.is_flag


@pytest.mark.parametrize("words, offered", [
    ("generate --sampler dpmpp_2m", {"dpmpp_2m", "dpmpp_2m_sde"}),
    ("generate --spacing trailing,kar", {"trailing,karras"}),
    ("generate --engine o", {"openvino", "onnx"}),
    ("generate --noise p", {"philox"}),
    ("morph --ease e", {"even"}),
    ("export --weights fp", {"fp32", "fp16"}),
    ("doc", {"doctor"}),
    ("generate --guidance-s", {"--guidance-start"}),
])  # fmt: skip
def test_a_shell_completes_values(run, monkeypatch, words, offered):
    monkeypatch.setenv("_PLEINAIR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"pleinair {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    code, out, err = run()
    assert (code, err) == (0, "") and set(out.split()) == offered


def test_giving_nothing_shows_the_help(run):
    code, out, err = run()
    assert code == 2 and "generate" in out and err == ""


SOURCES = [
    file
    for folder in ("runtime", "export", "benchmarks/pleinair_bench")
    for file in sorted((Path(__file__).parents[3] / folder).rglob("*.py"))
    if file.name != "terminal.py"
]


def test_nothing_is_printed_past_the_door():
    """terminal.py is the one module that writes to stdout and stderr."""
    texts = {file: file.read_text(encoding="utf-8") for file in SOURCES}
    for file in [file for file, text in texts.items() if re.search(r"\b(print|s?echo|write)\(", text)]:
        for node in ast.walk(ast.parse(texts[file])):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo", "typer.secho"), f"{file.name}:{node.lineno}"
                assert not called.endswith(("stdout.write", "stderr.write")), f"{file.name}:{node.lineno}"
