"""What a LoRA file holds for one layer, as the change of the layer's weight: a table of kinds.

A change is added at a strength s: W + s change(W), so that strength 0 is no change. For what depends on W (OFT, IA3,
DoRA) that is linear in s too; tools that scale it otherwise agree at s = 1. Formulas: LyCORIS' `functional` and
`modules`, peft's `tuners/lora`. Weights are (out, in, ...) float32, as torch has them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod

import numpy as np

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Parts = Mapping[str, np.ndarray]  # role -> array, float32; "alpha" is (), where there is one

ALPHA = "alpha"
NORMS, ROW_NORMS = "norms", "row_norms"  # of DoRA, as LyCORIS and as peft have them


@dataclass(frozen=True)
class ChangeKind:
    """One kind of change: the roles that it `needs` and those that it `may` have beside them.

    `fits` says of the roles' shapes whether they are for a layer of a shape, `change` what they add to its weight.
    """

    name: str
    needs: frozenset[str]
    may: frozenset[str]
    fits: Callable[[Shapes, Shape], bool]
    change: Callable[[Parts, np.ndarray], np.ndarray]


def low_rank(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """up @ down, for kernels too; with a core between them, Tucker's (CP) decomposition."""
    up, down = (parts[name].reshape(len(parts[name]), -1) for name in ("up", "down"))
    if "mid" in parts:
        return scale(parts, len(down)) * tucker(parts["mid"], up.T, down)
    return scale(parts, len(down)) * (up @ down)


def fits_low_rank(shapes: Shapes, layer: Shape) -> bool:
    up, down = shapes["up"], shapes["down"]
    rank, mid = down[0], shapes.get("mid")
    whole = up[0] * prod(down[1:]) * prod(mid[2:] if mid else ())
    core = mid is None or mid[:2] == (rank, rank)
    return core and up[0] == layer[0] and prod(up[1:]) == rank and whole == prod(layer)


def hadamard(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """LoHa: two products of low rank, multiplied element by element."""
    first, second = (hadamard_half(parts, n) for n in (1, 2))
    return scale(parts, len(parts["hada_w1_b"])) * (first * second)


def hadamard_half(parts: Parts, number: int) -> np.ndarray:
    a, b = (parts[f"hada_w{number}_{side}"] for side in "ab")
    core = parts.get(f"hada_t{number}")
    whole = a @ b.reshape(len(b), -1) if core is None else tucker(core, a, b)
    return whole.reshape(len(whole), -1)


def fits_hadamard(shapes: Shapes, layer: Shape) -> bool:
    return all(fits_hadamard_half(shapes, n, layer) for n in (1, 2))


def fits_hadamard_half(shapes: Shapes, number: int, layer: Shape) -> bool:
    a, b = (shapes[f"hada_w{number}_{side}"] for side in "ab")
    core = shapes.get(f"hada_t{number}")
    if core is None:
        return len(a) == 2 and a == (layer[0], b[0]) and layer[0] * prod(b[1:]) == prod(layer)
    sides = len(a) == len(b) == 2 and a[0] == core[0] and b[0] == core[1] and a[1] == layer[0]
    return sides and a[1] * b[1] * prod(core[2:]) == prod(layer)


def kronecker(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """LoKr: the Kronecker product of a small matrix and a large one, each whole or of low rank.

    Alpha counts where one of them is of low rank.
    """
    first, second = (kronecker_half(parts, n) for n in (1, 2))
    first = first.reshape(*first.shape, *(1,) * (second.ndim - first.ndim))
    inner = next((len(parts[name]) for name in ("lokr_t2", "lokr_w2_b", "lokr_w1_b") if name in parts), None)
    return (1 if inner is None else scale(parts, inner)) * np.kron(first, second)


def kronecker_half(parts: Parts, number: int) -> np.ndarray:
    if f"lokr_w{number}" in parts:
        return parts[f"lokr_w{number}"]
    a, b = (parts[f"lokr_w{number}_{side}"] for side in "ab")
    if f"lokr_t{number}" in parts:
        return tucker(parts[f"lokr_t{number}"], a, b)
    return (a @ b.reshape(len(b), -1)).reshape(len(a), *b.shape[1:])


def fits_kronecker(shapes: Shapes, layer: Shape) -> bool:
    halves = [kronecker_shape(shapes, n) for n in (1, 2)]
    return all(halves) and halves[0][0] * halves[1][0] == layer[0] and prod(map(prod, halves)) == prod(layer)


def kronecker_shape(shapes: Shapes, number: int) -> Shape:
    """Of one half; empty where its factors do not fit each other, or are not there."""
    if f"lokr_w{number}" in shapes:
        return shapes[f"lokr_w{number}"]
    a, b = (shapes.get(f"lokr_w{number}_{side}", ()) for side in "ab")
    core = shapes.get(f"lokr_t{number}")
    if len(a) != 2 or len(b) < 2:
        return ()
    if core is None:
        return (a[0], *b[1:]) if a[1] == b[0] else ()
    return (a[1], b[1], *core[2:]) if len(b) == 2 and core[:2] == (a[0], b[0]) else ()


def whole(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """The difference itself."""
    return parts["diff"]


def fits_whole(shapes: Shapes, layer: Shape) -> bool:
    return prod(shapes["diff"]) == prod(layer) and shapes["diff"][:1] == layer[:1]


def activation_scale(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """IA3: what a layer takes or gives is multiplied by 1 + a number for each channel."""
    axis = 1 if on_input(parts) else 0
    return weight * parts["weight"].reshape([-1 if each == axis else 1 for each in range(weight.ndim)])


def on_input(parts: Parts) -> bool:
    return bool(np.any(parts["on_input"]))


def fits_activation_scale(shapes: Shapes, layer: Shape) -> bool:
    return len(layer) > 1 and prod(shapes["weight"]) in layer[:2] and prod(shapes["on_input"]) == 1


def rotation(parts: Parts, weight: np.ndarray) -> np.ndarray:
    """OFT: blocks of rows turned by R = (I + Q)(I - Q)^-1, Q = X - X^T, whose norm alpha times the rows may bound."""
    blocks = parts["oft_blocks"]  # (n, b, b)
    skewed = blocks - blocks.transpose(0, 2, 1)
    most, norm = alpha_in(parts) * len(weight), float(np.linalg.norm(skewed)) + 1e-8
    if 0 < most < norm:
        skewed = skewed * (most / norm)
    one = np.eye(blocks.shape[1], dtype=np.float32)
    turn = (one + skewed) @ np.linalg.inv(one - skewed) - one
    rows = weight.reshape(*blocks.shape[:2], -1)  # (n, b, ...)
    change = (turn.transpose(0, 2, 1) @ rows).reshape(len(weight), -1)
    if "rescale" in parts:
        factor = parts["rescale"].reshape(-1, 1)
        change = factor * change + (factor - 1) * weight.reshape(len(weight), -1)
    return change


def fits_rotation(shapes: Shapes, layer: Shape) -> bool:
    blocks, factor = shapes["oft_blocks"], shapes.get("rescale")
    square = len(blocks) == 3 and blocks[1] == blocks[2] and blocks[0] * blocks[1] == layer[0]
    return square and (factor is None or prod(factor) == layer[0])


def tucker(core: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """core (r, q, ...), a (r, out), b (q, in) -> (out, in, ...)."""
    return np.einsum("ij...,ip,jq->pq...", core, a, b, optimize=True)  # as two products, not as one sum over all axes


def alpha_in(parts: Parts) -> float:
    """The alpha of a layer; 0 where there is none."""
    return float(np.sum(parts.get(ALPHA, 0)))


def scale(parts: Parts, rank: int) -> float:
    """alpha / rank, where there is an alpha; 0, as old files have it, is none."""
    alpha = alpha_in(parts)
    return alpha / rank if alpha else 1.0


def decomposed(kind: ChangeKind, parts: Parts, weight: np.ndarray) -> np.ndarray:
    """DoRA: what W with its change becomes when its rows, or its columns, get the norms m of their own.

    peft's are those of rows; LyCORIS' are (out, 1, ...), or of columns (1, in, ...).
    """
    changed = weight + kind.change(parts, weight).reshape(weight.shape)
    magnitude = parts[NORMS] if NORMS in parts else parts[ROW_NORMS]
    axis = axis_of(magnitude.shape, weight.shape) if NORMS in parts else 0
    others = tuple(each for each in range(weight.ndim) if each != axis)
    norm = np.sqrt(np.square(changed).sum(others, keepdims=True)) + np.finfo(np.float32).eps
    return changed * (magnitude.reshape(norm.shape) / norm) - weight


def axis_of(magnitude: Shape, layer: Shape) -> int:
    """Along which axis of a weight the norms lie."""
    columns = len(magnitude) > 1 and magnitude[0] == 1 and prod(magnitude) == layer[1]
    return 1 if columns or prod(magnitude) != layer[0] else 0


def fits_decomposed(kind: ChangeKind, shapes: Shapes, layer: Shape) -> bool:
    count = prod(shapes.get(NORMS, shapes.get(ROW_NORMS, ())))
    return kind.fits(shapes, layer) and count in (layer[:2] if NORMS in shapes else layer[:1])


def row_by_row(shapes: Shapes, layer: Shape) -> bool:
    """Whether what becomes of a row of a weight depends on no other row."""
    return "oft_blocks" not in shapes and (NORMS not in shapes or axis_of(shapes[NORMS], layer) == 0)


def named(*names: str) -> frozenset[str]:
    return frozenset(names)


HALVES = [(named(f"lokr_w{n}"), named(f"lokr_w{n}_a", f"lokr_w{n}_b")) for n in (1, 2)]  # whole, or of low rank
KINDS = (
    ChangeKind("LoRA", named("up", "down"), named("mid", ALPHA), fits_low_rank, low_rank),
    ChangeKind(
        "LoHa",
        named("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
        named("hada_t1", "hada_t2", ALPHA),
        fits_hadamard,
        hadamard,
    ),
    *(
        ChangeKind("LoKr", first | second, named("lokr_t2", ALPHA), fits_kronecker, kronecker)
        for first, second in product(*HALVES)
    ),
    ChangeKind("diff", named("diff"), named(ALPHA), fits_whole, whole),
    ChangeKind("IA3", named("weight", "on_input"), named(), fits_activation_scale, activation_scale),
    ChangeKind("OFT", named("oft_blocks"), named("rescale", ALPHA), fits_rotation, rotation),
)
DECOMPOSED = ("LoRA", "LoHa", "LoKr")  # which may have norms of their own


def kind_of(roles: Iterable[str]) -> ChangeKind | None:
    """The kind of a layer's change by the roles that a file has for it; None for one that is not known here."""
    roles = frozenset(roles)
    norms = roles & {NORMS, ROW_NORMS}
    found = next((kind for kind in KINDS if kind.needs <= roles - norms <= kind.needs | kind.may), None)
    if found is None or not norms:
        return found
    if found.name not in DECOMPOSED or len(norms) > 1:
        return None
    return ChangeKind(
        name=f"DoRA ({found.name})",
        needs=found.needs | norms,
        may=found.may,
        fits=partial(fits_decomposed, found),
        change=partial(decomposed, found),
    )
