"""The topologies that ship: each opens, is of an architecture that is known, and together they are small."""

import xml.etree.ElementTree as ElementTree

import pytest

from pleinair.pouring import topologies
from pleinair.pouring.forms import FORMS
from pleinair.pouring.topologies import INDEX, Hole, agrees, file_of, find, open_topology, plain, read_index
from pleinair.sources.architectures import ARCHITECTURES
from pleinair.sources.families import STABLE_DIFFUSION

ROWS = read_index()["topologies"]
PARTS = {graph: part.folder for part in STABLE_DIFFUSION.parts for graph in part.graphs}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: file_of(row).stem)
def test_a_topology_fits_the_model_that_it_is_of(row):
    topology = open_topology(row)
    config = ARCHITECTURES[row["model"]][PARTS[row["graph"]]]
    assert agrees(config, topology.config)
    shapes = {plain(key): shape for key, shape in topology.shapes.items()}
    found = find(row["graph"], row["weights"], row["format"], shapes, config)
    assert (found.shapes, found.tools) == (topology.shapes, row["tools"])
    assert {hole.form for hole in topology.holes} <= set(FORMS)
    assert {hole.key for hole in topology.holes} == set(topology.shapes)
    kept = {name: [part for part in parts if not isinstance(part, Hole)] for name, parts in topology.files.items()}
    assert sum(len(part) for parts in kept.values() for part in parts) < 0.02 * sum(map(topology.size, kept))
    if row["format"] == "openvino":
        ElementTree.fromstring(b"".join(kept["openvino_model.xml"]))


def test_all_together_are_small_and_nothing_else_lies_there():
    files = {file_of(row) for row in ROWS} | {topologies.TOPOLOGIES / INDEX}
    assert set(topologies.TOPOLOGIES.iterdir()) == files
    assert sum(file.stat().st_size for file in files) < 4_000_000
