"""The topologies that ship: each opens, is of an architecture that is known, and together they are small."""

from functools import cache
from itertools import groupby
from xml.parsers import expat

import pytest

from pleinair.pouring import topologies
from pleinair.pouring.forms import FORMS
from pleinair.pouring.topologies import INDEX, KEY, Hole, agrees, file_of, find, open_topologies, plain, read_topologies
from pleinair.sources.architectures import CONTROLNETS, components_of, family


def key_of(row):
    return tuple(row[part] for part in KEY)


ROWS = sorted(read_topologies()["topologies"], key=key_of)
BY_KEY = {key: list(rows) for key, rows in groupby(ROWS, key_of)}


@pytest.mark.parametrize("key", BY_KEY, ids="-".join)
def test_topologies_fit_the_models_that_they_are_of(monkeypatch, key):
    rows = BY_KEY[key]
    opened = {file_of(row): open_topologies(row) for row in rows}
    monkeypatch.setattr(topologies, "open_topologies", lambda row: opened[file_of(row)])
    for row in rows:
        assert list(opened[file_of(row)]) == row["models"]
        for model, topology in opened[file_of(row)].items():
            check(model, topology, row)
            shapes = {plain(key): shape for key, shape in topology.shapes.items()}
            assert find(*key, shapes, config_of(model, row["graph"])) is topology


@cache
def config_of(model, graph):
    if model in CONTROLNETS:
        return CONTROLNETS[model]
    part = next(part for part in family(model).parts if graph in part.graphs)
    return components_of(model)[part.folder]


def check(model, topology, row):
    """It is of the model's network, every hole in it can be filled, and what is kept is little, and whole."""
    assert agrees(config_of(model, row["graph"]), topology.config) and topology.tools == row["tools"]
    assert {hole.form for hole in topology.holes} <= set(FORMS)
    assert {hole.key for hole in topology.holes} == set(topology.shapes)
    kept = {name: [part for part in parts if not isinstance(part, Hole)] for name, parts in topology.files.items()}
    size = sum(map(topology.size, kept))
    assert sum(len(part) for parts in kept.values() for part in parts) < max(200_000, 0.02 * size)
    if row["format"] == "openvino":
        expat.ParserCreate().Parse(b"".join(kept["openvino_model.xml"]), True)


def test_all_together_are_small_and_nothing_else_lies_there():
    files = {file_of(row) for row in ROWS} | {topologies.TOPOLOGIES / INDEX}
    assert set(topologies.TOPOLOGIES.iterdir()) == files
    assert sum(file.stat().st_size for file in files) < 4_000_000
