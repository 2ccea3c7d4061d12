"""Stable Diffusion pictures on machines without CUDA, offline and without PyTorch."""

from pleinair.version import __version__ as __version__

TYPE_CHECKING = False  # what type checkers take for True; importing typing costs milliseconds
if TYPE_CHECKING:
    from pleinair.api import *  # noqa: F403


def __getattr__(name: str) -> object:
    """The public names are imported when first asked for: the command line must be able to answer a Ctrl-C before."""
    if name == "__all__" or not name.startswith("_"):
        from importlib import import_module

        api = import_module("pleinair.api")
        public = getattr(api, "__all__", [])  # not there yet while api's own imports look for their siblings here
        if name == "__all__" or name in public:
            globals().update({each: getattr(api, each) for each in public}, __all__=public)
            return globals()[name]
    raise AttributeError(f"module 'pleinair' has no attribute '{name}'")


def __dir__() -> list[str]:
    from pleinair.api import __all__

    return __all__
