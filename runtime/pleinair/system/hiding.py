"""Keeping what a process knows from others of the same user, such as those that it starts."""

import ctypes
import sys

PR_SET_DUMPABLE = 4  # of Linux's prctl


def hide_memory() -> None:
    """Let no process of this user read the memory, the environment or the open files of this one (Linux).

    The superuser still can, and it leaves no core dump.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
