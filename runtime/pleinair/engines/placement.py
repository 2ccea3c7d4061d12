"""On which device each component of a model runs."""

from collections.abc import Mapping

from pleinair.checks import shown_value
from pleinair.engines.components import by_component
from pleinair.errors import RequestError

DEFAULT = "cpu"


def parse(value: str | Mapping[str, str] | None) -> dict[str, str]:
    """ "gpu", "unet=npu,vae=gpu" or {"unet": "npu"} -> a device for every component, the CPU where none is named.

    Raises RequestError for unknown components; whether a device is here, the engine knows.
    """
    return by_component("device", DEFAULT if value is None else value, DEFAULT, _known, "unet=npu,vae=gpu")


def _known(device: str) -> str:
    if not isinstance(device, str) or not device.strip():
        raise RequestError(f"a device must be a name like cpu or gpu, not {shown_value(device)}; see: pleinair doctor")
    return device.strip()
