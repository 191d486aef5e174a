"""How long a test may wait on a machine that does other work too."""

import os


def waiting_for_a_core() -> float:
    """How much longer everything takes: processes that want a core, for each core there is."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def patience(seconds: float) -> float:
    """Seconds after which what takes `seconds` on a quiet machine counts as hung here and now.

    The load is an average of a minute: it knows too late of lanes of tests that have just begun.
    Hence the factor of four. How fast something is, the benchmarks say.
    """
    return 4 * seconds * waiting_for_a_core()
