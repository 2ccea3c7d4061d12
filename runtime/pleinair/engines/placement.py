"""On which device each component of a model runs."""

import re
from collections.abc import Mapping

from pleinair.checks import shown_value
from pleinair.engines.components import by_component
from pleinair.engines.failures import CPU
from pleinair.errors import RequestError

FEWEST = {"auto": 1, "hetero": 2}  # OpenVINO's devices that are made of others, and of how many at least


def parse(value: str | Mapping[str, str] | None) -> dict[str, str]:
    """ "gpu", "unet=npu,vae=gpu" or {"unet": "npu"} -> a device for every component, the CPU where none is named.

    Devices that are made of others are written "auto:gpu,cpu" or "auto:gpu+cpu", and returned as the latter. Raises
    RequestError for unknown components; whether a device is here, the engine knows.
    """
    return by_component("device", CPU if value is None else value, CPU, _known, "unet=npu,vae=gpu")


def _known(device: str) -> str:
    if not isinstance(device, str) or not device.strip():
        raise RequestError(f"a device must be a name like cpu or gpu, not {shown_value(device)}; see: pleinair doctor")
    name = device.strip().lower()
    kind, colon, others = name.partition(":")
    if kind not in FEWEST:
        if re.search("[,+]", name):
            raise RequestError(
                f"{shown_value(device)} are several devices; write auto:gpu,cpu to let OpenVINO choose, or name each"
                " component's: unet=gpu,vae=cpu"
            )
        return name
    if not colon and kind == "auto":
        return name
    members = [each.strip() for each in re.split("[,+]", others)]
    once = len(set(members)) == len(members) >= FEWEST[kind]
    if not once or not all(re.fullmatch(r"[^\s:=]+", each) and each not in FEWEST for each in members):
        raise RequestError(
            f"{shown_value(device)} must name each device exactly once; write for example {kind}:gpu,cpu"
        )
    return f"{kind}:{'+'.join(members)}"
