"""Locks that the system releases when the process that holds them dies."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pleinair.errors import ResourceError

HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what systems say of a lock that another process has


@contextlib.contextmanager
def only_one(lock: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, and remove it at the end; ResourceError with the words of `busy` where another process has it.

    Raises OSError where the file cannot be made. On file systems without locks nothing is held.
    """
    descriptor = _locked(lock, busy)
    try:
        yield
    finally:
        if os.name != "nt":
            lock.unlink(missing_ok=True)
        os.close(descriptor)
        if os.name == "nt":  # Windows removes no open file
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)


def _locked(lock: Path, busy: str) -> int:
    """An open descriptor of the lock file, locked."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            acquire(descriptor)
            if os.path.samestat(os.fstat(descriptor), lock.lstat()):
                return descriptor
        except FileNotFoundError:
            pass  # like another file of its name: its last holder removed it after it was opened here
        except OSError as error:
            if error.errno not in HELD:
                return descriptor
            os.close(descriptor)
            raise ResourceError(busy) from None
        os.close(descriptor)


def acquire(descriptor: int) -> None:
    """Lock an open file without waiting; raises OSError when another process has it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
