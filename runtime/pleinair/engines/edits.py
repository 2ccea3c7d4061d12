"""Changes to a graph between reading and compiling, which leave its file as it is.

OpenVINO edits the nodes of the model it has read; ONNX Runtime is handed other initializers beside the file.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class NewWeight:
    """Another array in place of a weight, of its shape; `name` is that of the constant or initializer in the graph."""

    name: str
    array: np.ndarray = field(repr=False)


Edit = NewWeight
