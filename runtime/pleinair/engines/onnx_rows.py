"""What is known of the arrays of an ONNX graph before it runs: their sides, and which of them have rows as latents do.

Sides and sizes are whole numbers, ROWS for as many as there are latents, or None for others. `RULES` say of an operator
what it answers to what it reads, where each row of it follows from the same row: operators without a rule, and without
an answer by theirs, may mix rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pleinair.bundle.onnx_nodes import SHORT, Node, lists_of, tensor_of
from pleinair.engines.onnx_sizes import ROWS, Sides, counted


class KnownArray(NamedTuple):
    """An array: its sides, and its numbers where it is a whole number or a list of them; None where that is not known.

    Rows are the first axis of an array, or are counted among its numbers. Those of one that follows from their number
    alone are `equal` to each other.
    """

    sides: Sides | None = None
    numbers: Sides | None = None
    equal: bool = False

    @property
    def rowed(self) -> bool:
        return bool(self.sides) and self.sides[0] == ROWS

    @property
    def follows(self) -> bool:
        """Whether it follows from the latents."""
        return self.rowed or ROWS in (self.numbers or ())


Read = Sequence[KnownArray]
Rule = Callable[[bytes, Node, Read], KnownArray | None]


def answered(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """What an operator answers to what it reads; None where it may mix rows, or where no more is known."""
    rule = RULES.get(node.op)
    found = rule(content, node, read) if rule and len(node.outputs) == 1 else None
    if found is None or found.sides is None:
        return None
    return found._replace(equal=found.rowed and all(each.equal for each in read if each.rowed))


def constant(content: bytes, node: Node) -> KnownArray:
    """What a Constant is."""
    tensor, numbers = tensor_of(content, node), lists_of(content, node).get("value_ints")
    if tensor is None:
        return KnownArray((len(numbers),), numbers) if numbers else KnownArray()
    return KnownArray(tensor.facts.shape, tensor.numbers)


def same_rank(sides: Sides) -> Sides:
    """Sides of an array with rows of which no more is known."""
    return (ROWS, *[None] * (len(sides) - 1))


def number_by_number(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Each number by itself, and beside others in its place."""
    sides = spread([each.sides for each in read])
    if sides is None:
        return None
    if all(each.numbers is not None for each in read) and len(sides) < 2:
        numbers = counted(node.op, [each.numbers for each in read])
        return None if numbers is None else KnownArray(sides, numbers)
    return None if any(ROWS in (each.numbers or ()) for each in read) else KnownArray(sides)


def spread(shapes: Sequence[Sides | None]) -> Sides | None:
    """The sides of arrays that are spread to each other's; None where rows would not stay the first axis."""
    if any(sides is None for sides in shapes):
        return None
    axes = max(map(len, shapes))
    found = []
    for axis in range(-axes, 0):
        here = [sides[axis] for sides in shapes if len(sides) >= -axis]
        if ROWS in here:
            if axis != -axes or any(side not in (ROWS, 1) for side in here):
                return None
            found.append(ROWS)
        else:
            longer = {side for side in here if side != 1}
            found.append(1 if not longer else longer.pop() if len(longer) == 1 else None)
    return tuple(found)


def quantizes(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """By one scale, or by scales along another axis than the first."""
    image, scale = read[0], read[1].sides
    if image.sides is None or scale is None or any(each.follows for each in read[1:]):
        return None
    if not image.rowed or scale in ((), (1,)):
        return KnownArray(image.sides)
    within = len(scale) == 1 and node.whole.get("axis", 1) % len(image.sides) > 0
    return KnownArray(image.sides) if within else None


def image_by_image(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Convolutions and norms of images, with weights that do not follow from them."""
    if not read[0].rowed or len(read[0].sides) < 3 or any(each.follows for each in read[1:]):
        return None
    return KnownArray(same_rank(read[0].sides))


def normed(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Along the last axes, the first not among them."""
    if not read[0].rowed or any(each.follows for each in read[1:]):
        return None
    return KnownArray(read[0].sides) if node.whole.get("axis", -1) % len(read[0].sides) > 0 else None


def averages(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Along other axes than the first, which stay."""
    axes = read[1].numbers if len(read) > 1 else lists_of(content, node).get("axes")
    if not read[0].rowed or not axes or not node.whole.get("keepdims", 1):
        return None
    within = all(isinstance(axis, int) and axis % len(read[0].sides) > 0 for axis in axes)
    return KnownArray(same_rank(read[0].sides)) if within else None


def multiplies(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Matrices of each row times others of the same row, or rows times one matrix."""
    one, other = read
    if not one.rowed or other.sides is None:
        return None
    alike = other.rowed and len(one.sides) == len(other.sides) > 2
    single = not other.follows and len(other.sides) == 2 <= len(one.sides)
    return KnownArray(same_rank(one.sides)) if alike or single else None


def linear(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Rows times a matrix, and a bias that is the same for all of them."""
    rows, matrix, *bias = read
    plain = rows.rowed and len(rows.sides) == 2 and not node.whole.get("transA") and not matrix.follows
    spreads = all(each.sides is not None and (len(each.sides) < 2 or each.sides[0] == 1) for each in bias)
    return KnownArray(same_rank(rows.sides)) if plain and spreads else None


def attends(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Attention to tokens of the same row, without a mask."""
    alike = len(read) == 3 and all(each.rowed and len(each.sides) == 3 for each in read)
    return KnownArray(same_rank(read[0].sides)) if alike else None


def reshapes(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Only what is within a row."""
    array, target = read[0], read[1].numbers
    if array.numbers is not None:
        return KnownArray((len(array.numbers),), array.numbers) if target == (-1,) else None
    if not array.rowed or not target or ROWS in target[1:]:
        return None
    first = target[0] == ROWS or (target[0] == 0 and not node.whole.get("allowzero"))
    others = (side if isinstance(side, int) and side > 0 else None for side in target[1:])
    return KnownArray((ROWS, *others)) if first else None


def expands(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """What is the same for all rows, or has them."""
    sides, target = read[0].sides, read[1].numbers
    if sides is None or not target or ROWS in target[1:] or read[0].numbers is not None:
        return None
    found = spread([sides, tuple(side if side == ROWS else None for side in target)])
    return KnownArray(found) if found and found[0] == ROWS else None


def turns(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Other axes than the first."""
    sides, order = read[0].sides, lists_of(content, node).get("perm", ())
    if sides is None or sorted(order) != [*range(len(sides))] or (read[0].rowed and order[0] != 0):
        return None
    return KnownArray(tuple(sides[axis] for axis in order))


def unsqueezes(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Behind the first axis; a number becomes a list."""
    axes = read[1].numbers if len(read) > 1 else lists_of(content, node).get("axes")
    array = read[0]
    if not axes or array.sides is None or not all(isinstance(axis, int) for axis in axes):
        return None
    if array.numbers is not None:
        return KnownArray((1,), array.numbers) if array.sides == () and len(axes) == 1 else None
    sides = list(array.sides)
    for axis in sorted(axis % (len(array.sides) + len(axes)) for axis in axes):
        sides.insert(axis, 1)
    return KnownArray(tuple(sides)) if sides[:1] == [ROWS] or not array.follows else None


def joins(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Lists, and arrays along another axis than the first."""
    if all(each.numbers is not None and len(each.sides) == 1 for each in read):
        numbers = tuple(number for each in read for number in each.numbers)
        return KnownArray((len(numbers),), numbers) if len(numbers) <= SHORT else None
    if not all(each.rowed for each in read) or len({len(each.sides) for each in read}) > 1:
        return None
    return KnownArray(same_rank(read[0].sides)) if (node.axis or 0) % len(read[0].sides) > 0 else None


def cuts(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Along other axes than the first."""
    axes = read[3].numbers if len(read) > 3 else None
    if not read[0].rowed or not axes or not all(isinstance(axis, int) for axis in axes):
        return None
    return KnownArray(same_rank(read[0].sides)) if all(axis % len(read[0].sides) for axis in axes) else None


def measures(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """The sides as numbers."""
    numbers = read[0].sides[node.whole.get("start", 0) : node.whole.get("end")] if read[0].sides is not None else None
    return None if numbers is None else KnownArray((len(numbers),), numbers)


def picks(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """Numbers of a list."""
    numbers, places = read[0].numbers, read[1].numbers
    if numbers is None or places is None or any(at not in range(-len(numbers), len(numbers)) for at in places):
        return None
    return KnownArray(read[1].sides, tuple(numbers[at] for at in places))


def fills(content: bytes, node: Node, read: Read) -> KnownArray | None:
    """A list of one number; ONNX has a fraction where none is said."""
    value, size = tensor_of(content, node), read[0].numbers
    if value is None or value.numbers is None or size is None or len(size) != 1 or size[0] not in range(SHORT + 1):
        return None
    return KnownArray(size, value.numbers * size[0])


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Equal", "Where"), number_by_number),
    **dict.fromkeys(("Cast", "Identity", "Sigmoid", "Sin", "Cos", "Erf", "Gelu", "Sqrt", "Tanh"), number_by_number),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantizes),
    **dict.fromkeys(("Conv", "GroupNormalization", "InstanceNormalization"), image_by_image),
    **dict.fromkeys(("LayerNormalization", "Softmax"), normed),
    "ReduceMean": averages,
    "MatMul": multiplies,
    "Gemm": linear,
    "MultiHeadAttention": attends,
    "Reshape": reshapes,
    "Expand": expands,
    "Transpose": turns,
    "Unsqueeze": unsqueezes,
    "Concat": joins,
    "Slice": cuts,
    "Shape": measures,
    "Gather": picks,
    "ConstantOfShape": fills,
}
