"""What a pickle describes, told without making any of it: nothing that it names is imported, and nothing is called."""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

MOST = 1_000_000  # steps of a pickle; a training checkpoint of SDXL with all its optimizer takes a quarter of that
LONGEST = 1000  # characters of a name; each step may join the same long ones


class Global(NamedTuple):
    """A class or a function by its full name."""

    name: str


class Elsewhere(NamedTuple):
    """What lies outside the pickle under an id."""

    id: Any


@dataclass(eq=False, slots=True)
class Instance:
    """What calling `maker` with `arguments` would make, the `items` that would be set in it, and its `state`."""

    maker: Any
    arguments: Any
    items: dict[str, Any] = field(default_factory=dict)
    state: Any = None


@dataclass(eq=False, slots=True)
class Pickled:
    """What a pickle describes, of containers and the three above; the names in it, and what lies elsewhere."""

    value: Any
    names: set[str]
    elsewhere: list[Elsewhere]


class Stack:
    """What a pickle's steps work on."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.below: list[list[Any]] = []  # what lies below each mark
        self.memo: dict[int, Any] = {}
        self.names: set[str] = set()
        self.elsewhere: list[Elsewhere] = []

    def push(self, value: Any) -> None:
        self.values.append(value)

    def pop(self) -> Any:
        return self.values.pop()

    def since_mark(self) -> list[Any]:
        found, self.values = self.values, self.below.pop()
        return found

    def named(self, *parts: str) -> Global:
        if sum(map(len, parts)) > LONGEST:
            raise ValueError("a name in it is too long")
        name = ".".join(parts)
        self.names.add(name)
        return Global(name)

    def outside(self, id: Any) -> Elsewhere:
        self.elsewhere.append(Elsewhere(id))
        return self.elsewhere[-1]


def read_pickle(stream: IO[bytes]) -> Pickled:
    """What the next pickle of a stream describes; the stream ends behind it. Raises ValueError for a damaged one."""
    stack = Stack()
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(stream)):
            if number == MOST:
                raise ValueError("it has too many parts")
            if code.name == "STOP":
                return Pickled(stack.pop(), stack.names, stack.elsewhere)
            STEPS[code.name](stack, argument)
    except (LookupError, TypeError, OverflowError, AttributeError) as error:
        raise ValueError(f"it is damaged, at '{code.name}'") from error
    raise ValueError("it does not end")


def push(stack: Stack, argument: Any) -> None:
    stack.push(argument)


def pushing(made: Callable[[], Any]) -> Callable[[Stack, Any], None]:
    """A step that pushes a new value."""

    def step(stack: Stack, _: Any) -> None:
        stack.push(made())

    return step


def constant(value: bool | None) -> Callable[[Stack, Any], None]:
    def step(stack: Stack, _: Any) -> None:
        stack.push(value)

    return step


def nothing(_stack: Stack, _argument: Any) -> None:
    pass


def mark(stack: Stack, _: Any) -> None:
    stack.below.append(stack.values)
    stack.values = []


def pop(stack: Stack, _: Any) -> None:
    if stack.values:
        stack.pop()
    else:
        stack.since_mark()


def pop_mark(stack: Stack, _: Any) -> None:
    stack.since_mark()


def duplicate(stack: Stack, _: Any) -> None:
    stack.push(stack.values[-1])


def collected(kind: Callable[[list], Any]) -> Callable[[Stack, Any], None]:
    """A step that makes a container of all that lies above the last mark."""

    def step(stack: Stack, _: Any) -> None:
        found = stack.since_mark()
        stack.push(kind(found))

    return step


def gathered(count: int) -> Callable[[Stack, Any], None]:
    """A step that makes a tuple of the last values."""

    def step(stack: Stack, _: Any) -> None:
        stack.push(tuple(stack.pop() for _ in range(count))[::-1])

    return step


def append(stack: Stack, _: Any) -> None:
    extend(stack.values[-2], [stack.pop()])


def appends(stack: Stack, _: Any) -> None:
    found = stack.since_mark()
    extend(stack.values[-1], found)


def extend(target: Any, values: list[Any]) -> None:
    """What is appended to anything but a list is of no use here."""
    if isinstance(target, list):
        target.extend(values)


def set_item(stack: Stack, _: Any) -> None:
    value, key = stack.pop(), stack.pop()
    put(stack.values[-1], [key, value])


def set_items(stack: Stack, _: Any) -> None:
    found = stack.since_mark()
    put(stack.values[-1], found)


def put(target: Any, pairs: list[Any]) -> None:
    """Set keys and values, which follow each other."""
    items = target.items if isinstance(target, Instance) else target
    if isinstance(items, dict):
        items |= mapped(pairs)


def mapped(pairs: list[Any]) -> dict[str, Any]:
    """Without keys of other kinds: to hash a tuple of tuples can take for ever, and a long number each time."""
    return {key: value for key, value in zip(pairs[::2], pairs[1::2], strict=True) if isinstance(key, str)}


def named(stack: Stack, argument: str) -> None:
    stack.push(stack.named(*argument.split(" ", 1)))


def named_by_stack(stack: Stack, _: Any) -> None:
    name, module = stack.pop(), stack.pop()
    stack.push(stack.named(module, name))


def numbered(stack: Stack, argument: int) -> None:
    stack.push(stack.named(f"extension {argument}"))


def called(stack: Stack, _: Any) -> None:
    arguments, maker = stack.pop(), stack.pop()
    stack.push(Instance(maker, arguments))


def called_with_keywords(stack: Stack, _: Any) -> None:
    stack.pop()
    called(stack, None)


def called_since_mark(stack: Stack, _: Any) -> None:
    maker, *arguments = stack.since_mark()
    stack.push(Instance(maker, tuple(arguments)))


def named_and_called(stack: Stack, argument: str) -> None:
    arguments = stack.since_mark()
    named(stack, argument)
    stack.push(Instance(stack.pop(), tuple(arguments)))


def build(stack: Stack, _: Any) -> None:
    state = stack.pop()
    if isinstance(stack.values[-1], Instance):
        stack.values[-1].state = state


def remember(stack: Stack, place: int) -> None:
    stack.memo[place] = stack.values[-1]


def remember_next(stack: Stack, _: Any) -> None:
    stack.memo[len(stack.memo)] = stack.values[-1]


def recall(stack: Stack, place: int) -> None:
    stack.push(stack.memo[place])


def elsewhere(stack: Stack, argument: Any) -> None:
    stack.push(stack.outside(argument))


def elsewhere_by_stack(stack: Stack, _: Any) -> None:
    stack.push(stack.outside(stack.pop()))


VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
STEPS: dict[str, Callable[[Stack, Any], None]] = {  # by what pickletools calls them
    **dict.fromkeys(VALUES, push),
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), recall),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), numbered),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), called),
    "NONE": constant(None),
    "NEWTRUE": constant(True),
    "NEWFALSE": constant(False),
    "NEXT_BUFFER": constant(None),
    "EMPTY_LIST": pushing(list),
    "EMPTY_TUPLE": pushing(tuple),
    "EMPTY_DICT": pushing(dict),
    "EMPTY_SET": pushing(list),
    "MARK": mark,
    "POP": pop,
    "POP_MARK": pop_mark,
    "DUP": duplicate,
    "LIST": collected(list),
    "TUPLE": collected(tuple),
    "DICT": collected(mapped),
    "FROZENSET": collected(list),
    "TUPLE1": gathered(1),
    "TUPLE2": gathered(2),
    "TUPLE3": gathered(3),
    "APPEND": append,
    "APPENDS": appends,
    "ADDITEMS": appends,
    "SETITEM": set_item,
    "SETITEMS": set_items,
    "GLOBAL": named,
    "STACK_GLOBAL": named_by_stack,
    "INST": named_and_called,
    "OBJ": called_since_mark,
    "NEWOBJ_EX": called_with_keywords,
    "BUILD": build,
    "MEMOIZE": remember_next,
    "PERSID": elsewhere,
    "BINPERSID": elsewhere_by_stack,
}
