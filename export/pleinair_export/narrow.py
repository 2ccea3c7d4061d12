"""Modules that hold 16-bit weights and compute in float32: a weight is widened where it is used, and let go of."""

from collections.abc import Callable
from types import MethodType

import torch
from torch import nn
from torch.nn import functional as F

from pleinair_export.quantize import is_weight


def linear(module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, module.weight.float(), module.bias)


def convolution(module: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return module._conv_forward(x, module.weight.float(), module.bias)


def embedding(module: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    return F.embedding(ids, module.weight.float(), module.padding_idx)


WIDENING: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    nn.Linear: linear,
    nn.Conv2d: convolution,
    nn.Embedding: embedding,
}


def widen_at_use(model: nn.Module) -> nn.Module:
    """Change a model, in place, to answer as it would in float32, with its large weights as they are.

    All else that it holds becomes float32. In a trace of it a weight is a constant of its own type, and widened.
    """
    for module in model.modules():
        forward = WIDENING.get(type(module))
        for name, each in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if each.is_floating_point() and not (forward and name == "weight" and is_weight(each.shape)):
                each.data = each.data.float()
        if forward and module.weight.dtype != torch.float32:
            module.forward = MethodType(forward, module)
    return model
