"""The cores that are this process's to use: its share of the node, not the node."""

import contextlib
import os
from collections.abc import Iterator

OWN = "INFERENCE_SCALING_CORES"
"""Tells a local task its share, as SLURM_CPUS_PER_TASK does on a cluster."""


def available_cores() -> int:
    """At least one. A cluster that confines no task to its cores still says how many it has."""
    shares = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", OWN))
    known = [int(share) for share in shares if share.isdigit() and int(share)]
    return min([len(os.sched_getaffinity(0)), *known])


@contextlib.contextmanager
def divided_cores(tasks: int) -> Iterator[None]:
    """What starts in here is one of `tasks` processes side by side, and takes its part."""
    os.environ[OWN] = str(max(1, available_cores() // max(1, tasks)))
    try:
        yield
    finally:
        del os.environ[OWN]
