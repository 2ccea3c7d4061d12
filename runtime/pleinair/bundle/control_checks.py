"""What the manifest of a ControlNet may say."""

from collections.abc import Iterator

from pleinair.bundle.lone_parts import CONDITION, ORDERS, ControlNet
from pleinair.bundle.manifest import LATENTS, TIMESTEP, Manifest
from pleinair.bundle.ports import fits

MOST_RESIDUALS = 64
COARSEST = 64  # latents along a side that one number of a residual stands for


def lost_parts(manifest: Manifest, part: ControlNet) -> Iterator[str]:
    """What is needed and not described: its graph, and the ports of that."""
    graph = manifest.graphs.get(part.graph)
    if graph is None or set(part.residuals) - set(graph.outputs) or set(part.feeds) - set(graph.inputs):
        yield part.graph


def control_values(manifest: Manifest, part: ControlNet) -> dict[str, bool]:
    """Place in bundle.json -> whether a ControlNet can be so."""
    graph, feeds = manifest.graphs[part.graph], [*part.feeds.values()]
    told = {feed: graph.inputs[port] for port, feed in part.feeds.items()}
    return {
        "control": {LATENTS, TIMESTEP, CONDITION} <= set(feeds)
        and len(set(feeds)) == len(feeds)
        and 1 <= part.downsample <= COARSEST
        and part.order in ORDERS,
        "control: residuals": 2 <= len(part.residuals) <= MOST_RESIDUALS
        and all(1 <= coarse <= COARSEST for coarse in part.residuals.values()),
        f"graphs: {part.graph}": all(
            fits(port, graph.outputs[port], 4, {}) and isinstance(graph.outputs[port].shape[1], int)
            for port in part.residuals
        )
        and all(feed in told and fits(feed, told[feed], 4, {}) for feed in (LATENTS, CONDITION))
        and CONDITION in told
        and told[CONDITION].shape[1] in (3, "channels"),
    }
