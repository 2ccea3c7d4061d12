"""What LoRA files call a model's layers: tables made of the model's own paths, for no name in a file tells its parts.

kohya writes all dots as underscores, and SDXL's UNet with Stability's names (sd-scripts, networks/lora.py); peft,
diffusers and LyCORIS write diffusers' own.
"""

from collections.abc import Iterable, Iterator

from pleinair.adapters.sgm import original_names

OLD_ATTENTION = (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out"))
PEFT = "base_model.model."
SGM = "sgm"  # the spelling that a file of both is not read by, as at diffusers


def of_denoiser(folder: str, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name in a file -> path of a layer of the denoiser ("unet", "transformer"), and whose spelling the name is."""
    paths = list(paths)
    original = original_names(paths)
    found = {}
    for path in paths:
        for name in denoiser_names(folder, path):
            found.setdefault(name, (path, ""))
    for path, name in original.items():
        for each in (f"lora_unet_{flat(name)}", f"diffusion_model.{name}", f"model.diffusion_model.{name}"):
            found.setdefault(each, (path, SGM))
    return found


def denoiser_names(folder: str, path: str) -> Iterator[str]:
    """Diffusers' names, and those made of them."""
    old = path.replace(".to_out.0", ".to_out")
    head, _, layer = old.rpartition(".")
    for prefix in ("", f"{folder}.", PEFT, f"{PEFT}{folder}.", f"{folder}.{PEFT}"):
        yield f"{prefix}{path}"
        if layer.startswith("to_"):
            yield f"{prefix}{head}.processor.{layer}"
    for prefix in (f"lora_{folder}_", f"lycoris_{folder}_", "lycoris_"):
        yield f"{prefix}{flat(path)}"


def of_text_encoder(number: int, count: int, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The same of the `number`-th of `count` text encoders, which counts from 1."""
    folder = "text_encoder" if number == 1 else f"text_encoder_{number}"
    flattened = [f"lora_te{number}_", *(["lora_te_"] if count == 1 else [])]
    found = {}
    for path in paths:
        inner = path.removeprefix("text_model.")
        old = inner
        for ours, theirs in OLD_ATTENTION:
            old = old.replace(f".self_attn.{ours}", f".self_attn.{theirs}")
        for model in ("text_model.", ""):
            for prefix in (f"{folder}.", f"{folder}.{PEFT}", f"{PEFT}{folder}."):
                found |= dict.fromkeys((f"{prefix}{model}{inner}", f"{prefix}{model}{old}"), (path, ""))
            found |= {f"{prefix}{flat(model + inner)}": (path, "") for prefix in flattened}
    return found


def flat(path: str) -> str:
    return path.replace(".", "_")
