"""The export stage: a diffusers folder in, a checked bundle out (needs torch: `pip install ".[export]"`).

What it shows is imported when it is asked for: some of its processes are to do without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pleinair_export.convert import export
    from pleinair_export.progress import ExportProgress

__all__ = ["ExportProgress", "export"]
HOMES = {"ExportProgress": "progress", "export": "convert"}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
