"""Changes to a graph between reading and compiling, which leave its file as it is.

OpenVINO edits the nodes of the model it has read; ONNX Runtime is handed other initializers beside the file, and other
bytes of it for nodes that are new.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class NewWeight:
    """Another array in place of a weight, of its shape; `name` is that of the constant or initializer in the graph."""

    name: str
    array: np.ndarray = field(repr=False)


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


Edit = NewWeight | Residuals
SKIP, MIDDLE = "down_block_additional_residual", "mid_block_additional_residual"
