"""Small graphs and hostile bundles, written without the packages that usually write them."""

import numpy as np

from bundles import edit_manifest, light_copy, seal
from pleinair.bundle.opening import open_bundle
from pleinair.engines.graphs import open_graph
from pleinair_bench.onnx_file import field, number, port, text


def operator(kind, inputs, outputs, *attributes):
    """A node, as a field of a graph."""
    names = b"".join(text(1, name) for name in inputs) + b"".join(text(2, name) for name in outputs)
    return field(1, names + text(4, kind) + b"".join(field(5, each) for each in attributes))


def external(location, shape=(4,)):
    """The tensor w, which lies in another file."""
    pairs = {"location": location, "offset": "0", "length": str(4 * int(np.prod(shape)))}
    entries = b"".join(field(13, text(1, key) + text(2, value)) for key, value in pairs.items())
    return b"".join(number(1, side) for side in shape) + number(2, 1) + text(8, "w") + entries + number(14, 1)


def onnx_model(nodes, inputs, outputs, tensors=(), more=b""):
    """A model of operators; ports are (name, dtype, shape)."""
    graph = b"".join(nodes) + text(2, "g") + b"".join(field(5, tensor) for tensor in tensors)
    graph += b"".join(field(11, port(*each)) for each in inputs) + b"".join(field(12, port(*each)) for each in outputs)
    return number(1, 8) + field(7, graph) + field(8, number(2, 17)) + more


def with_graph(folder, content, graph="unet", name="model.onnx"):
    """A copy of storybook with these bytes as a graph, listed as they are, and no weights else."""
    light_copy(folder)
    if name.endswith(".xml"):
        (folder / graph / name).with_suffix(".bin").write_bytes(bytes(16))
    (folder / graph / name).write_bytes(content)
    return seal(folder)


def run(folder, graph, engine):
    """Open one graph of a bundle as a pipeline does, and run it once on the sizes that storybook has."""
    inputs = {
        "unet": {
            "sample": np.zeros((1, 4, 16, 16), np.float32),
            "timestep": np.ones(1, np.float32),
            "encoder_hidden_states": np.zeros((1, 77, 128), np.float32),
        },
        "vae_decoder": {"latent_sample": np.zeros((1, 4, 16, 16), np.float32)},
    }[graph]
    return open_graph(open_bundle(folder), graph, engine)(**inputs)


def listing(folder, graph, *files):
    """List further files of an ONNX graph."""

    def change(raw):
        raw["graphs"][graph]["files"]["onnx"] += [f"{graph}/{name}" for name in files]
        raw["files"].update({f"{graph}/{name}": {"size": 0, "sha256": "0" * 64} for name in files})

    edit_manifest(folder, change)
    return seal(folder)
