"""Which layers of a model the layers of a LoRA file are for."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np

from pleinair.adapters.kinds import ALPHA, ChangeKind, Shapes, kind_of, row_by_row
from pleinair.adapters.lora_file import LoraFile
from pleinair.adapters.names import DIFFUSERS, MAKERS, Meant, of_denoiser, of_text_encoder
from pleinair.bundle.manifest import Manifest
from pleinair.engines.edits import ANY, Layer

BIAS = ("diff_b", "up_bias", "b_norm")  # roles that change a layer's bias
NORM = "w_norm"
APART = (*BIAS, NORM)

GraphLayers = Mapping[str, Layer]  # path -> layer


class Networks(NamedTuple):
    """A model's name, and the graphs whose layers LoRAs change: its denoiser's and its text encoders'."""

    name: str
    denoiser: str
    encoders: tuple[str, ...]


class Rows(NamedTuple):
    """Which rows of a layer in a file are those of a layer of the model, in that one's order; it has `total`."""

    total: int
    places: np.ndarray

    def of(self, every: np.ndarray) -> np.ndarray:
        return every[self.places]

    def among(self, some: np.ndarray) -> np.ndarray:
        """These rows in their places, and zeros elsewhere."""
        every = np.zeros((self.total, *some.shape[1:]), some.dtype)
        every[self.places] = some
        return every


class Target(NamedTuple):
    """A layer of a model that a name in a file means; `rows` where the file's layer is not that one as it is."""

    graph: str
    path: str
    spelling: str
    rows: Rows | None


class Fit(NamedTuple):
    """A layer of a file that is for one of the model: the roles that apply, and the kind of change to its weight."""

    name: str
    target: Target
    kind: ChangeKind | None
    roles: frozenset[str]

    @property
    def weighs(self) -> bool:
        """Whether it changes the layer's weight."""
        return self.kind is not None or NORM in self.roles

    @property
    def shifts(self) -> bool:
        """Whether it changes the layer's bias."""
        return not self.roles.isdisjoint(BIAS)


def networks_in(manifest: Manifest) -> Networks:
    """Those of a bundle."""
    encoders = tuple(encoder.graph for encoder in manifest.text_encoders)
    return Networks(name=manifest.name, denoiser=manifest.denoiser.graph, encoders=encoders)


def targets_of(networks: Networks, graphs: Mapping[str, GraphLayers]) -> dict[str, tuple[Target, ...]]:
    """Name in a file -> the layers that it means."""
    tables = {networks.denoiser: of_denoiser(networks.denoiser, graphs[networks.denoiser])}
    for place, encoder in enumerate(networks.encoders, 1):
        number = number_of(encoder, place)
        tables[encoder] = of_text_encoder(number, len(networks.encoders), graphs[encoder])
    return {
        name: tuple(targets(graph, named, graphs[graph]))
        for graph, table in tables.items()
        for name, named in table.items()
    }


def targets(graph: str, named: Meant, layers: GraphLayers) -> Iterator[Target]:
    """The layers of a graph that are one in a file, each with its rows there."""
    shapes = [layers[path].shape for path in named.paths]
    plain = len(shapes) == 1 and not named.swapped
    ends = list(accumulate(shape[0] for shape in shapes)) if not plain and ANY not in shapes else []
    for place, path in enumerate(named.paths):
        rows = None
        if ends:
            places = np.arange(ends[place] - shapes[place][0], ends[place])
            rows = Rows(ends[-1], np.roll(places, len(places) // 2) if named.swapped else places)
        yield Target(graph, path, named.spelling, rows)


def number_of(graph: str, place: int) -> int:
    """ "text_encoder_2" -> 2."""
    number = graph.rpartition("_")[2]
    return int(number) if number.isdigit() else place


def fitting(
    file: LoraFile,
    targets: Mapping[str, tuple[Target, ...]],
    graphs: Mapping[str, GraphLayers],
    denoiser: str,
) -> list[Fit]:
    """The layers of a file that are for layers of the model.

    Of two names for one layer the first counts, and the makers' names of a denoiser's layers do not where diffusers'
    are there too.
    """
    named = {name: targets[name] for name in file.layers if name in targets}
    spellings = {each.spelling for several in named.values() for each in several if each.graph == denoiser}
    found: list[Fit] = []
    taken: set[tuple[str, str, str]] = set()
    for name, several in named.items():
        if spellings >= {DIFFUSERS, MAKERS} and any(each.spelling == MAKERS for each in several):
            continue
        fits = [fit_of(file, name, each, graphs[each.graph][each.path]) for each in several]
        places = {place for fit in fits for place in changed(fit)}
        if places and taken.isdisjoint(places) and all(fit.roles for fit in fits):
            taken |= places
            found += fits
    return found


def changed(fit: Fit) -> Iterator[tuple[str, str, str]]:
    """The arrays of a model that a layer of a file changes."""
    if fit.weighs:
        yield fit.target.graph, fit.target.path, "weight"
    if fit.shifts:
        yield fit.target.graph, fit.target.path, "bias"


def fit_of(file: LoraFile, name: str, target: Target, layer: Layer) -> Fit:
    """Which roles of a layer in a file apply to a layer of the model."""
    shapes, rows = file.shapes(name), target.rows
    if rows is not None:
        layer = Layer((rows.total, *layer.shape[1:]), layer.bias)
    own = {role: shape for role, shape in shapes.items() if role not in APART}
    kind = kind_of(own)
    if kind is not None and not (fits(kind, own, layer) and (rows is None or row_by_row(own, layer.shape))):
        kind = None
    roles = {role for role in BIAS if role in shapes and layer.bias and prod(shapes[role]) == layer.shape[0]}
    if kind is None or "down" not in own:
        roles.discard("up_bias")
    if NORM in shapes and rows is None and shapes[NORM] == layer.shape:
        roles.add(NORM)
    return Fit(name, target, kind, frozenset(roles if kind is None else roles | set(own)))


def fits(kind: ChangeKind, shapes: Shapes, layer: Layer) -> bool:
    """Whether a change is for a layer; a file from anywhere may have arrays of any shape."""
    try:
        plain = prod(shapes.get(ALPHA, ())) == 1 and all(map(prod, shapes.values()))
        return plain and (layer.shape == ANY or (len(layer.shape) > 1 and kind.fits(shapes, layer.shape)))
    except (IndexError, ValueError):
        return False
