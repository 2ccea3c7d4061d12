"""On which device each part of a model runs."""

from collections.abc import Mapping

from pleinair.checks import one_of, shown
from pleinair.engines.precision import COMPONENTS
from pleinair.errors import RequestError

DEFAULT = "cpu"


def parse(value: str | Mapping[str, str] | None) -> dict[str, str]:
    """ "gpu", "unet=npu,vae=gpu" or {"unet": "npu"} -> a device for every component, the CPU where none is named.

    Raises RequestError for unknown components; whether a device is here, the engine knows.
    """
    if value is None:
        value = DEFAULT
    if isinstance(value, str) and "=" not in value:
        return dict.fromkeys(COMPONENTS, value)
    if isinstance(value, str):
        pairs = [part.partition("=")[::2] for part in value.split(",")]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise RequestError(f"device must be text, not {shown(value)}; write for example gpu, or unet=npu,vae=gpu")
    named = {one_of("component", str(name).strip(), COMPONENTS): _known(device) for name, device in pairs}
    if len(named) < len(pairs):
        raise RequestError("a component is named twice in the device; name each once: unet=npu,vae=gpu")
    return dict.fromkeys(COMPONENTS, DEFAULT) | named


def _known(device: str) -> str:
    if not isinstance(device, str) or not device.strip():
        raise RequestError(f"a device must be a name like cpu or gpu, not {shown(device)}; see: pleinair doctor")
    return device.strip()


def written(devices: Mapping[str, str]) -> str:
    """Component -> device as `parse` reads it, as short as it goes: "cpu" or "text=cpu,unet=npu,vae=gpu"."""
    kinds = set(devices.values())
    if len(kinds) == 1:
        return kinds.pop()
    return ",".join(f"{name}={devices[name]}" for name in COMPONENTS if name in devices)
