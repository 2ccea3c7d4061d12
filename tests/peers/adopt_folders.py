"""Adopt what a peer has exported, and compare our pictures with its own.

python tests/peers/adopt_folders.py optimum-intel|optimum-onnx FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from export_model import SEED
from open_bundle import decibel

import pleinair

GATE_DB = 60  # the same graphs on the same engines
NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance"}  # what we call the same
THEIRS = ("max_sequence_length",)  # which a bundle says


def painted(folder: Path, request: dict) -> np.ndarray:
    """(H, W, 3), with the noise that torch draws of SEED."""
    pipe = pleinair.load(pleinair.adopt(folder).path, precision="f32")
    how = {NAMES.get(name, name): value for name, value in request.items() if name not in THEIRS}
    return pipe.generate(**how, seed=SEED).pixels[0]


def main(peer: str, root: Path) -> int:
    failed = 0
    for file in sorted(root.glob(f"exports/{peer}-*/picture.npy")):
        request = json.loads((file.parent / "request.json").read_text())
        found = decibel(painted(file.parent / "exported", request), np.load(file))
        failed += int(found < GATE_DB)  # a number of NumPy is no exit code
        outcome = "FAIL" if found < GATE_DB else "pass"
        print(f"{outcome}  adopted  {file.parent.name}  {found:.1f} dB from the picture of its own tool")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
