"""What a graph says of itself and what it returns, held against what the bundle's manifest says of it."""

import numpy as np

from pleinair.bundle.manifest import GraphInfo, Port
from pleinair.errors import BundleError, RequestError

EXTRA = "extra_embeddings"  # an input that text encoders may take beside input_ids, see Graph
AGAIN = "check the bundle with: pleinair info BUNDLE --verify"

Dtypes = dict[str, str]  # port -> the NumPy name of its numbers
Arrays = dict[str, np.ndarray]
CHOSEN = {4: (0, 2, 3), 3: (0, 1), 2: (0,)}  # rank of an input -> the sides that follow from what a caller asks for


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


def inputs_of_ports(info: GraphInfo, inputs: Arrays) -> Arrays:
    """Arrays as a graph's ports take them: in their numbers, a number alone where a port has no sides.

    Fractions are cut off for whole numbers, as diffusers and optimum do with timesteps.
    """
    return {
        name: _of_port(array, info.inputs[name]) if name in info.inputs else array for name, array in inputs.items()
    }


def _of_port(array: np.ndarray, port: Port) -> np.ndarray:
    alone = array.reshape(()) if not port.shape and array.size == 1 else array
    return alone.astype(port.dtype, copy=False)


def real_numbers(outputs: Arrays) -> Arrays:
    """Arrays as everything here counts with them: real numbers in float32."""
    return {name: array.astype(np.float32, copy=False) for name, array in outputs.items()}


def check_sizes(graph: str, info: GraphInfo, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise RequestError where a graph was exported for other sizes than it is to be called with."""
    for name, shape in shapes.items():
        port = info.inputs.get(name)
        chosen = CHOSEN.get(len(shape), ()) if port is not None and len(port.shape) == len(shape) else ()
        if any(isinstance(port.shape[axis], int) and port.shape[axis] != shape[axis] for axis in chosen):
            raise RequestError(
                f"'{graph}' was exported for a '{name}' of {_sides(port.shape)} only and is asked for {_sides(shape)};"
                " choose the --size that it was made for, shorter prompts and --batch 1, if need be --two-calls, or"
                " another --model"
            )


def _sides(shape: tuple[int | str, ...]) -> str:
    return "x".join("any" if isinstance(side, str) else str(side) for side in shape)


def check_answer(graph: str, info: GraphInfo, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    """Raise BundleError where a graph returned arrays of other numbers or shapes than the manifest says.

    A dimension that has a name has one size wherever the name stands; of rows, some inputs may have fewer.
    """
    sizes: dict[str, int] = {}
    for name, array in inputs.items():
        if name in info.inputs and len(info.inputs[name].shape) == array.ndim:
            for side, size in zip(info.inputs[name].shape, array.shape, strict=True):
                if isinstance(side, str):
                    sizes[side] = max(size, sizes.get(side, 0))
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
