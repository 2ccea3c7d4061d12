"""The cases of a real cluster, in a process of their own: what Ray leaves running in a driver can end its process."""

import os
import subprocess
import sys
from pathlib import Path


def test_lists_and_servers_outlive_nodes_of_a_real_cluster(tmp_path):
    cases = Path(__file__).with_name("cluster_cases.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'cases'}",
        str(cases),
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=own)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
