"""What may lie where a file is expected: each function puts one such thing at a path."""

import os


def pipe(file):
    os.mkfifo(file)


def zeros(file):
    file.symlink_to("/dev/zero")


def sparse(file):
    with file.open("wb") as stream:
        stream.truncate(64 << 30)


def directory(file):
    file.mkdir()


def dangling(file):
    file.symlink_to("nowhere")


def circle(file):
    file.symlink_to(file.name)


def outside(file):
    """A link out of a folder of folders."""
    secret = file.parents[2] / "secret"
    secret.write_text("{}")
    file.symlink_to(secret)
