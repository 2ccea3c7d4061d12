"""Ways to save a picture that go wrong, importable by the processes that paint."""

import os
import signal
import time

from pleinair.errors import ResourceError
from pleinair.files.output import whole_file, write_pictures

CUT = "cut"  # stands in the prompt of a picture that its process does not survive


def killed(result, files, overwrite):
    """Die in the middle of writing what `CUT` asks for."""
    if CUT in result.settings["prompt"]:
        with whole_file(files[0], overwrite, []) as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return write_pictures(result, files, overwrite)


def full(result, files, overwrite):
    raise ResourceError("cannot write; free space")


def slow(result, files, overwrite):
    """Leave a note of which process writes, and take long."""
    files[0].with_suffix(f".{os.getpid()}.pid").touch()
    time.sleep(0.3)
    return write_pictures(result, files, overwrite)
