"""How often the ceiling's 95 % interval holds the true ceiling: runs with weak and strong tests.

A law gives each problem the probability that a sample passes the weak tests, and the probability
that such a pass is right. The true ceiling is the mean of the latter.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats.weak_tests import TwoVerdicts, weak_tests

REPETITIONS = int(os.environ.get("COVERAGE_REPETITIONS", "300"))
CELLS = ((164, 10), (164, 100), (40, 50), (20, 20))
"""Problems, and samples of each."""
Law = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def mostly_right(random: np.random.Generator, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """U-shaped rates; a pass is right with probability 8/9 on average."""
    return random.beta(0.3, 0.2, problems), random.beta(8, 1, problems)


def a_fifth_weak(random: np.random.Generator, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """A fifth of the problems have tests that let half of the wrong answers through."""
    right = np.where(random.random(problems) < 0.8, 1.0, random.beta(0.5, 0.5, problems))
    return random.beta(1, 1, problems), right


def worse_where_hard(random: np.random.Generator, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """The rarer a pass, the more often it is false."""
    rate = random.beta(0.5, 2, problems)
    return rate, rate**0.3


def a_few_worthless(random: np.random.Generator, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """Of 3 % of the problems every pass is false."""
    return random.beta(2, 1, problems), np.where(random.random(problems) < 0.97, 1.0, 0.0)


LAWS: tuple[Law, ...] = (mostly_right, a_fifth_weak, worse_where_hard, a_few_worthless)


def bench() -> Iterator[dict[str, object]]:
    """One row for each law and size."""
    with threadpool_limits(limits=1):
        for law in LAWS:
            truth = float(law(np.random.default_rng(9), 400_000)[1].mean())
            for problems, n in CELLS:
                yield row(law, truth, problems, n)


def row(law: Law, truth: float, problems: int, n: int) -> dict[str, object]:
    """How often the interval held the truth, and how wide it was."""
    random, names = np.random.default_rng(1), [str(i) for i in range(problems)]
    ends = []
    for seed in range(REPETITIONS):
        rate, right = law(random, problems)
        weak = random.binomial(n, rate)
        seen = TwoVerdicts(
            names, np.full(problems, n), weak, random.binomial(weak, right), 0 * weak
        )
        found = weak_tests(seen, np.array([1]), replicates=400, seed=seed).ceiling
        ends.append((found.lo, found.hi))
    low, high = np.array(ends).T
    return {
        "law": law.__name__,
        "problems": problems,
        "n": n,
        "true ceiling": f"{truth:.3f}",
        "repetitions": REPETITIONS,
        "interval holds it": f"{np.mean((low <= truth) & (truth <= high)):.1%}",
        "mean width": f"{np.mean(high - low):.3f}",
    }
