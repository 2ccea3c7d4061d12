"""Intel's usage statistics, kept from being sent: importing openvino would write ~/intel and open a connection."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep openvino and nncf from reporting what the body does.

    Where `openvino_telemetry` is not loaded yet its import fails inside the body, and both packages fall back to
    their own stubs; where a program loaded it earlier, its one sending method does nothing inside the body.
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
