"""What a graph says of itself and what it returns, held against what the bundle's manifest says of it."""

import numpy as np

from pleinair.bundle.manifest import GraphInfo, Port
from pleinair.errors import BundleError

EXTRA = "extra_embeddings"  # an input that text encoders may take beside input_ids, see Graph
AGAIN = "check the bundle with: pleinair info BUNDLE --verify"

Dtypes = dict[str, str]  # port -> the NumPy name of its numbers


def check_opened(graph: str, info: GraphInfo, inputs: Dtypes, outputs: Dtypes) -> None:
    """Raise BundleError where an opened graph has other ports, or ports of other numbers, than the manifest says."""
    for kind, found, described in (("input", inputs, info.inputs), ("output", outputs, info.outputs)):
        lost = [name for name in described if name not in found]
        if lost:
            raise BundleError(f"'{graph}' has no {kind} '{lost[0]}', which bundle.json promises; {AGAIN}")
        wrong = [name for name in described if found[name] != described[name].dtype]
        if wrong:
            name, said = wrong[0], described[wrong[0]].dtype
            raise BundleError(f"'{graph}' has {found[name]} as {kind} '{name}' where bundle.json says {said}; {AGAIN}")
    unfed = [name for name in inputs if name not in (*info.inputs, EXTRA)]
    if unfed:
        raise BundleError(f"'{graph}' wants an input '{unfed[0]}', which bundle.json does not know of; {AGAIN}")


def check_answer(graph: str, info: GraphInfo, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    """Raise BundleError where a graph returned arrays of other numbers or shapes than the manifest says.

    A dimension that has a name has one size wherever the name stands.
    """
    sizes: dict[str, int] = {}
    for name, array in inputs.items():
        if name in info.inputs and len(info.inputs[name].shape) == array.ndim:
            named = zip(info.inputs[name].shape, array.shape, strict=True)
            sizes |= {side: size for side, size in named if isinstance(side, str)}
    for name, port in info.outputs.items():
        array = outputs.get(name)
        if array is None or str(array.dtype) != port.dtype or not _of_shape(array.shape, port, sizes):
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            wanted = [sizes.get(side, side) for side in port.shape]
            raise BundleError(
                f"'{graph}' returned {found} as '{name}' where {port.dtype} {wanted} was expected; {AGAIN}"
            )


def _of_shape(shape: tuple[int, ...], port: Port, sizes: dict[str, int]) -> bool:
    """Fixed sizes as they stand there, named ones as the inputs have them."""
    if len(shape) != len(port.shape):
        return False
    sides = zip(shape, port.shape, strict=True)
    return all(size == (sizes.get(side, size) if isinstance(side, str) else side) for size, side in sides)
