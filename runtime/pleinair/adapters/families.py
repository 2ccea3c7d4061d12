"""Whether a LoRA is made for a kind of model at all, and what its maker's model has otherwise."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from pleinair.adapters.kinds import Shapes
from pleinair.adapters.lora_file import LoraFile
from pleinair.adapters.matching import Fit, GraphLayers, Networks, Target
from pleinair.checks import one_line
from pleinair.engines.edits import ANY
from pleinair.errors import RequestError

CROSS = re.compile(r".*attn2[._](?:processor\.)?to_k")  # the layer that reads the text
WIDTHS = {768: "SD 1.x", 1024: "SD 2.x", 1280: "SDXL's refiner", 2048: "SDXL"}  # of the text
TEXT = re.compile(r"(base_model\.model\.)?(lora_te|lycoris_te|oft_te|text_encoder|text_model)")
TRANSFORMER = re.compile(r".*(double|single|joint|transformer)_blocks[._]\d+[._](?!.*attn2).*")
UNET = re.compile(r".*((down|up|input|output)_blocks[._]\d|mid_block[._]|middle_block[._])")
JOINT = ".attn.add_k_proj"  # of transformers that read the text beside the picture
SHOWN = 3  # keys that a message names
KIND = "choose one that was made for this kind of model"


def check_family(
    networks: Networks,
    file: LoraFile,
    graphs: Mapping[str, GraphLayers],
    targets: Mapping[str, Sequence[Target]],
    found: Sequence[Fit],
) -> None:
    """Raise RequestError for a LoRA that reads a text of another width than the model's, or of which nothing fits.

    What is for a denoiser must fit this one, though some of it may be for a text encoder that models share.
    """
    layers = graphs[networks.denoiser]
    who = f"LoRA '{one_line(file.name, 80)}' is not for '{networks.name}'"
    joint = any(path.endswith(JOINT) for path in layers)
    here = set() if joint else widths_here(layers)
    there = {width for name in file.layers if CROSS.fullmatch(name) for width in widths(file.shapes(name))}
    if here and there and not here & there:
        raise RequestError(
            f"{who}: its cross-attention reads a text {told(there)} wide, and this model's {told(here)}; {KIND}"
        )
    denoising = [name for name in file.layers if not TEXT.match(name)]
    if any(fit.target.graph == networks.denoiser for fit in found) or (found and not denoising):
        return
    names = denoising or list(file.layers)
    unet = any(UNET.match(path) for path in layers)
    if unet and not any(map(UNET.match, names)) and any(map(TRANSFORMER.fullmatch, names)):
        raise RequestError(f"{who}: it is for a transformer such as FLUX or SD 3, and this is a UNet; {KIND}")
    if joint and any(map(UNET.match, names)):
        raise RequestError(f"{who}: it is for a UNet, as SD 1, 2 and XL have, and this is a transformer; {KIND}")
    if any(len(file.shapes(name).get("oft_blocks", ())) == 4 for name in names):
        raise RequestError(f"LoRA '{one_line(file.name, 80)}' is a BOFT, which is not supported; choose another")
    if sizes := other_sizes(file, graphs, targets):
        raise RequestError(f"{who}: {sizes}; {KIND}")
    some = ", ".join(one_line(name, 60) for name in names[:SHOWN])
    raise RequestError(f"{who}: no layer here has the name and the shape of one of its own ({some}); {KIND}")


def widths_here(layers: GraphLayers) -> set[int]:
    """How wide the texts are that a denoiser reads."""
    return {layer.shape[1] for path, layer in layers.items() if CROSS.fullmatch(path) and len(layer.shape) > 1}


def widths(shapes: Shapes) -> list[int]:
    """The inputs of a layer, as far as a file shows them."""
    found = [shapes[role][1] for role in ("down", "hada_w1_b", "diff") if len(shapes.get(role, ())) > 1]
    return found if "hada_t1" not in shapes else []


def told(found: Iterable[int]) -> str:
    """ "768 (SD 1.x)"."""
    return " or ".join(f"{width}{f' ({WIDTHS[width]})' if width in WIDTHS else ''}" for width in sorted(found))


def other_sizes(
    file: LoraFile, graphs: Mapping[str, GraphLayers], targets: Mapping[str, Sequence[Target]]
) -> str | None:
    """What the first layer of a file that has the name of one here has otherwise; None where sizes do not tell."""
    for name in file.layers:
        shapes, target = file.shapes(name), next(iter(targets.get(name, ())), None)
        if target is None or not {"up", "down"} <= set(shapes) or not (shapes["up"] and shapes["down"]):
            continue
        layer = graphs[target.graph][target.path].shape
        if layer == ANY:
            continue
        rows = target.rows.total if target.rows else layer[0]
        there, here = (shapes["up"][0], prod(shapes["down"][1:])), (rows, prod(layer[1:]))
        if there != here:
            outs = [f"{inner} numbers and gives {out}" for out, inner in (there, here)]
            return f"its {one_line(name, 80)} takes {outs[0]}, and this model's takes {outs[1]}"
    return None
