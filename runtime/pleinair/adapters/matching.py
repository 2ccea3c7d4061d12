"""Which layers of a model the layers of a LoRA file are for, and whether it is for this kind of model at all."""

import re
from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple

from pleinair.adapters.kinds import ALPHA, ChangeKind, Shapes, kind_of
from pleinair.adapters.lora_file import LoraFile
from pleinair.adapters.names import SGM, of_denoiser, of_text_encoder
from pleinair.bundle.manifest import Manifest
from pleinair.checks import one_line
from pleinair.engines.edits import ANY, Layer
from pleinair.errors import RequestError

BIAS = ("diff_b", "up_bias", "b_norm")  # roles that change a layer's bias
NORM = "w_norm"
APART = (*BIAS, NORM)
CROSS = re.compile(r".*attn2[._](?:processor\.)?to_k")  # the layer that reads the text
FAMILIES = {768: "SD 1.x", 1024: "SD 2.x", 1280: "SDXL's refiner", 2048: "SDXL"}  # by the width of the text
TRANSFORMERS = ("double_blocks", "joint_blocks", "single_transformer_blocks")  # in names of FLUX's layers and SD 3's
SHOWN = 3  # keys that a message names

GraphLayers = Mapping[str, Layer]  # path -> layer


class Networks(NamedTuple):
    """A model's name, and the graphs whose layers LoRAs change: its denoiser's and its text encoders'."""

    name: str
    denoiser: str
    encoders: tuple[str, ...]


class Target(NamedTuple):
    """A layer of a model that a name in a file means."""

    graph: str
    path: str
    spelling: str


class Fit(NamedTuple):
    """A layer of a file that is for one of the model: the roles that apply, and the kind of change to its weight."""

    name: str
    target: Target
    kind: ChangeKind | None
    roles: frozenset[str]


def networks_in(manifest: Manifest) -> Networks:
    """Those of a bundle."""
    encoders = tuple(encoder.graph for encoder in manifest.text_encoders)
    return Networks(name=manifest.name, denoiser=manifest.denoiser.graph, encoders=encoders)


def targets_of(networks: Networks, graphs: Mapping[str, GraphLayers]) -> dict[str, Target]:
    """Name in a file -> the layer that it means."""
    tables = {networks.denoiser: of_denoiser(networks.denoiser, graphs[networks.denoiser])}
    for place, encoder in enumerate(networks.encoders, 1):
        number = number_of(encoder, place)
        tables[encoder] = of_text_encoder(number, len(networks.encoders), graphs[encoder])
    return {name: Target(graph, *found) for graph, table in tables.items() for name, found in table.items()}


def number_of(graph: str, place: int) -> int:
    """ "text_encoder_2" -> 2."""
    number = graph.rpartition("_")[2]
    return int(number) if number.isdigit() else place


def fitting(
    file: LoraFile, targets: Mapping[str, Target], graphs: Mapping[str, GraphLayers], denoiser: str
) -> list[Fit]:
    """The layers of a file that are for layers of the model; Stability's spelling is left where diffusers' is there."""
    named = {name: targets[name] for name in file.layers if name in targets}
    both = {"", SGM} <= {target.spelling for target in named.values() if target.graph == denoiser}
    found = (
        fit_of(file, name, target, graphs[target.graph][target.path])
        for name, target in named.items()
        if not (both and target.spelling == SGM)
    )
    return [fit for fit in found if fit.roles]


def fit_of(file: LoraFile, name: str, target: Target, layer: Layer) -> Fit:
    """Which roles of a layer in a file apply to a layer of the model."""
    shapes = file.shapes(name)
    own = {role: shape for role, shape in shapes.items() if role not in APART}
    kind = kind_of(own)
    if kind is not None and not fits(kind, own, layer):
        kind = None
    roles = {role for role in BIAS if role in shapes and layer.bias and prod(shapes[role]) == layer.shape[0]}
    if kind is None:
        roles.discard("up_bias")
    if NORM in shapes and shapes[NORM] == layer.shape:
        roles.add(NORM)
    return Fit(name, target, kind, frozenset(roles if kind is None else roles | set(own)))


def fits(kind: ChangeKind, shapes: Shapes, layer: Layer) -> bool:
    """Whether a change is for a layer; a file from anywhere may have arrays of any shape."""
    try:
        plain = prod(shapes.get(ALPHA, ())) == 1
        return plain and (layer.shape == ANY or (len(layer.shape) > 1 and kind.fits(shapes, layer.shape)))
    except (IndexError, ValueError):
        return False


def check_family(model: str, file: LoraFile, layers: GraphLayers, fits: bool) -> None:
    """Raise RequestError for a LoRA that reads a text of another width than the model's, or of which nothing fits."""
    here = {layer.shape[1] for path, layer in layers.items() if CROSS.fullmatch(path) and len(layer.shape) > 1}
    there = {width for name in file.layers if CROSS.fullmatch(name) for width in widths(file.shapes(name))}
    who = f"LoRA '{file.name}' is not for '{model}'"
    if here and there and not here & there:
        raise RequestError(
            f"{who}: its cross-attention reads a text {family(there)} wide, and this model's {family(here)}; choose one"
            " that was made for this kind of model"
        )
    if fits:
        return
    some = ", ".join(one_line(name, 60) for name in list(file.layers)[:SHOWN])
    if any(word in name for name in file.layers for word in TRANSFORMERS) and here:
        raise RequestError(
            f"{who}: it is for a transformer such as FLUX or SD 3, and this is a UNet; choose another one"
        )
    raise RequestError(
        f"{who}: none of its {len(file.layers)} layers ({some or 'it has none'}) has name and shape of one here; choose"
        " one that was made for this kind of model"
    )


def widths(shapes: Shapes) -> list[int]:
    """The inputs of a layer, as far as a file shows them."""
    found = [shapes[role][1] for role in ("down", "hada_w1_b", "diff") if len(shapes.get(role, ())) > 1]
    return found if "hada_t1" not in shapes else []


def family(found: Iterable[int]) -> str:
    """ "768 (SD 1.x)"."""
    return " or ".join(f"{width}{f' ({FAMILIES[width]})' if width in FAMILIES else ''}" for width in sorted(found))
