"""How many cores this process may use: its share of the node, not the whole node."""

import contextlib
import os
from collections.abc import Iterator

OWN = "INFERENCE_SCALING_CORES"
"""The environment variable with a local process's share, as SLURM_CPUS_PER_TASK on a cluster."""


def available_cores() -> int:
    """The number of cores that this process may use, at least 1.

    Some clusters do not confine an array task to its cores. Slurm's variable still says how many it
    has.
    """
    shares = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", OWN))
    known = [int(share) for share in shares if share.isdigit() and int(share)]
    return min([len(os.sched_getaffinity(0)), *known])


@contextlib.contextmanager
def divided_cores(tasks: int) -> Iterator[None]:
    """Divide the cores among `tasks` processes that start in this context and run side by side.

    Each process finds its part in the variable `OWN`.
    """
    os.environ[OWN] = str(max(1, available_cores() // max(1, tasks)))
    try:
        yield
    finally:
        del os.environ[OWN]
