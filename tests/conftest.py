"""Tests below tests/export need the export extra; without it they are not collected, and the header says so."""

import importlib.util
import os

import pytest

from bundles import silent_copy

HEAVY = ("torch", "diffusers", "transformers", "openvino_tokenizers", "nncf", "onnx")
missing = [name for name in HEAVY if importlib.util.find_spec(name) is None]
collect_ignore = ["export"] if missing else []
collect_ignore.append("peers")  # has environments of its own: python tests/peers/run.py
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_report_header():
    return f"tests/export left out, not installed: {', '.join(missing)}" if missing else "with tests/export"


@pytest.fixture(scope="module")
def silent_storybook(tmp_path_factory):
    """Where no model is named, a storybook that takes any words and sizes without a warning."""
    folder = silent_copy(tmp_path_factory.mktemp("models") / "storybook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pleinair.bundle.default_path", lambda: folder)
        yield folder
