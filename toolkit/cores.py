"""The cores that are this process's to use: its share of the node, not the node."""

import os


def available_cores() -> int:
    """At least one. A cluster that confines no task to its cores still says how many it has."""
    here = len(os.sched_getaffinity(0))
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(here, int(share)) if share.isdigit() and int(share) else here


def divide_cores(tasks: int) -> None:
    """Let each of `tasks` processes that start now and work side by side take its part in threads;
    what the user has set stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // tasks)))
