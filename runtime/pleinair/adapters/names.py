"""What LoRA files call a model's layers: tables made of the model's own paths, for no name in a file tells its parts.

kohya writes all dots as underscores, and SDXL's UNet with Stability's names (sd-scripts, networks/lora.py and oft.py);
of FLUX and SD 3 it has their makers' names. peft, diffusers and LyCORIS write diffusers' own, ComfyUI its own prefixes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pleinair.adapters.sgm import original_names
from pleinair.adapters.transformer_names import original_layers

OLD_ATTENTION = (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out"))
PEFT = "base_model.model."
ORIGINAL = ("", "diffusion_model.", "model.diffusion_model.", PEFT)  # before names of the makers
COMFY = {1: "clip_l", 2: "clip_g"}
T5, T5_LAYER = "t5xxl", ".SelfAttention."
T5_NUMBER = 3  # kohya's, also where it is a model's second encoder


DIFFUSERS, MAKERS, EITHER = "diffusers'", "makers'", "either's"


class Meant(NamedTuple):
    """The layer of a model that a name in a file means, or several that are one there, row below row.

    `spelling`: whose name it is. `swapped`: the halves of its rows lie the other way round.
    """

    paths: tuple[str, ...]
    spelling: str = DIFFUSERS
    swapped: bool = False


def of_denoiser(folder: str, paths: Iterable[str]) -> dict[str, Meant]:
    """What each name in a file means among the layers of the denoiser ("unet", "transformer")."""
    paths = list(paths)
    found: dict[str, Meant] = {}
    for path in paths:
        for name in denoiser_names(folder, path):
            found.setdefault(name, Meant((path,)))
    originals = {name: Meant((path,), MAKERS) for path, name in original_names(paths).items()}
    originals |= {name: Meant(each.paths, MAKERS, each.swapped) for name, each in original_layers(paths).items()}
    for name, meant in originals.items():
        for each in (*(f"{prefix}{name}" for prefix in ORIGINAL), f"lora_unet_{flat(name)}", f"oft_unet_{flat(name)}"):
            found[each] = found[each]._replace(spelling=EITHER) if each in found else meant
    return found


def denoiser_names(folder: str, path: str) -> Iterator[str]:
    """Diffusers' names, and those made of them."""
    old = path.replace(".to_out.0", ".to_out")
    head, _, layer = old.rpartition(".")
    for prefix in ("", f"{folder}.", PEFT, f"{PEFT}{folder}.", f"{folder}.{PEFT}", "diffusion_model."):
        yield f"{prefix}{path}"
        if layer.startswith("to_"):
            yield f"{prefix}{head}.processor.{layer}"
    for prefix in (f"lora_{folder}_", "lora_unet_", f"lycoris_{folder}_", "lycoris_", "oft_unet_"):
        yield f"{prefix}{flat(path)}"


def of_text_encoder(number: int, count: int, paths: Iterable[str]) -> dict[str, Meant]:
    """The same of the `number`-th of `count` text encoders, which counts from 1."""
    paths = list(paths)
    folder = "text_encoder" if number == 1 else f"text_encoder_{number}"
    t5 = any(T5_LAYER in path for path in paths)
    numbers = dict.fromkeys([T5_NUMBER, number] if t5 else [number])
    first = count == 1 or (number == 1 and not t5)
    flattened = [f"lora_te{each}_" for each in numbers]
    flattened += ["lora_te_"] if first else []
    flattened += ["lycoris_"] if count == 1 else []
    comfy = f"text_encoders.{T5 if t5 else COMFY.get(number)}.transformer."
    found: dict[str, Meant] = {}
    for path in paths:
        inner = path.removeprefix("text_model.")
        old = inner
        for ours, theirs in OLD_ATTENTION:
            old = old.replace(f".self_attn.{ours}", f".self_attn.{theirs}")
        for model in ("text_model.", ""):
            for prefix in (f"{folder}.", f"{folder}.{PEFT}", f"{PEFT}{folder}.", comfy):
                found |= dict.fromkeys((f"{prefix}{model}{inner}", f"{prefix}{model}{old}"), Meant((path,)))
            found |= {f"{prefix}{flat(model + inner)}": Meant((path,)) for prefix in flattened}
    return found


def flat(path: str) -> str:
    return path.replace(".", "_")
