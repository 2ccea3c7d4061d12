"""Usage statistics of the engines' makers, kept from being sent.

Importing openvino would write ~/intel and open a connection; onnxruntime looks up its maker's host ten seconds after
its import, again and again, and writes below ~/.cache. Neither package can be asked to stop afterwards.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator

OFF = {"ORT_DISABLE_TELEMETRY": "1"}
CONVERTER = "openvino.tools.ovc"


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep openvino, nncf and onnxruntime, imported or asked to work inside the body, from reporting what is done."""
    with _without_openvino_telemetry(), _without_converter(), _environment(OFF):
        yield


@contextlib.contextmanager
def _without_converter() -> Iterator[None]:
    """openvino, imported inside the body, without what reads other frameworks' models: 5 MB, and 30 ms of each start.

    `openvino.convert_model` is imported when it is asked for, and reports nothing then either.
    """
    if "openvino" in sys.modules or CONVERTER in sys.modules:
        yield
        return
    sys.modules[CONVERTER] = None
    try:
        yield
    finally:
        sys.modules.pop(CONVERTER, None)
        if "openvino" in sys.modules:
            sys.modules["openvino"].__getattr__ = _converter


def _converter(name: str) -> Callable:
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute '{name}'")
    with without_telemetry():
        return importlib.import_module(CONVERTER).convert_model


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables set inside the body, and as they were after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_openvino_telemetry() -> Iterator[None]:
    """openvino and nncf with their own stubs in place of openvino_telemetry, which cannot be imported inside the body.

    Where a program loaded it earlier, its one sending method does nothing inside the body.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None
        try:
            yield
        finally:
            sys.modules.pop("openvino_telemetry", None)
    elif sys.modules["openvino_telemetry"] is None:
        yield
    else:
        from openvino_telemetry.utils.sender import TelemetrySender

        send = TelemetrySender.send
        TelemetrySender.send = lambda self, backend, message: None
        try:
            yield
        finally:
            TelemetrySender.send = send
