"""A process whose environment others of its user cannot read."""

import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("Linux alone hides a process's memory", allow_module_level=True)

SCRIPT = """
import ctypes, os
from pleinair.system.hiding import PR_SET_DUMPABLE, hide_memory

if os.getuid() == 0:  # whom nothing is hidden from
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a program of this user has it

def is_readable():
    parent, child = os.getpid(), os.fork()
    if child == 0:
        try:
            with open(f"/proc/{parent}/environ", "rb"):
                os._exit(1)
        except PermissionError:
            os._exit(0)
    return bool(os.waitpid(child, 0)[1])

before = is_readable()
hide_memory()
print(before, is_readable(), os.listdir("/proc/self/fd") != [])
"""


def test_a_process_s_environment_is_hidden_from_its_children_and_its_own_files_are_not_from_it():
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert found.stdout.split() == ["True", "False", "True"], found.stderr
