"""The export stage: a diffusers folder in, a checked bundle out (needs torch: `pip install ".[export]"`)."""

from pleinair_export.convert import Progress, export

__all__ = ["Progress", "export"]
