"""Sources of prepare.py exported with optimum itself, whose pictures are kept, for adopt_folders.py.

FOLDER/exports/PEER-FAMILY-WEIGHTS/exported is what the peer wrote, picture.npy (H, W, 3) beside it what it paints with
that, and request.json what it was asked for.
"""

import json
from pathlib import Path

import numpy as np
from open_bundle import load, paint

SEED = 11
WEIGHTS = {"optimum-intel": ("fp32", "int8", "int4"), "optimum-onnx": ("fp32",)}
SOURCES = {"sd1": "least-fp16"}  # family -> the folder of prepare.py
MORE = {"sdxl": "sdxl-fp32", "sd3": "sd3-fp32", "flux": "flux-fp32"}


def export_all(peer: str, root: Path, everything: bool) -> None:
    """Everything that a peer exports: one family, or with `everything` each that has been prepared."""
    for family, name in (SOURCES | MORE if everything else SOURCES).items():
        request = json.loads((root / name / "request.json").read_text())
        request["height"] = request["width"]  # what optimum exports is halved and doubled again: no odd latents
        source = root / name / "source"
        for weights in WEIGHTS[peer]:
            folder = root / "exports" / f"{peer}-{family}-{weights}"
            export(peer, source, weights, folder / "exported")
            if weights == "fp32":
                source = folder / "exported"  # so that the others need not be traced
            np.save(folder / "picture.npy", paint(load(peer, folder / "exported"), request, seed=SEED))
            (folder / "request.json").write_text(json.dumps(request))


def export(peer: str, source: Path, weights: str, out: Path) -> None:
    """Export a diffusers folder, or make the weights of an OpenVINO one smaller."""
    if peer == "optimum-onnx":
        from optimum import onnxruntime

        kind = json.loads((source / "model_index.json").read_text())["_class_name"]
        pipeline = getattr(onnxruntime, f"ORT{kind}")  # of a local folder it cannot find that out
        pipeline.from_pretrained(str(source), export=True).save_pretrained(out)
        return
    from optimum.intel import OVDiffusionPipeline, OVWeightQuantizationConfig

    smaller = {  # groups as small as the tiny networks
        "int8": OVWeightQuantizationConfig(bits=8),
        "int4": OVWeightQuantizationConfig(bits=4, group_size=16, ratio=1.0),
    }
    how = {"quantization_config": smaller[weights]} if weights in smaller else {"load_in_8bit": False}
    exporting = not (source / "vae_decoder").is_dir()
    OVDiffusionPipeline.from_pretrained(str(source), export=exporting, compile=False, **how).save_pretrained(out)
