"""Third-party tools kept silent: nothing printed, nothing logged, and no usage statistics sent."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Run the body with stdout, stderr, logging, Python warnings and Intel's telemetry switched off.

    Everything is restored afterwards, so never yield from a generator inside it.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            without_telemetry(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep openvino and nncf from sending usage statistics, which they do on import and on every conversion.

    Where `openvino_telemetry` is not loaded yet its import fails inside the body, and both packages fall back to
    their own stubs; where a program loaded it earlier, its one sending method does nothing inside the body.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
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
