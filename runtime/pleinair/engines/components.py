"""The components of a model, for what may differ between them: where each runs, and what it computes in."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pleinair.bundle.opening import Bundle
from pleinair.checks import one_of, shown_value
from pleinair.errors import RequestError

COMPONENTS = ("text", "unet", "vae", "upscaler")  # "unet" is the network of the loop, whatever it is; ControlNets too


def component_of(bundle: Bundle, graph: str) -> str:
    """Which of COMPONENTS a graph of the bundle is part of."""
    if graph in (encoder.graph for encoder in bundle.manifest.text_encoders):
        return "text"
    if graph in (part.graph for part in bundle.manifest.denoisers) or bundle.manifest.control:
        return "unet"
    return "vae" if any(graph in (vae.decoder, vae.encoder) for vae in bundle.manifest.vaes.values()) else "upscaler"


def once_a_picture(bundle: Bundle, graph: str) -> bool:
    """Whether a graph runs once or so for a picture, so that what it works with is not held for the next one."""
    return component_of(bundle, graph) != "unet"


def by_component(
    name: str, value: str | Mapping[str, Any], usual: str, known: Callable[[Any], str], example: str
) -> dict[str, str]:
    """ "gpu", "unet=npu,vae=gpu" or {"unet": "npu"} -> a value for every component, `usual` where none is named.

    `known` checks a value; `name` and `example` are for errors. Raises RequestError, also for unknown components.
    """
    if isinstance(value, str) and "=" not in value:
        return dict.fromkeys(COMPONENTS, known(value))
    if isinstance(value, str):
        pairs = [part.partition("=")[::2] for part in re.split(r",(?=[^,=]*=)", value)]  # a value may have commas
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise RequestError(f"{name} must be text, not {shown_value(value)}; write for example {example}")
    named = {one_of("component", str(part).strip(), COMPONENTS): known(kind) for part, kind in pairs}
    if len(named) < len(pairs):
        raise RequestError(f"a component is named twice in the {name}; name each once: {example}")
    return dict.fromkeys(COMPONENTS, usual) | named


def written(values: Mapping[str, str]) -> str:
    """Component -> value as `by_component` reads it, as short as it goes: "cpu" or "text=cpu,unet=npu,vae=gpu"."""
    kinds = set(values.values())
    if len(kinds) == 1:
        return kinds.pop()
    return ",".join(f"{name}={values[name]}" for name in COMPONENTS if name in values)
