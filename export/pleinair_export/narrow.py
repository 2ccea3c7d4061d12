"""Modules that hold 16-bit weights and compute in float32: a weight is widened where it is used, and let go of."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType

import numpy as np
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

    All else that it holds becomes float32.
    """
    for module in model.modules():
        forward = WIDENING.get(type(module))
        for name, each in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if each.is_floating_point() and not (forward and name == "weight" and is_weight(each.shape)):
                each.data = each.data.float()
        if forward and module.weight.dtype != torch.float32:
            module.forward = MethodType(forward, module)
    return model


def narrow_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model whose weights have 16 bits, by path."""
    return {
        path: module
        for path, module in model.named_modules()
        if type(module) in WIDENING and module.weight.dtype != torch.float32
    }


def narrow_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's 16-bit weights by name, a tied one by each of its names."""
    return {f"{path}.weight": module.weight.data for path, module in narrow_modules(model).items()}


@contextmanager
def blank_weights(model: nn.Module) -> Iterator[None]:
    """Meanwhile a model's 16-bit weights are float32 ones that are not written to, and so take no memory.

    They are NumPy's zeros, which take pages where they are written to; torch writes all of its own. The trace is that
    of the same model in float32, names and all.
    """
    narrow = narrow_modules(model).values()
    taken = {module.weight: module.weight.data for module in narrow}
    for number, weight in enumerate(taken):
        weight.data = torch.from_numpy(np.zeros(weight.shape, np.float32))
        weight.data.view(-1)[0] = number + 1  # of equal ones each exporter would keep one
    for module in narrow:
        del module.forward
    try:
        yield
    finally:
        for weight, data in taken.items():
            weight.data = data
        for module in narrow:
            module.forward = MethodType(WIDENING[type(module)], module)
