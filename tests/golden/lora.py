"""LoRA files of all kinds, lora.safetensors and lora_peft.safetensors, and what they make of weights, lora.npz.

    python tests/golden/lora.py

wants lycoris-lora 4.1.3 and peft 0.21.2 beside torch, in an environment of its own. Modules of LyCORIS and peft are
given random numbers, write them under the keys that their files have, and merge them; that is what is compared with.
"""

import json
from pathlib import Path

import numpy as np
import torch
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.numpy import save_file
from torch import nn

HERE = Path(__file__).parent
LOW = {"lora_dim": 3, "alpha": 1.5}
TUCKER = {**LOW, "use_tucker": True}
CASES = {  # name -> module, layer, how
    "lora": (LoConModule, "linear", LOW),
    "lora_of_a_kernel": (LoConModule, "conv", LOW),
    "lora_without_alpha": (LoConModule, "linear", {**LOW, "alpha": 0}),
    "lora_with_a_core": (LoConModule, "conv", TUCKER),
    "loha": (LohaModule, "linear", LOW),
    "loha_of_a_kernel": (LohaModule, "conv", LOW),
    "loha_with_a_core": (LohaModule, "conv", TUCKER),
    "lokr": (LokrModule, "linear", {**LOW, "factor": 2}),
    "lokr_both_low": (LokrModule, "linear", {"lora_dim": 1, "alpha": 0.5, "decompose_both": True, "factor": 4}),
    "lokr_both_whole": (LokrModule, "linear", {"lora_dim": 1000, "alpha": 1, "factor": 4}),
    "lokr_of_a_kernel": (LokrModule, "conv", {"lora_dim": 1, "alpha": 0.5, "factor": 2}),
    "lokr_with_a_core": (LokrModule, "conv", {"lora_dim": 1, "alpha": 0.5, "factor": 2, "use_tucker": True}),
    "diff": (FullModule, "conv", {}),
    "ia3_out": (IA3Module, "linear", {"train_on_input": False}),
    "ia3_in": (IA3Module, "conv", {"train_on_input": True}),
    "oft": (DiagOFTModule, "linear", {"lora_dim": 4}),
    "oft_of_a_kernel": (DiagOFTModule, "conv", {"lora_dim": 4, "rescaled": True}),
    "oft_bound": (DiagOFTModule, "linear", {"lora_dim": 4, "constraint": 0.01}),
    "dora": (LoConModule, "linear", {**LOW, "weight_decompose": True}),
    "dora_of_columns": (LoConModule, "conv", {**LOW, "weight_decompose": True, "wd_on_out": False}),
    "doha": (LohaModule, "linear", {**LOW, "weight_decompose": True}),
    "dokr": (LokrModule, "linear", {**LOW, "factor": 2, "weight_decompose": True}),
    "norm": (NormModule, "norm", {}),
}
LAYERS = {
    "linear": lambda: nn.Linear(8, 12),
    "conv": lambda: nn.Conv2d(4, 8, 3),
    "norm": lambda: nn.GroupNorm(2, 8),
}


class Two(nn.Module):
    """A layer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.conv = nn.Linear(8, 12), nn.Conv2d(4, 8, 3)


def shaken(module: nn.Module) -> None:
    """Random numbers where training would have left some."""
    for name, each in module.named_parameters():
        if "org" not in name and each.requires_grad and "scalar" not in name:
            each.data = each.data + 0.3 * torch.randn(each.shape)


def merged(module: nn.Module, plain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias as the module computes with them; `get_merged_weight` scales LoHa's and LoKr's change twice."""
    if not isinstance(module, LohaModule | LokrModule):
        return module.get_merged_weight()
    changed = plain + module.get_weight(plain.shape)
    return (module.apply_weight_decompose(changed) if module.wd else changed), None


def of_lycoris() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A file of all cases, and what becomes of their weights and biases."""
    tensors, numbers = {}, {}
    for name, (kind, layer, how) in CASES.items():
        base = LAYERS[layer]()
        base.weight.data, base.bias.data = torch.randn(base.weight.shape), torch.randn(base.bias.shape)
        plain = base.weight.clone()
        numbers |= {f"{name}/weight": plain, f"{name}/bias": base.bias.clone()}
        module = kind(f"lora_unet_{name}", base, **how)
        if kind is FullModule:
            module.apply_to()  # it writes what has changed since
        shaken(module)
        numbers[f"{name}/new_weight"], bias = merged(module, plain)
        if bias is not None:
            numbers[f"{name}/new_bias"] = bias
        tensors |= {f"lora_unet_{name}.{key}": value for key, value in module.state_dict().items() if "org" not in key}
    return as_arrays(tensors), as_arrays(numbers)


def of_peft(name: str, **how) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same of peft's own layers."""
    base = Two()
    plain = {key: value.clone() for key, value in base.state_dict().items()}
    config = LoraConfig(r=3, target_modules=["linear", "conv"], init_lora_weights=False, **how)
    model = get_peft_model(base, config)
    shaken(model)
    state = get_peft_model_state_dict(model)
    tensors = {f"unet.{name}_{key.removeprefix('base_model.model.')}": value for key, value in state.items()}
    whole = model.merge_and_unload().state_dict()
    numbers = {}
    for layer in ("linear", "conv"):
        for part in ("weight", "bias"):
            numbers[f"{name}_{layer}/{part}"] = plain[f"{layer}.{part}"]
            numbers[f"{name}_{layer}/new_{part}"] = whole[f"{layer}.{part}"]
    return as_arrays(tensors), as_arrays(numbers)


def as_arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {key: np.ascontiguousarray(value.detach().numpy()) for key, value in tensors.items()}


def main() -> None:
    torch.manual_seed(0)
    tensors, numbers = of_lycoris()
    save_file(tensors, HERE / "lora.safetensors")
    plain, more = of_peft("peft", lora_alpha=6, alpha_pattern={"conv": 9})
    ranked, still_more = of_peft("dora", lora_alpha=6, use_dora=True)
    settings = {"unet.r": 3, "unet.lora_alpha": 6, "unet.alpha_pattern": {"peft_conv": 9}}
    metadata = {"lora_adapter_metadata": json.dumps(settings)}
    save_file(plain | ranked, HERE / "lora_peft.safetensors", metadata)
    np.savez_compressed(HERE / "lora.npz", **numbers, **more, **still_more)


if __name__ == "__main__":
    main()
