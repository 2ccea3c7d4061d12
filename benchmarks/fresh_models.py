"""Components of models that nobody trained: random, without weights, or of zeros nearly all, which take no memory."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from pleinair.sources.architectures import Config
from pleinair.sources.families import Component
from pleinair_export.quiet import quiet

SMALL = 1 << 14  # numbers up to which a parameter is random throughout
ROWS = 16  # of the others that are random: fewer would give some of them the same scales
ALIGNED = 4096
SPREAD = 0.02


def network(part: Component, config: Config) -> nn.Module:
    """A component of random weights."""
    import diffusers
    import transformers

    if part.library == "diffusers":
        return getattr(diffusers, part.kind)(**config)
    kind = getattr(transformers, part.kind)
    return kind(kind.config_class(**config))


def wake(module: nn.Module) -> None:
    """Move parameters that are all equal, as a fresh norm's are, off 1 and 0.

    Both engines drop multiplications by 1 and additions of 0: a trained model has neither.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += torch.empty_like(parameter).uniform_(-0.1, 0.1)
    module.eval().requires_grad_(False)


def unfilled(part: Component, config: Config) -> nn.Module:
    """A component without numbers."""
    with torch.device("meta"), quiet():
        return network(part, config)


def sparse(part: Component, config: Config, file: Path, seed: int) -> nn.Module:
    """A component with random numbers in some places of every parameter and zeros in the others, which are not stored.

    No two parameters are alike, or the exporters would store them once.
    """
    module = unfilled(part, config)
    parameters = dict(module.named_parameters())
    sizes = [-(-each.numel() // ALIGNED) * ALIGNED for each in parameters.values()]
    with file.open("wb") as stream:
        stream.truncate(4 * sum(sizes))
    flat = torch.from_file(str(file), shared=True, size=sum(sizes), dtype=torch.float32)
    rng, at = torch.Generator().manual_seed(seed), 0
    for (name, parameter), size in zip(parameters.items(), sizes, strict=True):
        values = flat[at : at + parameter.numel()].view(parameter.shape)
        at += size
        some = values if parameter.numel() <= SMALL else values[:ROWS]
        some.copy_(torch.randn(some.shape, generator=rng) * SPREAD + (1.0 if is_norm(name) else 0.0))
        put(module, name, nn.Parameter(values, requires_grad=False))
    for name, buffer in buffers(module):
        owner, _, leaf = name.rpartition(".")
        positions = torch.arange(buffer.shape[-1]).expand(buffer.shape)
        module.get_submodule(owner).register_buffer(leaf, positions, persistent=False)
    return module.eval()


def is_norm(name: str) -> bool:
    return "norm" in name and name.endswith("weight")


def put(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, parameter)


def buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The buffers, which are positions; ValueError for any other."""
    for name, buffer in list(module.named_buffers()):
        if not name.endswith("position_ids"):
            raise ValueError(f"no rule for the buffer {name}")
        yield name, buffer
