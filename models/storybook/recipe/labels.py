"""Reads the labels of a scene from a feature vector: the loss, and how often it is right."""

import torch
from torch import Tensor
from torch.nn import functional as F

from recipe.scenes import COLOURS, DRAWINGS, GROUNDS, HELD_OUT, HOURS, KINDS, RELIEFS, SIDES, SIZES

PLACE = (len(HOURS), len(GROUNDS), len(RELIEFS), 2, 2)  # the last two: sun or moon, clouds
BY_KIND = (len(COLOURS) + 1, len(SIDES), len(SIZES), DRAWINGS)
SPLITS = (*PLACE, *(len(KINDS) * choices for choices in BY_KIND))
OUTPUTS = sum(SPLITS)
FIRST_COLOUR, FIRST_SIDE, FIRST_SIZE, FIRST_DRAWING = (len(PLACE) + index * len(KINDS) for index in range(4))
COLOUR_COLUMNS, SIDE_COLUMNS, SIZE_COLUMNS, DRAWING_COLUMNS = (
    slice(first, first + len(KINDS)) for first in (FIRST_COLOUR, FIRST_SIDE, FIRST_SIZE, FIRST_DRAWING)
)
PLACE_WEIGHTS = (1.0, 1.0, 1.0, 0.3, 0.3)
ABSENT_WEIGHT = 0.3
NEVER = -1e4


def split_outputs(outputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Scores of what is told of the place, and per kind of its colour (first: absent), side, size and drawing."""
    parts = outputs.split(SPLITS, -1)
    by_kind = [part.unflatten(-1, (len(KINDS), -1)) for part in parts[len(PLACE) :]]
    return list(parts[: len(PLACE)]), by_kind


def seen_in_training() -> Tensor:
    """Which colours each kind has in training, absence first."""
    return torch.tensor([[True, *((kind, colour) not in HELD_OUT for colour in COLOURS)] for kind in KINDS])


def labels_loss(outputs: Tensor, labels: Tensor, only_seen: bool = False) -> Tensor:
    """Cross entropy of all labels; `only_seen` keeps held-out pairs from being taught as impossible."""
    place, (colours, *rest) = split_outputs(outputs)
    if only_seen:
        colours = colours.masked_fill(~seen_in_training().to(outputs.device), NEVER)
    weight = torch.ones(len(COLOURS) + 1, device=outputs.device)
    weight[0] = ABSENT_WEIGHT
    total = 3 * F.cross_entropy(colours.flatten(0, 1), labels[:, COLOUR_COLUMNS].flatten(), weight)
    for column, (scores, share) in enumerate(zip(place, PLACE_WEIGHTS, strict=True)):
        total = total + share * F.cross_entropy(scores, labels[:, column])
    # A batch without any object has no sides to learn.
    if (labels[:, SIDE_COLUMNS] >= 0).any():
        for scores, columns in zip(rest, (SIDE_COLUMNS, SIZE_COLUMNS, DRAWING_COLUMNS), strict=True):
            total = total + F.cross_entropy(scores.flatten(0, 1), labels[:, columns].flatten(), ignore_index=-1)
    return total


def accuracies(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares that are right; colour, side, size and drawing count only where the kind was found too."""
    (hour, ground, relief, light, clouds), (colours, sides, sizes, drawings) = split_outputs(outputs)
    wanted = labels[:, COLOUR_COLUMNS]  # [n, kinds]
    present = wanted > 0
    found = colours.argmax(-1) > 0
    right_colour = found & (colours[..., 1:].argmax(-1) + 1 == wanted)
    right_side = found & (sides.argmax(-1) == labels[:, SIDE_COLUMNS])
    shares = {
        "hour": hour.argmax(-1) == labels[:, 0],
        "ground": ground.argmax(-1) == labels[:, 1],
        "hills": relief.argmax(-1) == labels[:, 2],
        "kind": found[present],
        "colour": right_colour[present],
        "side": right_side[present],
        "size": (found & (sizes.argmax(-1) == labels[:, SIZE_COLUMNS]))[present],
        "drawing": (found & (drawings.argmax(-1) == labels[:, DRAWING_COLUMNS]))[present],
        "sun or moon": light.argmax(-1) == labels[:, 3],
        "clouds": clouds.argmax(-1) == labels[:, 4],
        "all kinds exact": (found == present).all(-1),
        "colour where found": right_colour[present & found],
        "side where found": right_side[present & found],
    }
    return {name: share.float().mean().item() for name, share in shares.items()}


def seats(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Kind and colour of the object on each side, 0 where there is none."""
    colours, sides = labels[:, COLOUR_COLUMNS], labels[:, SIDE_COLUMNS]  # [n, kinds]
    taken = sides[:, None, :] == torch.arange(len(SIDES))[:, None]  # [n, sides, kinds]
    kinds = (taken * torch.arange(1, len(KINDS) + 1)).sum(-1)
    return kinds, (taken * colours[:, None, :]).sum(-1)  # [n, sides], [n, sides]
