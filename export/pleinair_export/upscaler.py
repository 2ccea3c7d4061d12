"""An upscaler's file, .safetensors or .pth, opened without running anything that is in it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pleinair.bundle import UPSCALER
from pleinair.errors import ExportError
from pleinair_export.esrgan import build
from pleinair_export.source import DOWNLOAD, count_parameters

LARGEST = 1_000_000_000  # bytes; ESRGAN has 67 million, and a whole Stable Diffusion in one file is beyond this
KINDS = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Upscaler:
    """An ESRGAN-type network, in memory; `sizes` counts parameters."""

    path: Path
    name: str
    network: nn.Module
    scale: int
    sizes: dict[str, int]
    licence: str | None


def open_upscaler(path: Path) -> Upscaler:
    """Read a network and its scale from a file; raises ExportError: damaged, or not of the ESRGAN kind."""
    if path.suffix.lower() not in KINDS:
        raise ExportError(
            f"'{path.name}' is not a diffusers folder and has no name of an upscaler's file;"
            f" give one that ends with {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        )
    size = path.stat().st_size
    if size > LARGEST:
        raise ExportError(
            f"'{path.name}' is {size / 1e9:.1f} GB, too much for an upscaler; a Stable Diffusion in one file must"
            " become a diffusers folder first (from_single_file and save_pretrained)"
        )
    weights, licence = (read_safetensors if path.suffix.lower() == KINDS[0] else read_pickle)(path)
    try:
        network = build(weights)
    except ValueError as error:
        raise ExportError(
            f"'{path.name}' is not an upscaler that can be exported ({error}); choose an ESRGAN, Real-ESRGAN or"
            " compact (SRVGGNet) model"
        ) from None
    count = sum(weight.numel() for weight in network.parameters())
    return Upscaler(path, path.stem, network, network.scale, {UPSCALER: count}, licence)


def read_safetensors(path: Path) -> tuple[dict, str | None]:
    """Weights, and the licence where the file's metadata names one."""
    from safetensors import SafetensorError, safe_open

    count_parameters(path)
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, facts.get("modelspec.license")  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ExportError(f"cannot read '{path.name}' ({error}); {DOWNLOAD}") from None


def read_pickle(path: Path) -> tuple[object, None]:
    """What torch's restricted unpickler finds: tensors and plain containers; a file that asks for more is refused."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True), None
    except Exception as error:  # a damaged pickle raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"cannot read '{path.name}' as weights alone ({reason}); {DOWNLOAD}, as .safetensors where there is one"
        ) from None
