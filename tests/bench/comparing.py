"""How often a comparison is wrong: of equal runs, and of the k at which two curves cross.

- Equal runs: each problem has the same pass probability in all runs. A comparison is wrong where
  one run is called better than another at any k.
- Crossing runs: a base model and a tuned one, whose mean curves cross at a k that is known from
  400,000 problems. A comparison is right where its interval holds that k.
"""

import os
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats.comparison import crossover, differences
from toolkit.stats.passk import k_grid, pass_at_k

EQUAL = int(os.environ.get("COMPARING_REPETITIONS", "1000"))
CROSSING = min(EQUAL, 300)
Random = np.random.Generator
EQUAL_LAWS: dict[str, Callable[[Random, int], np.ndarray]] = {
    "Beta(0.3, 0.2)": lambda random, problems: random.beta(0.3, 0.2, problems),
    "Beta(0.3, 12)": lambda random, problems: random.beta(0.3, 12, problems),
    "Beta(2, 2)": lambda random, problems: random.beta(2, 2, problems),
}
EQUAL_CELLS = ((164, 100, 2), (164, 1000, 2), (30, 20, 2), (100, 50, 3))
"""Problems, samples of each, runs."""
CROSSING_CELLS = ((164, 100), (164, 400), (50, 200), (500, 200))


def logistic(x: np.ndarray) -> np.ndarray:
    """The probability with these log odds."""
    found: np.ndarray = 1 / (1 + np.exp(-x))
    return found


def sharpened(random: Random, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """Tuning makes easy problems easier and hard ones harder."""
    odds = random.normal(-1, 2.2, problems)
    return logistic(odds), logistic(2 * odds + 1.6)


def sharpened_by_chance(random: Random, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, less so, and with luck."""
    odds = random.normal(-1, 2.2, problems)
    return logistic(odds), logistic(1.5 * odds + 1.2 + 0.7 * random.normal(size=problems))


def unrelated(random: Random, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """Tuning solves other problems, and loses a third of them for good."""
    tuned = np.where(random.random(problems) < 0.35, 0.0, random.beta(1.5, 1.5, problems))
    return random.beta(0.5, 1.5, problems), tuned


CROSSING_LAWS = (sharpened, sharpened_by_chance, unrelated)


def bench() -> Iterator[dict[str, object]]:
    """First equal runs, then crossing ones."""
    with threadpool_limits(limits=1):
        for name, draw in EQUAL_LAWS.items():
            for problems, n, runs in EQUAL_CELLS:
                yield equal(name, draw, problems, n, runs)
        for law in CROSSING_LAWS:
            for problems, n in CROSSING_CELLS:
                yield crossing(law, problems, n)


def equal(
    name: str, draw: Callable[[Random, int], np.ndarray], problems: int, n: int, runs: int
) -> dict[str, object]:
    """How often one of equal runs is called better than another at any k."""
    random, k = np.random.default_rng(1), k_grid(n)
    passed, wrong = pass_at_k(n, np.arange(n + 1)[:, None], k[None, :]), 0
    for seed in range(EQUAL):
        p = draw(random, problems)
        curves = [passed[random.binomial(n, p)] for _ in range(runs)]
        apart = np.concatenate([a - b for a, b in combinations(curves, 2)], axis=1)
        found = differences(apart, replicates=300, seed=seed)
        wrong += bool((found.lo > 0).any() or (found.hi < 0).any())
    return {
        "equal runs": name,
        "problems": problems,
        "n": n,
        "runs": runs,
        "repetitions": EQUAL,
        "one is called better": f"{wrong / EQUAL:.1%}",
    }


def crossing(
    law: Callable[[Random, int], tuple[np.ndarray, np.ndarray]], problems: int, n: int
) -> dict[str, object]:
    """How often the interval holds the crossing, and how often it is said to cross."""
    truth, random = true_crossing(law), np.random.default_rng(3)
    k = np.unique(np.concatenate([np.arange(1, min(n, 20) + 1), np.geomspace(1, n, 60).round()]))
    passed = pass_at_k(n, np.arange(n + 1)[:, None], k[None, :].astype(np.int64))
    held = crosses = 0
    for seed in range(CROSSING):
        base, tuned = law(random, problems)
        apart = passed[random.binomial(n, base)] - passed[random.binomial(n, tuned)]
        found = crossover(k, differences(apart, replicates=200, seed=seed))
        inside = (found.lo or 0) <= truth <= (found.hi or np.inf)
        held += inside and found.crosses is not False
        crosses += found.crosses is True
    return {
        "crossing runs": law.__name__,
        "true k": f"{truth:.1f}",
        "problems": problems,
        "n": n,
        "repetitions": CROSSING,
        "interval holds it": f"{held / CROSSING:.1%}",
        "said to cross": f"{crosses / CROSSING:.0%}",
    }


def true_crossing(law: Callable[[Random, int], tuple[np.ndarray, np.ndarray]]) -> float:
    """The k at which the mean curves of the law cross, by bisection."""
    base, tuned = law(np.random.default_rng(5), 400_000)
    low, high = 0.0, 12.0  # log k
    for _ in range(40):
        middle = (low + high) / 2
        behind = np.mean((1 - tuned) ** np.exp(middle) - (1 - base) ** np.exp(middle)) < 0
        low, high = (middle, high) if behind else (low, middle)
    return float(np.exp(low))
