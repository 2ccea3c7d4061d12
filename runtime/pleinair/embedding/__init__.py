"""pleinair in programs of others: what painting needs of each package, for a folder and for frozen programs."""

from pathlib import Path


def hook_folders() -> list[str]:
    """Where PyInstaller finds our hooks, which it asks every installed package for."""
    return [str(Path(__file__).parent / "pyinstaller")]
