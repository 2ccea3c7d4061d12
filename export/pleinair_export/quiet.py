"""Third-party tools kept silent: nothing printed, nothing logged, and no usage statistics sent."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from pleinair.engines.telemetry import without_telemetry


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
