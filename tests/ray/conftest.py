"""A Ray cluster of two nodes on this machine."""

import contextlib
import importlib.util
import os
import sys

import pytest

from pleinair.cluster.joining import quieten

if importlib.util.find_spec("ray") is None or sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]
quieten()
NODE = {"num_cpus": 2, "object_store_memory": 80 << 20}  # the least that Ray takes


@pytest.fixture(scope="module")
def head():
    """The cluster with its first node."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of what nodes start
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield made
        made.shutdown()


@pytest.fixture
def cluster(head):
    """The same with a second one, `cluster.other`, which a test may kill; no process has joined it."""
    import ray

    head.other = head.add_node(**NODE)
    yield head
    ray.shutdown()
    with contextlib.suppress(KeyError):  # it was killed
        head.remove_node(head.other)
