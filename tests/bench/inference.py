"""Processor time and memory of all that a fit infers, for many problems with unequal n.

It is the slowest case: hardly two problems have the same counts, so
little is computed once for many.
"""

import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from toolkit.stats.curve import Counts
from toolkit.stats.inference import infer

CASES: dict[str, Callable[[], np.ndarray]] = {
    "5,000 problems, n = 1,000 to 5,999, all different": lambda: np.arange(1000, 6000),
    "100,000 problems, n = 100 to 1,099": lambda: np.random.default_rng(6).integers(
        100, 1100, 100_000
    ),
}
"""Name -> n of each problem."""


def measured(name: str) -> tuple[float, int]:
    """Seconds of the processor, and the peak resident bytes."""
    n, random = CASES[name](), np.random.default_rng(5)
    counts = Counts.of(n, random.binomial(n, random.beta(0.3, 0.5, len(n))))
    started = time.process_time()
    infer(counts)
    used = time.process_time() - started
    return used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bench() -> Iterator[dict[str, object]]:
    """A row for each set of counts, each in a process of its own."""
    for name in CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, peak = pool.submit(measured, name).result()
        yield {"counts": name, "CPU s": f"{seconds:.1f}", "peak memory, GB": f"{peak / 1e9:.2f}"}
