"""The proof of an export's memory: what holds too much is killed, with all that it has started."""

import sys

import pytest

from export_memory import in_bytes, limited

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
CHILD = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', '{}']).returncode)"


def test_a_command_within_its_limit_ends_as_it_does():
    outcome = limited(
        [sys.executable, "-c", "import time; held = b'x' * (40 << 20); time.sleep(0.4); exit(3)"], 400 << 20
    )
    assert outcome.code == 3 and 40 << 20 < outcome.most.anonymous < 400 << 20
    assert outcome.most.largest <= outcome.most.anonymous and outcome.most.largest <= outcome.most.resident


def test_a_command_beyond_it_is_killed():
    greedy = CHILD.format("held = b\\'x\\' * (400 << 20); import time; time.sleep(60)")
    outcome = limited([sys.executable, "-c", greedy], 200 << 20)
    assert outcome.code != 0 and outcome.seconds < 30


def test_sizes_are_read():
    assert (in_bytes("6e9"), in_bytes("6GB"), in_bytes("17GiB")) == (6 * 10**9, 6 * 10**9, 17 << 30)
