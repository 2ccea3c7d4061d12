"""The public names of `pleinair`."""

from pleinair.bundle import Bundle, open_bundle
from pleinair.errors import (
    BundleError,
    Cancelled,
    EngineError,
    ExportError,
    NetworkError,
    PleinairError,
    QualityError,
    RequestError,
    ResourceError,
)
from pleinair.pipeline import Frame, Pipeline, Result, Timings, load
from pleinair.upscale import Upscaler, load_upscaler
from pleinair.version import __version__

__all__ = [
    "Bundle",
    "BundleError",
    "Cancelled",
    "EngineError",
    "ExportError",
    "Frame",
    "NetworkError",
    "Pipeline",
    "PleinairError",
    "QualityError",
    "RequestError",
    "ResourceError",
    "Result",
    "Timings",
    "Upscaler",
    "__version__",
    "load",
    "load_upscaler",
    "open_bundle",
]
