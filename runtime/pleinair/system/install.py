"""How pleinair got here, which decides what installs the rest of it."""

from pathlib import Path

from pleinair.version import __version__

HERE = Path(__file__).parents[1]


def line(extra: str) -> str:
    """The words that follow "install it with:" for an extra of pleinair."""
    if from_clone(HERE):
        return f'pip install ".[{extra}]" in your clone of pleinair'
    return f'pip install "pleinair[{extra}]"'


def from_clone(package: Path) -> bool:
    """Whether this package folder lies in a clone, or was installed from one rather than from a package index."""
    if (package.parents[1] / "pyproject.toml").is_file():
        return True
    try:  # what pip notes for `pip install .`
        origin = (package.parent / f"pleinair-{__version__}.dist-info" / "direct_url.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return '"dir_info"' in origin
