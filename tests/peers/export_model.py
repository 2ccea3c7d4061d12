"""Export the sources of prepare.py with optimum itself, and keep its pictures (runs in a peer's environment).

    python tests/peers/export_model.py optimum-intel|optimum-onnx FOLDER

FOLDER/PEER-WEIGHTS/exported is what the peer wrote, FOLDER/PEER-WEIGHTS/picture.npy (H, W, 3) what it paints with that.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

SOURCE = "sd1-fp16/source"
SEED = 11


def export(peer: str, source: Path, weights: str, out: Path) -> None:
    if peer == "optimum-intel":
        from optimum.intel import OVStableDiffusionPipeline

        pipe = OVStableDiffusionPipeline.from_pretrained(
            source, export=True, compile=False, load_in_8bit=weights == "int8"
        )
    else:
        from optimum.onnxruntime import ORTStableDiffusionPipeline

        pipe = ORTStableDiffusionPipeline.from_pretrained(source, export=True)
    pipe.save_pretrained(out)


if __name__ == "__main__":
    from open_bundle import load

    peer, root = sys.argv[1], Path(sys.argv[2])
    request = json.loads((root / "request.json").read_text())
    for weights in ("fp32", "int8") if peer == "optimum-intel" else ("fp32",):
        folder = root / f"{peer}-{weights}"
        export(peer, root / SOURCE, weights, folder / "exported")
        pipe = load(peer, folder / "exported")
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(SEED)
        np.save(folder / "picture.npy", pipe(generator=generator, output_type="np", **request).images[0])
