"""Tests below tests/export need the export extra; without it they are not collected, and the header says so."""

import importlib.util
import os

HEAVY = ("torch", "diffusers", "transformers", "openvino_tokenizers", "nncf", "onnx")
missing = [name for name in HEAVY if importlib.util.find_spec(name) is None]
collect_ignore = ["export"] if missing else []
collect_ignore.append("peers")  # has environments of its own: python tests/peers/run.py
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_report_header():
    return f"tests/export left out, not installed: {', '.join(missing)}" if missing else "with tests/export"
