"""What is known of a graph before an engine opens it."""

from dataclasses import dataclass, field

OpenShape = tuple[int | None, ...]  # None: a side of any size


@dataclass(frozen=True)
class FoundPort:
    """An input or output as a file has it: all its names, NumPy's name of its numbers, its shape where that is said."""

    names: tuple[str, ...]
    dtype: str
    shape: OpenShape | None

    def side(self, axis: int) -> int | None:
        """The fixed size of one side, if it has one."""
        return self.shape[axis] if self.shape is not None and axis < len(self.shape) else None


@dataclass(frozen=True)
class Outline:
    """Ports in their order, how many numbers are stored in which kind, and the shapes of weights that have names.

    `ends` is how many bytes of the file of weights beside the graph are referred to, where the graph says so.
    """

    inputs: tuple[FoundPort, ...]
    outputs: tuple[FoundPort, ...]
    stored: dict[str, int]
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ends: int = 0

    def input(self, name: str) -> FoundPort | None:
        return next((each for each in self.inputs if name in each.names), None)

    def output(self, name: str) -> FoundPort | None:
        return next((each for each in self.outputs if name in each.names), None)

    def side(self, port: str, axis: int) -> int | None:
        """The fixed size of one side of an input or output, if it is there and has one."""
        found = self.input(port) or self.output(port)
        return found and found.side(axis)

    def weight_side(self, name: str, axis: int) -> int | None:
        """The size of one side of a weight by the end of its name; tools write the path to it before."""
        fitting = [each for each in self.weights if each == name or each.endswith(f".{name}")]
        shape = self.weights[min(fitting, key=len)] if fitting else ()
        return shape[axis] if axis < len(shape) else None

    @property
    def mostly(self) -> str:
        """How most of the weights are stored; fp32 where nothing is known of them."""
        return max(self.stored, key=self.stored.__getitem__, default="fp32")
