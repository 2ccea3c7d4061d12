"""What importing pleinair costs, brings along, and shows."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import pleinair
import pleinair.errors

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = dict(
    line.split("==")
    for line in (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
)


def python(code):
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_public_names_are_those_listed():
    assert set(dir(pleinair)) == set(pleinair.__all__) and all(getattr(pleinair, name) for name in pleinair.__all__)
    errors = {name for name, value in vars(pleinair.errors).items() if isinstance(value, type)}
    assert errors <= set(pleinair.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(pleinair, "generat") and not hasattr(pleinair, "__wrapped__")


def test_the_command_line_begins_before_anything_slow_is_imported():
    loaded = python("import sys, pleinair.__main__; print(*sys.modules)").split()
    assert not {"numpy", "typer", "json", "PIL", "pleinair.cli.app"} & set(loaded)


def test_starting_the_command_line_does_not_load_what_draws_the_bar():
    assert "rich.progress" not in python("import sys, pleinair.cli.generate; print(*sys.modules)").split()


def test_importing_loads_no_engine_and_nothing_heavy():
    loaded = set(json.loads(python("import json, sys, pleinair; pleinair.load; print(json.dumps(list(sys.modules)))")))
    heavy = {
        "torch",
        "diffusers",
        "transformers",
        "onnx",
        "nncf",
        "openvino",
        "onnxruntime",
        "typer",
        "huggingface_hub",
    }
    costly = {"ssl", "socket", "urllib.request", "xml.sax", "http", "email"}  # a third of the import time in 2026
    assert not loaded & (heavy | costly)


def test_painting_prints_nothing_loads_no_torch_opens_no_socket_and_reports_nothing(sketch, tmp_path, monkeypatch):
    """openvino's import would write its identifier below the home folder and report from another process."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    code = f"""
import socket, sys
def forbidden(*_, **__):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = forbidden
import pleinair
for engine in ("openvino", "onnx"):
    pleinair.load({str(sketch)!r}, engine=engine).generate("a red house", seed=1, steps=2)
heavy = {{"torch", "diffusers", "transformers", "huggingface_hub", "openvino_telemetry"}} & set(sys.modules)
assert not heavy, heavy
"""
    assert python(code) == ""
    assert list(tmp_path.iterdir()) == []


def test_type_checkers_are_told_that_there_are_types():
    assert Path(pleinair.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize(
    "system, machine, engine",
    [
        ("linux", "x86_64", "openvino"),
        ("linux", "aarch64", "openvino"),
        ("darwin", "arm64", "openvino"),
        ("darwin", "x86_64", "onnxruntime"),
        ("win32", "AMD64", "openvino"),
        ("win32", "ARM64", "onnxruntime"),
    ],
)
def test_every_platform_gets_the_engine_that_it_has_wheels_of(system, machine, engine):
    needed = map(Requirement, PROJECT["dependencies"])
    place = {"sys_platform": system, "platform_machine": machine}
    names = {each.name for each in needed if each.marker is None or each.marker.evaluate(place)}
    assert names & {"openvino", "onnxruntime"} == {engine}


def test_without_openvino_the_default_model_runs_on_onnx_runtime(monkeypatch):
    monkeypatch.setattr("pleinair.engines.engine.installed", lambda name: name == "onnx")
    assert pleinair.load().engine == "onnx"


@pytest.mark.parametrize("requirement", PROJECT["optional-dependencies"]["export"])
def test_the_export_takes_no_release_that_was_not_tested(requirement):
    needed = Requirement(requirement)
    tested = Version(PINNED[needed.name])
    later = Version(f"{tested.major}.{tested.minor + 1}")
    assert tested in needed.specifier and later not in needed.specifier
    if needed.name == "torch":
        assert [needed.marker.evaluate({"python_version": f"3.{minor}"}) for minor in (11, 13, 14)] == [
            True,
            True,
            False,
        ]
