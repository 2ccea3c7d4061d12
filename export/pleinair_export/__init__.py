"""The export stage: a diffusers folder in, a checked bundle out (needs torch: `pip install ".[export]"`)."""

from pleinair_export.convert import export
from pleinair_export.progress import Progress

__all__ = ["Progress", "export"]
