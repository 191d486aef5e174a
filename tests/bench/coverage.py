"""How often the forecast's 95 % interval contains the truth: fail@1000 from n = 100, simulated.

Each repetition draws 164 problems from a law whose fail@1000 is known. The interval is that of the
report, from the same code.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats.curve import Counts
from toolkit.stats.forecast import CountFits, forecast, resample
from toolkit.stats.laws import BetaBinomial

PROBLEMS, N, K = 164, 100, 1000
REPETITIONS = int(os.environ.get("COVERAGE_REPETITIONS", "300"))
REPLICATES = 200


def beta(random: np.random.Generator) -> np.ndarray:
    """Problems like those of HumanEval for Llama 3.1 8B."""
    return random.beta(0.2873, 0.1709, size=PROBLEMS)


def hard(random: np.random.Generator) -> np.ndarray:
    """Problems like those of MATH for Pythia 12B: pass@1 of 2 %."""
    return random.beta(0.2955, 12.365, size=PROBLEMS)


def floor(random: np.random.Generator) -> np.ndarray:
    """As `beta`, but 3 % of the problems can never be solved."""
    return beta(random) * (random.random(PROBLEMS) >= 0.03)


def two_kinds(random: np.random.Generator) -> np.ndarray:
    """A mixture of two Betas: 70 % of the problems are easy, 30 % are hard."""
    easy, difficult = random.beta(2.0, 1.0, size=PROBLEMS), random.beta(0.5, 20.0, size=PROBLEMS)
    return np.where(random.random(PROBLEMS) < 0.7, easy, difficult)


def model(a: float, b: float, k: int) -> float:
    """fail@k of Beta(a, b)."""
    return float(BetaBinomial(a, b, 0.0, 0.0).fail_at_k(k))


LAWS: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], float]] = {
    "Beta(0.2873, 0.1709)": (beta, model(0.2873, 0.1709, K)),
    "Beta(0.2955, 12.365)": (hard, model(0.2955, 12.365, K)),
    "the first, with a floor of 3 %": (floor, 0.03 + 0.97 * model(0.2873, 0.1709, K)),
    "0.7 Beta(2, 1) + 0.3 Beta(0.5, 20)": (
        two_kinds,
        0.7 * model(2.0, 1.0, K) + 0.3 * model(0.5, 20.0, K),
    ),
}


def repetition(draw: Callable[[np.random.Generator], np.ndarray], seed: int) -> tuple[float, ...]:
    """The estimate, and the lower and upper end of the interval."""
    random = np.random.default_rng([seed, K])
    with threadpool_limits(limits=1):
        counts = Counts.of(np.full(PROBLEMS, N), random.binomial(N, draw(random)))
        ahead = forecast(counts, CountFits.of(counts), resample(PROBLEMS, REPLICATES, random))
    found = ahead.at(K)
    return found.estimate, found.lo, found.hi


def bench() -> Iterator[dict[str, object]]:
    """One row for each law."""
    with ProcessPoolExecutor(2) as pool:
        for law, (draw, truth) in LAWS.items():
            each = np.array(list(pool.map(partial(repetition, draw), range(REPETITIONS))))
            estimate, low, high = each.T
            held = (low <= truth) & (truth <= high)
            yield {
                "truth": law,
                "fail@1000": f"{truth:.4f}",
                "repetitions": REPETITIONS,
                "interval holds it": f"{held.mean():.1%}",
                "below / above it": f"{np.mean(high < truth):.1%} / {np.mean(low > truth):.1%}",
                "median width, hi / lo": f"{np.median(high / low):.2f}",
                "median relative error": f"{np.median(np.abs(estimate / truth - 1)):.1%}",
            }
