"""OpenVINO's devices: their names, what each is told, and what it cannot take.

Facts of OpenVINO's documentation of its NPU, GPU, AUTO and HETERO devices, and of what other programs had to set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from pleinair.engines.failures import FALLBACK, absent, no_extra_on
from pleinair.engines.ports import EXTRA
from pleinair.errors import EngineError, RequestError

LATENCY = {"PERFORMANCE_HINT": "LATENCY"}
PRECISION = "INFERENCE_PRECISION_HINT"
AUTO = "AUTO"


class DeviceRules(NamedTuple):
    """What a kind of device is told beside what all are, where it knows the property, and what it asks for.

    With `one_row` it takes a batch of one, with `fixed_sizes` no size may be left open; what is compiled for it is
    `kept` on the disk.
    """

    settings: Mapping[str, str] = MappingProxyType({})
    one_row: bool = False
    fixed_sizes: bool = False
    kept: bool = False


RULES = {
    "CPU": DeviceRules(),  # keeping what is compiled has doubled its memory
    "GPU": DeviceRules(kept=True),
    "NPU": DeviceRules(  # its driver keeps what is compiled, and knows which of its versions can read it
        settings={"NPU_COMPILATION_MODE_PARAMS": "performance-hint-override=latency"}, one_row=True, fixed_sizes=True
    ),
}
NOT_CHOSEN = "NPU"  # by AUTO, unless it is named


@dataclass(frozen=True)
class OpenVINODevice:
    """A device as OpenVINO names it, "GPU.1" or "HETERO:GPU,CPU", and those that it is made of, which may be itself."""

    name: str
    members: tuple[str, ...]

    @property
    def spelled(self) -> str:
        """The name as `placement.parse` returns it."""
        return self.name.lower().replace(",", "+")

    @property
    def told_more(self) -> tuple[str, ...]:
        """Its members whose rules have settings that not each of them may know."""
        return tuple(member for member in self.members if rules_of(member).settings)

    @property
    def chooses(self) -> bool:
        """Whether OpenVINO chooses one of the members."""
        return self.name.split(":")[0] == AUTO

    @property
    def rules(self) -> DeviceRules:
        """What all of its members can do with."""
        every = [rules_of(member) for member in self.members]
        return DeviceRules(
            one_row=any(rules.one_row for rules in every),
            fixed_sizes=any(rules.fixed_sizes for rules in every),
            kept=all(rules.kept for rules in every),
        )


def kind_of(member: str) -> str:
    """ "GPU.1" -> "GPU"."""
    return member.split(".")[0]


def rules_of(member: str) -> DeviceRules:
    """The rules of one device."""
    return RULES.get(kind_of(member), DeviceRules())


def device_named(device: str | None, available: list[str], threads: int | None = None) -> OpenVINODevice:
    """The device that `placement.parse` calls so; RequestError where it is not here, or takes no threads."""
    found = _found(device or "cpu", available)
    if threads and found.name != "CPU":
        raise RequestError(f"threads are for the CPU, not for '{device}'; leave --threads out")
    return found


def _found(device: str, available: list[str]) -> OpenVINODevice:
    kind, _, listed = device.upper().partition(":")
    if kind not in (AUTO, "HETERO"):
        _check_here(kind if not listed else device.upper(), device, available)
        return OpenVINODevice(kind, (kind,))
    if not listed:
        usual = [name for name in available if kind_of(name) != NOT_CHOSEN]
        return OpenVINODevice(kind, tuple(sorted(usual, key=lambda name: name == "CPU")))
    members = tuple(listed.split("+"))
    for member in members:
        _check_here(member, device, available)
    return OpenVINODevice(f"{kind}:{','.join(members)}", members)


def _check_here(name: str, device: str, available: list[str]) -> None:
    alone = {f"{each}.0" for each in available if "." not in each and each != "CPU"}  # which has no number
    if name not in {*available, *map(kind_of, available), *alone}:
        raise absent("OpenVINO", device, available)


def settings_of(
    device: OpenVINODevice, precisions: Mapping[str, str], known: Mapping[str, Any], threads: int | None, folder: str
) -> dict[str, Any]:
    """What OpenVINO is told when it compiles for a device: `precisions` are those of its members.

    `known` are the properties that each of `told_more` has, `folder` is where what is compiled is kept, "" for nowhere.
    """
    each = {
        member: {PRECISION: precisions[member]}
        | {name: value for name, value in rules_of(member).settings.items() if name in known.get(member, ())}
        for member in device.members
    }
    settings: dict[str, Any] = dict(LATENCY)
    if device.members == (device.name,):
        settings |= each[device.name]
    else:
        settings["DEVICE_PROPERTIES"] = each
    if device.chooses:  # else the CPU answers until the other is compiled, and pictures depend on when that was
        settings["ENABLE_STARTUP_FALLBACK"] = False
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    if folder:
        settings["CACHE_DIR"] = folder
    return settings


def check_takes(device: OpenVINODevice, graph: str, shapes: Mapping[str, tuple[int, ...]], open_sizes: bool) -> None:
    """Raise the error for a graph that does not fit a device's rules; `open_sizes` says whether some are not known."""
    if device.rules.fixed_sizes and EXTRA in shapes:
        raise no_extra_on(graph, device.spelled)
    if device.rules.fixed_sizes and open_sizes:
        raise EngineError(
            f"'{graph}' leaves sizes open that '{device.spelled}' must know; choose another --device for it, or"
            f" add {FALLBACK}",
            option=FALLBACK,
        )


def ran_on(device: OpenVINODevice, precisions: Mapping[str, str], chosen: str) -> tuple[str, str]:
    """The member that OpenVINO says it has chosen, as `placement.parse` reads it, and what that computes in."""
    name = chosen.strip("()")
    kind = next((member for member in device.members if name in (member, f"{member}.0")), device.members[0])
    return name.lower(), precisions[kind]


def full_name(core: Any, device: str) -> str:
    """What a device calls itself to an `openvino.Core`, and the version of its driver where it tells that."""
    try:
        told = core.get_property(device, "SUPPORTED_PROPERTIES")
        names = [core.get_property(device, name) for name in ("FULL_DEVICE_NAME", "NPU_DRIVER_VERSION") if name in told]
    except RuntimeError:
        return ""
    return ", driver ".join(map(str, names))
