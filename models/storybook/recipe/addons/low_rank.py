"""Low-rank adapters (LoRA, Hu et al. 2021) of a network whose own weights stay as they are."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call


class LowRank(nn.Module):
    """For each linear layer and convolution of a network: a weight of a low rank that is added to its own."""

    def __init__(self, network: nn.Module, rank: int) -> None:
        super().__init__()
        self.layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        shapes = [network.get_submodule(name).weight.shape for name in self.layers]
        self.down = nn.ParameterList(torch.randn(rank, *shape[1:]) / shape[1:].numel() ** 0.5 for shape in shapes)
        self.up = nn.ParameterList(torch.zeros(shape[0], rank) for shape in shapes)

    def added(self) -> dict[str, Tensor]:
        """Layer -> what is added to its weight."""
        pairs = zip(self.layers, self.down, self.up, strict=True)
        return {name: (up @ down.flatten(1)).unflatten(1, down.shape[1:]) for name, down, up in pairs}

    def file_content(self) -> dict[str, Tensor]:
        """What a LoRA file of the denoiser holds, named as PEFT and diffusers name it."""
        content = {}
        for name, down, up in zip(self.layers, self.down, self.up, strict=True):
            content[f"unet.{name}.lora_A.weight"] = down
            content[f"unet.{name}.lora_B.weight"] = up.reshape(*up.shape, *(1,) * (down.ndim - 2))
        return {name: weight.detach().half().cpu().contiguous() for name, weight in content.items()}


class Adapted:
    """A frozen network called with an adapter's weights on top of its own."""

    def __init__(self, network: nn.Module, adapter: LowRank) -> None:
        self._network = network
        self._adapter = adapter

    def __call__(self, *inputs: Tensor) -> object:
        weights = {
            f"{name}.weight": self._network.get_submodule(name).weight + more
            for name, more in self._adapter.added().items()
        }
        return functional_call(self._network, weights, inputs)


def save_adapter(adapter: LowRank, file: Path, **told: str) -> None:
    """Write a LoRA file in half precision; `told` is what its metadata says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(adapter.file_content(), file, {"format": "pt", **told})
