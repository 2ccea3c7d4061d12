"""Changes to a graph between reading and compiling, which leave its file as it is.

OpenVINO edits the nodes of the model it has read; ONNX Runtime is handed other initializers beside the file, and other
bytes of it for nodes that are new.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

ANY: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layer:
    """A layer of a graph: the shape of its weight as torch has it, (out, in, ...), and whether it has a bias.

    An engine that has no weights says ANY of it.
    """

    shape: tuple[int, ...]
    bias: bool = False


@dataclass(frozen=True)
class Change:
    """What becomes of a layer's weight (out, in, ...) and of its bias (out,), float32; None: it stays as it is."""

    weight: Callable[[np.ndarray], np.ndarray] | None = None
    bias: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class NewWeights:
    """Other weights in some layers of a graph, by their paths, made of its own when it is opened, one layer at a time.

    `made_of` tells one such edit from others: graphs are kept by it.
    """

    made_of: Hashable
    changes: Mapping[str, Change] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Residuals:
    """Ports of a UNet that add to its skip connections and to its middle, for what ControlNets say.

    `channels` are those of the skip connections, in the order in which the network makes them, and then those of the
    middle. `name` is the ControlNet's, for errors.
    """

    channels: tuple[int, ...]
    name: str = field(compare=False, default="")

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of its ports, which are those of diffusers' arguments; the one for the middle stands last."""
        return (*(f"{SKIP}.{place}" for place in range(len(self.channels) - 1)), MIDDLE)


@dataclass(frozen=True)
class Unrounded:
    """A W8A8 graph that computes in float: its layers read numbers as they are; weights stay as they are stored."""


@dataclass(frozen=True)
class Tabulated:
    """A denoiser whose layers that follow from settled ports alone (the time's, say) are computed before all others.

    `calls` are what those ports will be told, each of them once. What the layers make of them is kept, and not the
    layers; a call that is not among them computes as well. Engines that cannot do so compute the graph as it is.
    """

    made_of: Hashable
    calls: Sequence[Mapping[str, np.ndarray]] = field(compare=False, repr=False)

    @classmethod
    def of(cls, calls: Iterable[Mapping[str, np.ndarray]]) -> "Tabulated":
        """That of these calls, without those that say the same as another."""
        different = {told_apart(call): call for call in calls}
        return cls(tuple(different), tuple(different.values()))

    @property
    def ports(self) -> frozenset[str]:
        """The names of the settled ports."""
        return frozenset(port for call in self.calls for port in call)


def told_apart(call: Mapping[str, np.ndarray]) -> Hashable:
    """What is equal for two calls that say the same."""
    return tuple((port, array.shape, array.tobytes()) for port, array in sorted(call.items()))


Edit = NewWeights | Residuals | Unrounded | Tabulated
SKIP, MIDDLE = "down_block_additional_residual", "mid_block_additional_residual"


def edited(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Those edits that ask for another graph, and not for the same one to compute otherwise."""
    return tuple(edit for edit in edits if not isinstance(edit, Unrounded))
