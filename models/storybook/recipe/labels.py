"""Reads the labels of a scene from a feature vector: the loss, and how often it is right."""

import torch
from torch import Tensor
from torch.nn import functional as F

from recipe.scenes import COLOURS, GROUNDS, HELD_OUT, HOURS, KINDS, RELIEFS, SIDES

SPLITS = (len(HOURS), len(GROUNDS), len(RELIEFS), len(KINDS) * (len(COLOURS) + 1), len(KINDS) * len(SIDES))
OUTPUTS = sum(SPLITS)
COLOUR_COLUMNS = slice(3, 3 + len(KINDS))
SIDE_COLUMNS = slice(3 + len(KINDS), 3 + 2 * len(KINDS))
ABSENT_WEIGHT = 0.3
NEVER = -1e4


def split_outputs(outputs: Tensor) -> tuple[Tensor, ...]:
    """Scores for hour, ground, relief, colour per kind (first: absent), and side per kind."""
    hour, ground, relief, colours, sides = outputs.split(SPLITS, -1)
    return hour, ground, relief, colours.unflatten(-1, (len(KINDS), -1)), sides.unflatten(-1, (len(KINDS), -1))


def seen_in_training() -> Tensor:
    """Which colours each kind has in training, absence first."""
    return torch.tensor([[True, *((kind, colour) not in HELD_OUT for colour in COLOURS)] for kind in KINDS])


def labels_loss(outputs: Tensor, labels: Tensor, only_seen: bool = False) -> Tensor:
    """Cross entropy of all labels; `only_seen` keeps held-out pairs from being taught as impossible."""
    hour, ground, relief, colours, sides = split_outputs(outputs)
    if only_seen:
        colours = colours.masked_fill(~seen_in_training().to(outputs.device), NEVER)
    weight = torch.ones(len(COLOURS) + 1, device=outputs.device)
    weight[0] = ABSENT_WEIGHT
    total = F.cross_entropy(hour, labels[:, 0]) + F.cross_entropy(ground, labels[:, 1])
    total = total + 0.5 * F.cross_entropy(relief, labels[:, 2])
    total = total + 3 * F.cross_entropy(colours.flatten(0, 1), labels[:, COLOUR_COLUMNS].flatten(), weight)
    # A batch without any object has no sides to learn.
    if (labels[:, SIDE_COLUMNS] >= 0).any():
        total = total + F.cross_entropy(sides.flatten(0, 1), labels[:, SIDE_COLUMNS].flatten(), ignore_index=-1)
    return total


def accuracies(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares that are right; colour and side count only where the kind was found too."""
    hour, ground, relief, colours, sides = split_outputs(outputs)
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
