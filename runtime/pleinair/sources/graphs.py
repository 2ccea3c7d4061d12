"""Folders that other tools have exported graphs into."""

from pathlib import Path

from pleinair.sources.families import DENOISERS


def foreign(path: Path) -> str | None:
    """Which engine's graphs of another tool a folder holds in the place of weights, if any."""
    homes = [path, *(path / folder for folder in DENOISERS)]
    if any(any(home.glob("*.safetensors")) for home in homes[1:]):
        return None
    if any(any(home.glob("openvino*.xml")) for home in homes):
        return "OpenVINO"
    return "ONNX" if any(any(home.glob("*.onnx")) for home in homes) else None
