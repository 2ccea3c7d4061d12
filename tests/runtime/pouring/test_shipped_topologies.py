"""The topologies that ship: each opens, is of an architecture that is known, and together they are small."""

import xml.etree.ElementTree as ElementTree

import pytest

from pleinair.pouring import topologies
from pleinair.pouring.forms import FORMS
from pleinair.pouring.topologies import INDEX, KEY, Hole, agrees, file_of, find, open_topologies, plain, read_index
from pleinair.sources.architectures import ARCHITECTURES, family

ROWS = read_index()["topologies"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: file_of(row).stem)
def test_a_topology_fits_the_model_that_it_is_of(row):
    opened = open_topologies(row)
    assert list(opened) == row["models"]
    for model, topology in opened.items():
        part = next(part for part in family(model).parts if row["graph"] in part.graphs)
        config = ARCHITECTURES[model][part.folder]
        assert agrees(config, topology.config)
        assert {hole.form for hole in topology.holes} <= set(FORMS)
        assert {hole.key for hole in topology.holes} == set(topology.shapes)
        kept = {name: [part for part in parts if not isinstance(part, Hole)] for name, parts in topology.files.items()}
        assert sum(len(part) for parts in kept.values() for part in parts) < 0.02 * sum(map(topology.size, kept))
        if row["format"] == "openvino":
            ElementTree.fromstring(b"".join(kept["openvino_model.xml"]))
    shapes = {plain(key): shape for key, shape in topology.shapes.items()}
    found = find(*(row[part] for part in KEY), shapes, config)
    assert (found.shapes, found.config, found.tools) == (topology.shapes, topology.config, row["tools"])


def test_all_together_are_small_and_nothing_else_lies_there():
    files = {file_of(row) for row in ROWS} | {topologies.TOPOLOGIES / INDEX}
    assert set(topologies.TOPOLOGIES.iterdir()) == files
    assert sum(file.stat().st_size for file in files) < 4_000_000
