"""Scales by which weights of 8 bits are multiplied, as files of "scaled fp8" have them beside the weights.

One is a number, or has one for each row or block of rows and columns. Layouts that take more than a product are refused
(https://github.com/comfyanonymous/ComfyUI/blob/master/QUANTIZATION.md).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pleinair.checks import one_line
from pleinair.errors import ExportError

Shape = tuple[int, ...]

SUFFIXES = (".scale_weight", ".weight_scale")  # behind the name of a layer
WEIGHT = ".weight"
BESIDE = ("*scaled_fp8", "*.scale_input", "*.input_scale", "*.comfy_quant", *(f"*{each}" for each in SUFFIXES))
MORE = (".weight_scale_2", ".pre_quant_scale", ".weight_scalar")  # of layouts that take more than a product
LAYOUT = ".comfy_quant"  # a layer's, as JSON in bytes
LAYOUTS = "_quantization_metadata"  # those of all layers, as JSON in a file's metadata
PRODUCT = "float8_"  # begins the names of those that are a product
FLOATS = ("F64", "F32", "F16", "BF16")
WIDER = "choose the file of 16-bit weights"


def scales_in(shapes: Mapping[str, Shape], kinds: Mapping[str, str], where: str) -> dict[str, str]:
    """The weights that have a scale, with its name, among all tensors of a file.

    Raises ExportError for scales that belong to no weight, or to one that a product does not make.
    """
    found = {}
    for name in shapes:
        suffix = next((each for each in (*SUFFIXES, *MORE) if name.endswith(each)), None)
        if suffix is None:
            continue
        weight = name.removesuffix(suffix) + WEIGHT
        if suffix in MORE or kinds[name] not in FLOATS or not divides(shapes[name], shapes.get(weight, ())):
            raise refused(where, name)
        found[weight] = name
    return found


def divides(scale: Shape, weight: Shape) -> bool:
    """Whether a scale is a number, or has one for as many rows and columns each as make the weight."""
    sides = (*scale, *(1 for _ in weight[len(scale) :]))
    return len(sides) == len(weight) > 0 and all(
        side > 0 and whole % side == 0 for side, whole in zip(sides, weight, strict=True)
    )


def spread(scale: np.ndarray, shape: Shape) -> np.ndarray:
    """A scale that `divides` a shape, as it is multiplied with it."""
    scale = scale.reshape(*scale.shape, *(1 for _ in shape[scale.ndim :]))
    for axis, side in enumerate(shape):
        if scale.shape[axis] not in (1, side):
            scale = np.repeat(scale, side // scale.shape[axis], axis)
    return scale


def check_layouts(layouts: Iterable[bytes | str], where: str) -> None:
    """Raise ExportError where a layer's layout, as its file says, is no product."""
    for text in layouts:
        try:
            said = json.loads(text)
            rows = said["layers"].values() if "layers" in said else [said]
            odd = next((row["format"] for row in rows if not row["format"].startswith(PRODUCT)), None)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            odd = "a layout that cannot be read"
        if odd:
            raise refused(where, odd)


def refused(where: str, what: Any) -> ExportError:
    return ExportError(f"'{where}' has weights scaled in an unknown way ({one_line(what, 80)}); {WIDER}")
