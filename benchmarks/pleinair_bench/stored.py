"""How weights are stored, read from the files themselves: what a name or a manifest says may be something else."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pleinair.adopting.ir import read_ir
from pleinair.adopting.onnx import read_onnx
from pleinair.errors import BundleError, ExportError
from pleinair.sources.weight_files import read_header

SAFETENSORS = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "I8": "int8", "U8": "int8"}
UNKNOWN = "unknown"


def of_diffusers(component: Path) -> str:
    """How most weights of a diffusers folder's component are stored; "unknown" where there is no safetensors file."""
    files = sorted(component.glob("*.safetensors"))
    plain = [file for file in files if len(file.name.split(".")) == 2]  # and no variant: NAME.fp16.safetensors
    try:
        return _most(pair for file in plain or files for pair in _tensors(file))
    except (ExportError, ValueError, KeyError, TypeError, AttributeError):
        return UNKNOWN


def of_graph(file: Path) -> str:
    """How most weights of an OpenVINO or ONNX graph are stored; "unknown" where it cannot be read."""
    try:
        kinds = (read_ir(file) if file.suffix == ".xml" else read_onnx(file)).stored
    except BundleError:
        return UNKNOWN
    return _most(kinds.items())


def _tensors(file: Path) -> Iterable[tuple[str, int]]:
    """(kind, bytes) of each tensor that a safetensors file's header names."""
    for tensor in read_header(file).tensors.values():
        first, last = tensor["data_offsets"]
        yield SAFETENSORS.get(tensor["dtype"], UNKNOWN), int(last) - int(first)


def _most(kinds: Iterable[tuple[str, int]]) -> str:
    """The kind that there is most of."""
    found: Counter[str] = Counter()
    for kind, size in kinds:
        found[kind] += size
    return found.most_common(1)[0][0] if found else UNKNOWN
