"""What a machine is and what state it is in: facts for a record, never a host name, a user name or a path."""

import ctypes
import os
import platform
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pleinair.system.limits import memory_left
from pleinair.system.machine import cpu_name, instruction_sets, memory_bytes, usable_cores

CPUS = "/sys/devices/system/cpu"
RAM_KINDS = {0x18: "DDR3", 0x1A: "DDR4", 0x1E: "LPDDR4", 0x22: "DDR5", 0x23: "LPDDR5"}  # SMBIOS, table 17
WINDOWS_FEATURES = {39: "avx", 40: "avx2", 41: "avx512f", 19: "neon", 43: "asimddp"}
MAC_FEATURES = {
    "avx2_0": "avx2", "avx512f": "avx512f", "neon": "neon", "arm.FEAT_I8MM": "i8mm", "arm.FEAT_BF16": "bf16",
    "arm.FEAT_DotProd": "asimddp", "arm.FEAT_SME": "sme",
}  # fmt: skip


def facts() -> dict[str, Any]:
    """What this machine is; whatever cannot be found out is None."""
    return {
        "cpu": " ".join(_best(_cpu, cpu_name()).split()),
        "architecture": platform.machine(),
        "cores": _best(_cores, {"physical": None, "performance": None, "efficiency": None})
        | {"logical": os.cpu_count(), "usable": usable_cores()},
        "caches_kib": _best(_caches, {}),
        "isa": _best(_isa, []),
        "memory": {"gib": round(_best(memory_bytes, 0) / 2**30, 1)} | _best(_ram, {"kind": None, "mts": None}),
        "os": _best(_system, platform.system()),
        "python": platform.python_version(),
        "virtualised": _best(_virtualised, None),
        "power": power(),
        "load": _best(load, None),
    }


def power() -> dict[str, Any]:
    """Where the current comes from ("mains", "battery"), and the governor or power plan."""
    return {"source": _best(_source, None), "governor": _best(_governor, None)}


def load() -> float | None:
    """Programs that want a core now, over the usable cores; None where the system does not say."""
    return round(os.getloadavg()[0] / usable_cores(), 2) if hasattr(os, "getloadavg") else None


def throttle_events() -> int | None:
    """How often the processor was slowed down against heat since it started; None where the system does not say."""
    return _best(_throttle_events, None)


def busy_seconds() -> float | None:
    """Seconds of processor time that all programs (and other guests of the host) had since the machine started."""
    return _best(_busy_seconds, None)


def energy_joules() -> dict[str, tuple[float, float]]:
    """RAPL's counters, (joules, where it wraps around), of what may be read (on Linux mostly by root); else empty."""
    return _best(_energy, {})


def joules_between(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> float | None:
    """What the processor's packages took between two readings; None where none can be read."""
    spent = [(after[name][0] - start) % wraps for name, (start, wraps) in before.items() if name in after]
    return sum(spent) if spent else None


def pss_mb() -> float | None:
    """This process's memory with shared pages divided among those who share them, in MB of 2^20 bytes (Linux)."""
    match = re.search(r"^Pss:\s*(\d+) kB", _read("/proc/self/smaps_rollup"), re.M)
    return int(match[1]) / 2**10 if match else None


def available_bytes() -> int | None:
    """Memory that programs can still have without swapping; None where the system does not say."""
    return _best(memory_left, None)


def oom_kills() -> int | None:
    """How many processes the Linux kernel has killed for memory; None elsewhere."""
    match = re.search(r"^oom_kill (\d+)", _read("/proc/vmstat"), re.M)
    groups = re.search(r"^oom_kill (\d+)", _read("/sys/fs/cgroup/memory.events"), re.M)
    return int(match[1]) + (int(groups[1]) if groups else 0) if match else None


def without_paths(text: str) -> str:
    """A message with the folders cut off its file names, so that it may stand in a record."""
    text = re.sub(r"'[^'\n]*[\\/]([^'\\/\n]*)'", r"'\1'", text)
    return re.sub(r"(?:\b[A-Za-z]:)?(?<![\w.])[\\/](?:[^\s'\"<>|:\\/]+[\\/])*([^\s'\"<>|:\\/]+)", r"\1", text)


def _best(find: Callable[[], Any], otherwise: Any) -> Any:
    """What `find` finds; `otherwise` where the system has other files, tools or rights than were expected."""
    with suppress(Exception):  # a fact that is missing must never end a benchmark
        found = find()
        return otherwise if found is None else found
    return otherwise


def _read(file: str | Path) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _tool(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _sysctl(name: str) -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        return _tool("sysctl", "-n", name)
    return None


def _registry(key: str, name: str) -> str:
    import winreg

    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
        return str(winreg.QueryValueEx(opened, name)[0])


def _cpu() -> str | None:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string")
    if sys.platform == "win32":
        return _registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString")
    return cpu_name()


def _cores() -> dict[str, int | None]:
    """Physical cores, and how many of them are performance and efficiency cores where there are two kinds."""
    if sys.platform == "darwin":
        kinds = [_sysctl(f"hw.perflevel{level}.physicalcpu") for level in (0, 1)]
        fast, slow = (int(kind) if kind else None for kind in kinds)
        return {"physical": int(_sysctl("hw.physicalcpu")), "performance": fast, "efficiency": slow}
    if sys.platform == "win32":
        classes = [data[1] for relation, data in _windows_topology() if relation == 0]
        fast = sum(kind == max(classes) for kind in classes)
        mixed = len(set(classes)) > 1
        return {
            "physical": len(classes),
            "performance": fast if mixed else None,
            "efficiency": len(classes) - fast if mixed else None,
        }
    cores = {}
    for cpu in Path(CPUS).glob("cpu[0-9]*"):
        siblings = _read(cpu / "topology/core_cpus_list") or _read(cpu / "topology/thread_siblings_list") or cpu.name
        cores[siblings] = (_read(f"/sys/bus/cpu/devices/{cpu.name}/cpu_capacity") or "0", int(cpu.name[3:]))
    small = numbers(_read("/sys/devices/cpu_atom/cpus"))
    if small:
        slow = sum(number in small for _, number in cores.values())
    else:
        capacities = {int(capacity) for capacity, _ in cores.values()}
        slow = sum(int(capacity) < max(capacities) for capacity, _ in cores.values()) if len(capacities) > 1 else 0
    mixed = (
        {"performance": len(cores) - slow, "efficiency": slow} if slow else {"performance": None, "efficiency": None}
    )
    return {"physical": len(cores) or None, **mixed}


def numbers(ranges: str) -> set[int]:
    """'0-3,8' -> {0, 1, 2, 3, 8}."""
    pairs = [part.partition("-") for part in ranges.split(",") if part]
    return {number for first, _, last in pairs for number in range(int(first), int(last or first) + 1)}


def _caches() -> dict[str, int]:
    """KiB of each level's caches, all cores together."""
    sizes: dict[str, int] = {}
    if sys.platform == "darwin":
        found = {"L1d": _sysctl("hw.l1dcachesize"), "L2": _sysctl("hw.l2cachesize"), "L3": _sysctl("hw.l3cachesize")}
        return {name: int(size) // 1024 for name, size in found.items() if size and int(size)}
    if sys.platform == "win32":
        for relation, data in _windows_topology():
            if relation == 2:
                level, _, _, size, kind = struct.unpack_from("<BBHII", data)
                if kind != 1:  # instructions
                    name = "L1d" if level == 1 else f"L{level}"
                    sizes[name] = sizes.get(name, 0) + size // 1024
        return sizes
    seen = set()
    for cache in Path(CPUS).glob("cpu[0-9]*/cache/index*"):
        level, kind, shared = (_read(cache / name) for name in ("level", "type", "shared_cpu_list"))
        if kind == "Instruction" or (level, kind, shared) in seen:
            continue
        seen.add((level, kind, shared))
        name = "L1d" if level == "1" else f"L{level}"
        sizes[name] = sizes.get(name, 0) + kib(_read(cache / "size"))
    return dict(sorted(sizes.items()))


def kib(size: str) -> int:
    """'32K' or '8M' -> KiB."""
    return int(size[:-1]) * {"K": 1, "M": 1024, "G": 2**20}[size[-1]]


def _isa() -> list[str]:
    if sys.platform == "darwin":
        return [name for flag, name in MAC_FEATURES.items() if _sysctl(f"hw.optional.{flag}") == "1"]
    if sys.platform == "win32":
        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return [name for feature, name in WINDOWS_FEATURES.items() if present(feature)]
    return instruction_sets()


def _ram() -> dict[str, Any] | None:
    """What kind of memory and how fast (million transfers a second); on Linux only root may know."""
    if sys.platform == "darwin":
        found = _tool("system_profiler", "SPMemoryDataType")
        kind, speed = re.search(r"Type: (\S+)", found), re.search(r"Speed: (\d+)", found)
        return {"kind": kind[1] if kind else None, "mts": int(speed[1]) if speed else None}
    if sys.platform == "win32":
        ask = "(Get-CimInstance Win32_PhysicalMemory | Select-Object -First 1).ConfiguredClockSpeed"
        return {"kind": None, "mts": int(_tool("powershell", "-NoProfile", "-Command", ask))}
    for entry in sorted(Path("/sys/firmware/dmi/entries").glob("17-*/raw")):
        raw = entry.read_bytes()
        speed = struct.unpack_from("<H", raw, 0x20)[0] if len(raw) > 0x22 else 0
        if speed:
            return {"kind": RAM_KINDS.get(raw[0x12]), "mts": speed}
    return None


def _system() -> str:
    """The system and its version, without what its builder may have written into it."""
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    if sys.platform == "win32":
        return f"Windows {platform.version()}"
    release = re.match(r"[\d.]*\d", platform.release())
    name = re.search(r'^PRETTY_NAME="?([^"\n/\\]*)', _read("/etc/os-release"), re.M)
    return f"{platform.system()} {release[0] if release else ''} ({name[1] if name else 'unknown distribution'})"


def _virtualised() -> str | None:
    """ "no", "yes", or "container"."""
    if sys.platform == "darwin":
        return "yes" if _sysctl("kern.hv_vmm_present") == "1" else "no"
    if sys.platform == "win32":
        product = _registry(r"HARDWARE\DESCRIPTION\System\BIOS", "SystemProductName")
        return "yes" if re.search("virtual|vmware|kvm|qemu", product, re.I) else "no"
    if re.search(r"^flags\s*:.*\bhypervisor\b", _read("/proc/cpuinfo"), re.M):
        return "yes"
    boxed = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
    return "container" if boxed else "no"


def _source() -> str | None:
    if sys.platform == "darwin":
        return "battery" if "Battery Power" in _tool("pmset", "-g", "batt").splitlines()[0] else "mains"
    if sys.platform == "win32":
        state = (ctypes.c_ubyte * 12)()
        if not ctypes.windll.kernel32.GetSystemPowerStatus(ctypes.byref(state)):
            return None
        return {0: "battery", 1: "mains"}.get(state[0])
    kinds = {supply: _read(supply / "type") for supply in Path("/sys/class/power_supply").glob("*")}
    mains = [_read(supply / "online") for supply, kind in kinds.items() if kind in ("Mains", "USB")]
    cells = [
        _read(supply / "status")
        for supply, kind in kinds.items()
        if kind == "Battery" and _read(supply / "scope") != "Device"  # a mouse's
    ]
    if "1" in mains or not cells:
        return "mains" if mains or not kinds else None
    return "battery" if "Discharging" in cells else "mains"


def _governor() -> str | None:
    if sys.platform == "win32":
        found = re.search(r"\(([^)]*)\)\s*$", _tool("powercfg", "/getactivescheme"))
        return found[1] if found else None
    profile = _read("/sys/firmware/acpi/platform_profile")
    governor = _read(f"{CPUS}/cpu0/cpufreq/scaling_governor")
    return ", ".join(filter(None, (governor, profile))) or None


def _throttle_events() -> int | None:
    if sys.platform == "darwin":
        limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", _tool("pmset", "-g", "therm"))
        return 100 - int(limit[1]) if limit else None
    counters = list(Path(CPUS).glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    return sum(int(_read(counter)) for counter in counters) if counters else None


def _busy_seconds() -> float | None:
    if sys.platform == "win32":
        times = [ctypes.c_ulonglong() for _ in range(3)]
        ctypes.windll.kernel32.GetSystemTimes(*map(ctypes.byref, times))
        idle, kernel, user = (each.value / 1e7 for each in times)
        return kernel + user - idle  # the kernel's time holds the idle time
    match = re.match(r"cpu\s+(.*)", _read("/proc/stat"))
    if not match:
        return None
    user, nice, system, _, _, interrupts, soft, steal = (int(part) for part in match[1].split()[:8])
    return (user + nice + system + interrupts + soft + steal) / os.sysconf("SC_CLK_TCK")


def _energy() -> dict[str, tuple[float, float]]:
    found = {}
    for domain in Path("/sys/class/powercap").glob("*rapl:[0-9]"):  # packages; their parts would count twice
        now, limit = _read(domain / "energy_uj"), _read(domain / "max_energy_range_uj")
        if now.isdigit() and limit.isdigit():
            found[domain.name] = (int(now) / 1e6, int(limit) / 1e6)
    return found


def _windows_topology() -> Iterator[tuple[int, bytes]]:
    """GetLogicalProcessorInformationEx: (relation, the bytes after relation and size) of each entry."""
    size, everything = ctypes.c_ulong(0), 0xFFFF
    call = ctypes.windll.kernel32.GetLogicalProcessorInformationEx
    call(everything, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    call(everything, buffer, ctypes.byref(size))
    place = 0
    while place < size.value:
        relation, length = struct.unpack_from("<II", buffer.raw, place)
        yield relation, buffer.raw[place + 8 : place + length]
        place += length
