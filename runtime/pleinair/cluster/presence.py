"""That a program is still there, as all machines of a cluster see it: an actor's name, which ends with the program.

Ray ends the actors of a program that is gone, however it went; nothing has to be said or heard of it in between.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NAMESPACE = "pleinair"


class Presence:
    """An actor that does nothing."""


@contextmanager
def present(name: str) -> Iterator[None]:
    """Be seen under a name that no other program has, until the block or the program ends; for a joined cluster."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # it ends with this one
    remote = ray.remote(num_cpus=0, max_restarts=-1)(Presence)
    actor = remote.options(name=name, namespace=NAMESPACE, scheduling_strategy=here).remote()
    try:
        yield
    finally:
        with suppress(RayError):
            ray.kill(actor)


def is_present(name: str) -> bool:
    """Whether the program that has this name is there. Raises RayError where the cluster does not answer."""
    return {"name": name, "namespace": NAMESPACE} in list_named_actors(all_namespaces=True)
