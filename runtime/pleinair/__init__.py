"""Stable Diffusion pictures on machines without CUDA, offline and without PyTorch."""

from pleinair.version import __version__

TYPE_CHECKING = False  # what type checkers take for True; importing typing costs milliseconds
if TYPE_CHECKING:
    from pleinair.adopting.adopt import adopt
    from pleinair.asynchronous import agenerate, astream
    from pleinair.bundle.opening import Bundle, open_bundle
    from pleinair.engines.fake import FakeEngine
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
    from pleinair.pictures.upscale import Upscaler, load_upscaler
    from pleinair.pipeline import Pipeline, load
    from pleinair.request.controls import Control
    from pleinair.results import Frame, Result, Timings

__all__ = [
    "Bundle",
    "BundleError",
    "Cancelled",
    "Control",
    "EngineError",
    "ExportError",
    "FakeEngine",
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
    "adopt",
    "agenerate",
    "astream",
    "load",
    "load_upscaler",
    "open_bundle",
]
HOMES = (
    "errors",
    "bundle.opening",
    "results",
    "pipeline",
    "pictures.upscale",
    "engines.fake",
    "adopting.adopt",
    "request.controls",
    "asynchronous",
)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the command line must be able to answer a Ctrl-C before."""
    if name in __all__:
        from importlib import import_module

        for home in HOMES:
            module = import_module(f"pleinair.{home}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module 'pleinair' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
