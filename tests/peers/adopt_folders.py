"""Adopt what the peers have exported, and compare our pictures with theirs.

python tests/peers/adopt_folders.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from export_model import MORE, SEED

import pleinair

GATE_DB = 60  # the same graphs on the same engines


def painted(folder: Path, request: dict) -> np.ndarray:
    """(H, W, 3), with the noise that torch draws of SEED."""
    bundle = pleinair.adopt(folder)
    pipe = pleinair.load(bundle.path, precision="f32")
    names = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
    how = {names.get(name, name): value for name, value in request.items()}
    return pipe.generate(**how, seed=SEED).pixels[0]


def main(root: Path) -> int:
    request = json.loads((root / "request.json").read_text()) | MORE
    failed = 0
    for picture in sorted(root.glob("*/picture.npy")):
        ours, theirs = painted(picture.parent / "exported", request), np.load(picture)
        decibel = -10 * np.log10(max(np.mean((ours - theirs) ** 2), 1e-12))
        failed += int(decibel < GATE_DB)  # a number of NumPy is no exit code
        outcome = "FAIL" if decibel < GATE_DB else "pass"
        print(f"{outcome}  adopted  {picture.parent.name}  {decibel:.1f} dB from the picture of its own tool")
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
