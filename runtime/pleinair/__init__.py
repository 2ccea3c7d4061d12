"""Stable Diffusion pictures on machines without CUDA, offline and without PyTorch."""

from pleinair.bundle import Bundle, open_bundle
from pleinair.errors import (
    BundleError,
    EngineError,
    ExportError,
    NetworkError,
    PleinairError,
    QualityError,
    RequestError,
    ResourceError,
)
from pleinair.pipeline import Frame, Pipeline, Result, Timings, load
from pleinair.version import __version__

__all__ = [
    "Bundle",
    "BundleError",
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
    "__version__",
    "load",
    "open_bundle",
]
