"""Files from anywhere: what is read, and what is refused without waiting or filling memory."""

import os
import sys
from pathlib import Path

import pytest

from pleinair.errors import BundleError
from pleinair.system.files import read_file, read_json


def refused(read, path, most=1000):
    with pytest.raises(BundleError) as caught:
        read(path, most, BundleError, "try another")
    line = str(caught.value)
    assert line.endswith("; try another") and "\n" not in line and line.isprintable()
    return line


def test_a_regular_file_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    assert read_file(tmp_path / "a", 1000, BundleError, "") == b"x" * 1000


def test_a_link_to_a_file_is_the_file(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b", 1000, BundleError, "") == b"x"


def test_what_is_too_large_is_named_with_both_sizes(tmp_path):
    with (tmp_path / "a").open("wb") as stream:
        stream.truncate(1 << 40)
    assert "1,099,511,627,776 bytes, at most 1,000" in refused(read_file, tmp_path / "a")


@pytest.mark.parametrize("name", ["gone", "a\0b", "n" * 300, "folder", "evil\x1b[31m\nname"])
def test_names_that_are_no_files(tmp_path, name):
    (tmp_path / "folder").mkdir()
    refused(read_file, tmp_path / name)


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refused(read_file, tmp_path / "pipe")
    assert "not an ordinary file" in refused(read_file, "/dev/zero")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b"{", b"\xff{}", b"[" * 900, b'{"a": ' * 150 + b"1" + b"}" * 150 + b"!"]
)
def test_json_that_is_no_object(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    refused(read_json, tmp_path / "a")


def test_json_nested_without_end(tmp_path):
    (tmp_path / "a").write_bytes(b'{"a":' * 100_000)
    assert "nested too deeply" in refused(read_json, tmp_path / "a", 1 << 20)


def test_json_object(tmp_path):
    (tmp_path / "a").write_text('{"a": [1, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "a", 1000, BundleError, "") == {"a": [1, "é"]}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the open files where Linux lists them")
@pytest.mark.parametrize("path", ["/", "/dev/zero", "gone"])
def test_nothing_stays_open(path):
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        refused(read_file, path)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
