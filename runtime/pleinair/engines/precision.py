"""In which precision a network computes: unless asked for one, the fastest that a device has and a picture survives."""

from collections.abc import Mapping
from typing import NamedTuple

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_of, shown_value
from pleinair.engines.components import by_component, component_of
from pleinair.errors import RequestError
from pleinair.system.files import CONFIG, parse_json

F32, AUTO = "f32", "auto"
PRECISIONS = (F32, "bf16", "f16")
# What `auto` takes on OpenVINO, by device and by what it says that it computes in; f32 where nothing stands here. Each
# row is above 40 dB a call against f32 (docs/performance.md#precision). Text encoders stay in f32: they run once.
FASTEST: dict[tuple[str, str], dict[str, str]] = {
    ("CPU", "bf16"): {"unet": "bf16", "vae": "bf16"},
    ("GPU", "f16"): {"text": "f16", "unet": "f16", "vae": "f16", "upscaler": "f16"},
    ("NPU", "f16"): {"text": "f16", "unet": "f16", "vae": "f16", "upscaler": "f16"},
}


class Overflow(NamedTuple):
    """A key of a component's config.json, and the values with which its activations leave float16's range."""

    key: str
    values: tuple[object, ...]


# transformers keeps layers of T5 in float32, diffusers a VAE that says `force_upcast`, as one does that says nothing.
OVERFLOWS = {
    "text": Overflow(key="model_type", values=("t5",)),
    "vae": Overflow(key="force_upcast", values=(True, None)),
}


def parse(value: str | Mapping[str, str] | None) -> dict[str, str]:
    """ "bf16", "unet=bf16,vae=f32" or {"unet": "bf16"} -> a precision for every component, "auto" where none is named.

    Raises RequestError for unknown components and precisions.
    """
    return by_component("precision", AUTO if value is None else value, AUTO, _known, "unet=bf16,vae=f32")


def _known(kind: str) -> str:
    if not isinstance(kind, str):
        raise RequestError(
            f"precision must be text, not {shown_value(kind)}; choose from {AUTO}, {', '.join(PRECISIONS)}"
        )
    return one_of("precision", kind.strip().lower(), (AUTO, *PRECISIONS))


def fastest(bundle: Bundle, graph: str, device: str, offered: tuple[str, ...]) -> str:
    """What `auto` means for a graph on an OpenVINO device that computes in the `offered` precisions."""
    part = component_of(bundle, graph)
    for (kind, precision), row in FASTEST.items():
        if kind == device and precision in offered and part in row:
            return row[part] if row[part] != "f16" or F32 not in offered or survives_f16(bundle, graph) else F32
    return F32 if F32 in offered else offered[0]


def survives_f16(bundle: Bundle, graph: str) -> bool:
    """Whether a graph's activations stay below 65504, by the rules of OVERFLOWS."""
    part, name = component_of(bundle, graph), f"{graph}/config.json"
    if part not in OVERFLOWS or name not in bundle.manifest.files:
        return True
    config = parse_json(bundle.files.read(name, CONFIG), bundle.path / name, RequestError, "export the model again")
    return config.get(OVERFLOWS[part].key) not in OVERFLOWS[part].values


def check_offered(precision: str, offered: tuple[str, ...], device: str) -> str:
    """`precision` if the device has it, or RequestError."""
    if precision not in offered:
        raise RequestError(
            f"'{device}' does not compute in {precision} here; choose from {', '.join((AUTO, *offered))}, or another"
            " --device"
        )
    return precision
