"""Whether an export fits into memory, asked before anything large is read."""

from pleinair.errors import ResourceError
from pleinair.system.limits import memory_left
from pleinair_export.apart import MEMORY, SMALL

EACH = 6  # bytes for each parameter of the largest component: float32 on an engine, and 16 bits as they are read
BESIDE = 1_000_000_000  # bytes for what networks work with, and the libraries


def memory_needed(sizes: dict[str, int]) -> int:
    """Bytes of the process that takes most, for components of so many parameters; 0 for small ones."""
    largest = max(sizes.values())
    return EACH * largest + BESIDE if largest > SMALL else 0


def check_memory(needed: int) -> None:
    """Raise ResourceError where the system, or a limit that it sets to this process, leaves less than `needed`."""
    left = [each for each in (memory_left(), *limits()) if each is not None]
    if left and min(left) < needed:
        raise ResourceError(
            f"the export needs about {needed / 1e9:.1f} GB of memory and {min(left) / 1e9:.1f} GB are left; {MEMORY}"
        )


def limits() -> list[int]:
    """What ulimit lets a process have; engines reserve address space that they never use, so that does not count."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return [] if soft == resource.RLIM_INFINITY else [soft]
