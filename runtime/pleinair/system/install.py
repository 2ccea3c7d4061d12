"""What pleinair can do without, and the line that installs it, which depends on how pleinair itself got here."""

import importlib.util
import sys
from pathlib import Path

from pleinair.errors import EngineError
from pleinair.version import __version__

HERE = Path(__file__).parents[1]


def line(extra: str) -> str:
    """The words that follow "install it with:" for an extra of pleinair."""
    if from_clone(HERE):
        return f'pip install ".[{extra}]" in your clone of pleinair'
    return f'pip install "pleinair[{extra}]"'


def from_clone(package: Path) -> bool:
    """Whether this package folder lies in a clone, or was installed from one rather than from a package index."""
    if (package.parents[1] / "pyproject.toml").is_file():
        return True
    try:  # what pip notes for `pip install .`
        origin = (package.parent / f"pleinair-{__version__}.dist-info" / "direct_url.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return '"dir_info"' in origin


OPENVINO = ("openvino", "openvino_tokenizers", "nncf")
EXPORT = ("torch", "diffusers", "transformers", "safetensors", "onnx", "onnxruntime", *OPENVINO)
PARTS = {  # what for -> (the modules it needs, the line that installs them)
    "OpenVINO engine": (("openvino",), "pip install openvino"),
    "ONNX Runtime engine": (("onnxruntime",), "pip install onnxruntime"),
    "model export": (EXPORT, line("export")),
    "quantizing": (("openvino",), "pip install openvino"),
    "quantizing of ONNX graphs": (("onnx", "onnxruntime"), line("quantize")),
    "MP4 films": (("av",), "pip install av"),
    "downloads from the hub": (("huggingface_hub", "httpx2"), line("hub")),
    "the server": (("starlette", "uvicorn", "python_multipart"), line("serve")),
    "metrics": (("prometheus_client",), line("serve")),
    "Ray": (("ray",), line("ray")),
    "MCP": (("mcp", "starlette"), line("mcp")),
}
NEWEST_PYTHON = {"model export": (3, 13)}  # torch's script tracer ends with 3.14


def missing(modules: tuple[str, ...]) -> list[str]:
    """Those of the modules that are not installed, without importing any."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def need(purpose: str) -> None:
    """Raise EngineError with the line that installs what `purpose` lacks."""
    modules, remedy = PARTS[purpose]
    newest = NEWEST_PYTHON.get(purpose, sys.version_info)
    if sys.version_info[:2] > newest:
        raise EngineError(f"{purpose} needs Python {newest[0]}.{newest[1]} or older; install pleinair there")
    if absent := missing(modules):
        raise EngineError(f"{purpose} needs {', '.join(absent)}, not installed; install with: {remedy}")
