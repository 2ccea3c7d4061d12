"""How pleinair got here, which decides what installs the rest of it."""

from functools import cache
from pathlib import Path

CLONE = Path(__file__).parents[2]


def line(extra: str, *flags: str) -> str:
    """The words that end "install it with:" for an extra of pleinair."""
    options = "".join(f" {flag}" for flag in flags)
    if from_clone():
        return f'pip install ".[{extra}]"{options} in your clone of pleinair'
    return f'pip install "pleinair[{extra}]"{options}'


@cache
def from_clone() -> bool:
    """Whether pleinair was installed from a folder, or runs in one, rather than from a package index."""
    if (CLONE / "pyproject.toml").is_file():  # an editable install, or none at all
        return True
    import json
    from importlib.metadata import PackageNotFoundError, distribution  # a fifth of the import time of this package

    try:
        origin = json.loads(distribution("pleinair").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return False
    return "dir_info" in origin  # what pip notes for `pip install .`
