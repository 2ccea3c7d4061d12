"""A process of its own that reads the weights in pickles, and nothing else of them, and writes them as safetensors.

    python -m pleinair_export.unpickled FILE OUT [FILE OUT ...]

Its standard output is JSON, {"file": the last FILE, "problem": null or what is wrong with it}. It ends when its
standard input does.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from pleinair.checks import one_line
from pleinair_export.worker import end_with_parent

KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
STATE = "state_dict"  # of a training checkpoint, beside its optimizer and more


def main(*paths: str) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    problem = None
    for file, out in zip(paths[::2], paths[1::2], strict=True):
        try:
            write(tensors(Path(file)), Path(out), Path(file).stat().st_size)
        except Exception as error:  # a damaged pickle raises anything
            problem = one_line((str(error).splitlines() or [type(error).__name__])[0], 160)
            break
    json.dump({"file": file, "problem": problem}, sys.stdout)


def tensors(file: Path) -> dict[str, torch.Tensor]:
    """By name; torch refuses a file that asks for more than tensors and plain containers."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):  # which files of before torch 1.6 cannot be
            raise
        found = torch.load(file, map_location="cpu", weights_only=True)
    found = found.get(STATE, found) if isinstance(found, dict) else {}
    named = {str(name): each for name, each in found.items() if isinstance(each, torch.Tensor) and each.dtype in KINDS}
    if not named:
        raise ValueError("it holds no weights by name")
    return named


def write(named: dict[str, torch.Tensor], out: Path, most: int) -> None:
    """One tensor in memory at a time; raises ValueError where they are more than `most` bytes, which views can be."""
    header: dict[str, Any] = {}
    end = 0
    for name, each in named.items():
        size = each.numel() * each.element_size()
        header[name] = {"dtype": KINDS[each.dtype], "shape": list(each.shape), "data_offsets": [end, end + size]}
        end += size
    if end > 2 * most:
        raise ValueError(f"it is {most} bytes and unfolds to {end}")
    head = json.dumps(header).encode()
    with out.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        for each in named.values():
            stream.write(each.contiguous().flatten().view(torch.uint8).numpy().data)


if __name__ == "__main__":
    main(*sys.argv[1:])
