"""An upscaler's file, .safetensors or .pth, opened without running anything that is in it."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pleinair.bundle.manifest_checks import UPSCALER
from pleinair.checks import one_line
from pleinair.errors import ExportError
from pleinair.sources.pickled import ALLOW
from pleinair.sources.weight_files import DOWNLOAD, count_parameters, read_header
from pleinair_export.esrgan import build

LARGEST = 1_000_000_000  # bytes; ESRGAN has 67 million, and a whole Stable Diffusion in one file is beyond this
KINDS = (".safetensors", ".pth", ".pt")
CHECKPOINT = "looks like a Stable Diffusion in one file; give its .safetensors file, or pour it: pleinair pour FILE OUT"
PURPOSES = (  # what the name of a weight says about the file it is in
    (r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.", CHECKPOINT),
    (r".*lora_(up|down|A|B|unet|te)", "holds a LoRA, which is not read yet; choose a model that it is merged into"),
    (r"emb_params$|<.*>$", "holds a textual inversion; give it to a picture: pleinair generate --embedding FILE"),
)


@dataclass(frozen=True)
class UpscalerSource:
    """An ESRGAN-type network, in memory; `sizes` counts parameters."""

    path: Path
    name: str
    network: nn.Module
    scale: int
    sizes: dict[str, int]
    licence: str | None


def open_upscaler(path: Path) -> UpscalerSource:
    """Read a network and its scale from a file; raises ExportError: damaged, or not of the ESRGAN kind."""
    kind, where = path.suffix.lower(), one_line(path.name, 80)
    if kind == ".ckpt":
        raise ExportError(f"'{where}' {CHECKPOINT} {ALLOW}")
    if kind not in KINDS:
        raise ExportError(
            f"'{where}' is neither a diffusers folder nor an upscaler's file;"
            f" give one that ends with {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        )
    if kind == KINDS[0]:
        check_purpose(path)
    size = path.stat().st_size
    if size > LARGEST:
        raise ExportError(f"'{where}' is {size / 1e9:.1f} GB, too much for an upscaler: it {CHECKPOINT}")
    weights, licence = (read_safetensors if kind == KINDS[0] else read_pickle)(path)
    try:
        network = build(weights)
    except ValueError as error:
        raise ExportError(
            f"'{where}' is not an upscaler that can be exported ({one_line(error, 120)}); choose an ESRGAN,"
            " Real-ESRGAN or compact (SRVGGNet) model"
        ) from None
    count = sum(weight.numel() for weight in network.parameters())
    return UpscalerSource(path, path.stem, network, network.scale, {UPSCALER: count}, licence)


def check_purpose(path: Path) -> None:
    """Raise ExportError for a safetensors file whose weights are named like those of another kind of model."""
    names = read_header(path).tensors
    for pattern, purpose in PURPOSES:
        if any(re.match(pattern, name) for name in names):
            raise ExportError(f"'{one_line(path.name, 80)}' {purpose}")


def read_safetensors(path: Path) -> tuple[dict, str | None]:
    """Weights, and the licence where the file's metadata names one."""
    from safetensors import SafetensorError, safe_open

    count_parameters(path)
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            named = facts.get("modelspec.license")
            return weights, named and one_line(named, 100)
    except (SafetensorError, OSError, ValueError) as error:
        raise ExportError(f"cannot read '{one_line(path.name, 80)}' ({one_line(error, 120)}); {DOWNLOAD}") from None


def read_pickle(path: Path) -> tuple[object, None]:
    """What torch's restricted unpickler finds: tensors and plain containers; a file that asks for more is refused."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True), None
    except Exception as error:  # a damaged pickle raises anything
        reason = one_line((str(error).splitlines() or [type(error).__name__])[0], 120)
        raise ExportError(
            f"cannot read '{one_line(path.name, 80)}' as weights alone ({reason}); {DOWNLOAD},"
            " as .safetensors where there is one"
        ) from None
