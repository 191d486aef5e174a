"""Intervals of a mean over problems that hold where all values agree, or where n is small.

- `mean_intervals`: such problems. The Bayesian bootstrap (Rubin 1981, Annals of Statistics 9,
  130-134) with half a problem at 0 and half a problem at 1 added. Where all values are 0 or 1, it
  is the interval of Jeffreys, so that no interval has width zero.
- `posterior_points`, `beta_of_moments`: these problems. Each p has a Beta posterior, and the
  problems are independent (Hariri et al. 2025, arXiv 2510.04265).
"""

from typing import cast

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats, Ints

TAILS = (0.025, 0.975)
POINTS = 64
"""Equally likely points that stand for a posterior."""
ENDS = 0.5
"""Problems that are added at either end: the prior of Jeffreys."""
LARGEST_SIZE = 1e12
"""a + b of a Beta whose quantiles SciPy finds. Its standard deviation is under a millionth."""
AT_ONCE = 2_000_000
"""Weights that are drawn at a time."""


def problem_weights(
    problems: int,
    replicates: int,
    random: np.random.Generator,
    times: Ints | None = None,
) -> Floats:
    """Weights of the Bayesian bootstrap, shape (replicates, problems + 2); each row sums to 1.

    The last two columns are the weights of the values 0 and 1. times: how many problems each of
    these stands for, shape (problems,); None for one each.
    """
    shape = np.ones(problems) if times is None else times.astype(np.float64)
    each = random.standard_gamma(np.append(shape, [ENDS, ENDS]), (replicates, problems + 2))
    found: Floats = each / each.sum(axis=1, keepdims=True)
    return found


def mean_draws(
    values: Floats, replicates: int, random: np.random.Generator, times: Ints | None = None
) -> Floats:
    """Means of such problems, shape (replicates, M). values: of each problem, (P, M) in [0, 1]."""
    problems = len(values)
    step = max(1, AT_ONCE // (problems + 2))
    rows = []
    for start in range(0, replicates, step):
        weights = problem_weights(problems, min(step, replicates - start), random, times)
        rows.append(weights[:, :-2] @ values + weights[:, -1:])
    return np.concatenate(rows)


def mean_intervals(
    values: Floats, replicates: int, random: np.random.Generator, times: Ints | None = None
) -> tuple[Floats, Floats]:
    """The ends of the 95 % interval of each column's mean, for such problems; shape (M,) each.

    values: of each problem, shape (P, M), in [0, 1]. times: how many problems each row stands for.
    The interval holds the mean of the values.
    """
    drawn = mean_draws(values, replicates, random, times)
    ends = np.asarray(np.quantile(drawn, TAILS, axis=0), dtype=np.float64)
    mean = np.asarray(np.average(values, axis=0, weights=times), dtype=np.float64)
    return np.minimum(ends[0], mean), np.maximum(ends[1], mean)


def posterior_points(n: Ints, c: Ints, prior: tuple[float, float]) -> Floats:
    """`POINTS` equally likely pass probabilities of each problem, shape (P, POINTS), ascending."""
    shares = (np.arange(POINTS) + 0.5) / POINTS
    a, b = prior[0] + c, prior[1] + n - c
    return cast(Floats, special.betaincinv(a[:, None], b[:, None], shares[None, :]))


def posterior_above(n: Ints, c: Ints, prior: tuple[float, float], p: float) -> Floats:
    """The posterior probability that each problem's pass rate is over p, shape (P,)."""
    return cast(Floats, special.betaincc(prior[0] + c, prior[1] + n - c, p))


def beta_of_moments(mean: float, variance: float) -> tuple[float, float]:
    """The ends of the 95 % interval of the Beta with this mean and variance.

    A sum over independent problems is nearly normal; a Beta also stays within [0, 1].
    """
    most = mean * (1 - mean)
    if variance <= 0 or most <= 0:
        return mean, mean
    size = min(max(most / variance - 1, 1e-3), LARGEST_SIZE)
    lo, hi = (float(special.betaincinv(mean * size, (1 - mean) * size, tail)) for tail in TAILS)
    return min(lo, mean), max(hi, mean)
