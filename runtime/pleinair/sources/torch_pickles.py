"""The weights of a model in what a pickle of torch describes: which dictionary they are in, and views of storages."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pleinair.system.pickles import Elsewhere, Global, Instance

STATE = "state_dict"  # of a training checkpoint, beside its optimizer and more
PARALLEL = "module."  # before the names of what DataParallel and its kin wrap
LONGEST = 1 << 48  # numbers along a side
MOST_AXES = 8
KINDS = {  # what torch calls a storage or a kind of number -> what safetensors calls it
    **{"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"},
    **{"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8"},
    **{"BoolStorage": "BOOL", "UntypedStorage": "U8"},
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"},
    **{"int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3"},
    **{"float8_e5m2": "F8_E5M2"},
}
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
TYPED = "torch._utils._rebuild_tensor_v3"  # whose seventh argument says what its bytes are
WRAPPERS = {  # what makes a tensor of another -> whether its first argument is that, or else what makes it of the third
    "torch._utils._rebuild_parameter": True,
    "torch._utils._rebuild_parameter_with_state": True,
    "torch._tensor._rebuild_from_type_v2": False,
    "torch._tensor._rebuild_from_type": False,
}


class View(NamedTuple):
    """A tensor of numbers of a `kind`, and where they lie in the storage `key`."""

    key: str
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def kinds_of(storages: Iterable[Elsewhere]) -> dict[str, str]:
    """Key of each storage -> its kind of number."""
    return dict(filter(None, map(key_and_kind, storages)))


def key_and_kind(storage: Elsewhere) -> tuple[str, str] | None:
    """None for a storage that torch does not know."""
    try:
        word, kind, key = storage.id[:3]
        known = KINDS[kind.name.rpartition(".")[2]]
    except (TypeError, ValueError, LookupError, AttributeError):
        return None
    return (key, known) if word == "storage" and isinstance(key, str) else None


def views(weights: Mapping[str, Any]) -> dict[str, View]:
    """The tensors of a dictionary by name, without what training on several devices puts before all names."""
    found = {name: view for name, value in weights.items() if (view := view_of(value))}
    before = len(PARALLEL) if all(name.startswith(PARALLEL) for name in found) else 0
    return {name[before:]: view for name, view in found.items()}


def weights_of(root: Any) -> Mapping[str, Any]:
    """The dictionary of a model's weights: its state, where it is called so, or the one with the most tensors."""
    return max(state_dicts(root), key=lengths, default={})


def lengths(weights: Mapping[str, Any]) -> int:
    return len(views(weights))


def state_dicts(root: Any) -> list[Mapping[str, Any]]:
    """Dictionaries that may hold a model's weights, each once."""
    outer = items_of(root)
    state = items_of(outer.get(STATE))
    if views(state):
        return [state]
    inner = inside([outer])
    return [outer, *inner, *inside(inner)]


def inside(outer: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The dictionaries in dictionaries; one may be there many times."""
    values = {id(value): value for each in outer for value in each.values()}
    return [found for value in values.values() if (found := items_of(value))]


def items_of(value: Any) -> Mapping[str, Any]:
    """The items of a dictionary, of any class; empty for anything else."""
    if isinstance(value, Instance):
        return value.items
    return value if isinstance(value, dict) else {}


def view_of(value: Any) -> View | None:
    """None for what is no tensor whose numbers lie in a storage."""
    for _ in range(4):  # a parameter of a subclass of a tensor is as deep as they go
        maker = value.maker.name if isinstance(value, Instance) and isinstance(value.maker, Global) else None
        if maker in (*TENSORS, TYPED):
            return described_view(value.arguments, maker == TYPED)
        if maker not in WRAPPERS or not isinstance(value.arguments, tuple) or len(value.arguments) < 3:
            return None
        first, third = value.arguments[0], value.arguments[2]
        value = first if WRAPPERS[maker] else Instance(first, third)
    return None


def described_view(arguments: Any, typed: bool) -> View | None:
    try:
        storage, offset, shape, strides = arguments[:4]
        key, kind = key_and_kind(storage) or ("", "")
        own = KINDS[arguments[6].name.rpartition(".")[2]] if typed else kind
        fits = key and len(shape) == len(strides) <= MOST_AXES and all(map(is_count, (offset, *shape, *strides)))
    except (TypeError, ValueError, LookupError, AttributeError):
        return None
    return View(key, own, offset, tuple(shape), tuple(strides)) if fits else None


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LONGEST
