"""fail@k of *these problems*, sampled again: empirical Bayes, with intervals for every k.

Under a Beta(a, b) a problem of n samples has the posterior Beta(a + c, b + n - c). So the mean of
its (1 - p)^k is a ratio of beta functions, and the variance follows from the mean at 2k.

Unsolved problems decide at large k. There every family of the ensemble has its say: with c = 0 the
mean is F(n + k) / F(n), where F is the family's fail@k. Each draw takes a family by its weight, and
a replicate of its parameters. A Beta variable with the mean and variance that follow is the draw.
"""

import numpy as np
from scipy import special

from toolkit.stats.arrays import Bools, Floats, Ints
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.ensemble import Ensemble, beta_alone, log_ratio, unknown
from toolkit.stats.forecast import TAILS, Forecast, Interval

Moments = tuple[Floats, Floats]
"""Of the sum of (1 - p)^k over problems: its mean and its variance."""

MOST_TERMS = 2_000_000
"""Values of betaln at most: with many distinct counts, fewer replicates are taken."""
DRAWS = 2000
GROUPS = 6
"""Of the unsolved problems, by their n, where these differ."""


def same_problems(
    data: Replicated, ahead: Forecast, found: Ensemble | None, k: Ints
) -> dict[int, Interval]:
    """k -> fail@k of these problems, for the k of `k` at which there is a forecast.

    `ahead`, `found`: as `toolkit.stats.forecast.forecast_of` gives them. Up to k_max the estimate
    is the unbiased curve, beyond it the mean over families.
    """
    k = k[k <= ahead.farthest]
    random = np.random.default_rng(1)
    beta = found.beta if found else beta_alone(data)
    rows = min(len(beta.x), max(2, MOST_TERMS // max(1, 2 * len(k) * len(data.weights))))
    unsolved = data.pairs.c == 0
    solved = _of_beta(data, beta.x[:rows], k, ~unsolved)
    zero = tuple(part[None] for part in _of_beta(data, beta.x[:rows], k, unsolved))
    share = np.ones(1)
    if found and unsolved.any():
        share = found.weights / found.weights.sum()
        zero = _of_families(data, found, k, rows)
    problems = data.weights.sum()
    mean = (solved[0] + zero[0]) / problems
    variance = (solved[1] + zero[1]) / problems**2
    estimate = share @ mean[:, 0]
    low, high = _ends(mean, variance, share, random)
    agree = bool(unsolved.all() or (data.pairs.c == data.pairs.n).all())
    intervals: dict[int, Interval] = {}
    last, lowest, highest = 1.0, 1.0, 1.0
    for j, k_j in enumerate(k.tolist()):
        value = ahead.at(k_j).estimate if k_j <= ahead.k_max else float(estimate[j])
        last = min(last, value)  # the seam: what is measured and what is expected may differ
        ends = float(low[j]), float(high[j])
        if agree or (problems == 1 and k_j == 1):
            ends = _without_a_law(data, k_j)
        # What bounds fail@k bounds it at every larger k.
        lowest, highest = min(lowest, ends[0]), min(highest, ends[1])
        intervals[k_j] = Interval(last, min(lowest, last), max(highest, last))
    return intervals


def _of_beta(data: Replicated, x: Floats, k: Ints, some: Bools) -> Moments:
    """Over the pairs `some`, given Beta laws x: (R, 2); both results (R, K)."""
    n, c, weights = data.pairs.n[some], data.pairs.c[some], data.weights[some]
    shape = np.exp(x)[:, :, None, None]
    passed, failed = shape[:, 0] + c[:, None], shape[:, 1] + (n - c)[:, None]
    base = special.betaln(passed, failed)
    mean, square = (np.exp(special.betaln(passed, failed + f * k) - base) for f in (1, 2))
    variance = np.maximum(square - mean**2, 0)
    return np.einsum("j,rjk->rk", weights, mean), np.einsum("j,rjk->rk", weights, variance)


def _of_families(data: Replicated, found: Ensemble, k: Ints, rows: int) -> Moments:
    """Over the unsolved problems, by each family: both results (families, R, K)."""
    shape = (len(found.fitted), rows, len(k))
    mean, variance = np.zeros(shape), np.zeros(shape)
    z = np.random.default_rng(2).standard_normal((*shape[:2], 1))
    z[:, 0] = 0  # the fit itself
    share = found.weights / found.weights.sum()
    unsolved = data.pairs.c == 0
    n, weights = data.pairs.n[unsolved], data.weights[unsolved]
    for group in np.array_split(np.argsort(n), min(GROUPS, len(n))):
        size, number = int(np.average(n[group], weights=weights[group])), weights[group].sum()
        ends = np.concatenate([[size], size + k, size + 2 * k]).astype(float)
        logs = np.stack([log_ratio(family, ends)[:rows] for family in found.fitted.values()])
        logs = found.limited(logs, logs[:, 0])
        logs = logs * unknown(share @ logs[:, 0], z)
        once, twice = np.exp(logs[..., : len(k)]), np.exp(logs[..., len(k) :])
        mean += number * once
        variance += number * np.maximum(twice - once**2, 0)
    return mean, variance


def _ends(mean: Floats, variance: Floats, share: Floats, random: np.random.Generator) -> Moments:
    """The ends of the intervals, (K,), from draws of families, of replicates and of problems."""
    family = random.choice(len(mean), size=DRAWS, p=share)
    row = random.integers(mean.shape[1], size=DRAWS)
    m, v = np.clip(mean[family, row], 1e-12, 1 - 1e-12), variance[family, row]
    size = np.clip(m * (1 - m) / np.maximum(v, 1e-300) - 1, 1e-3, 1e15)
    drawn = random.beta(m * size, (1 - m) * size)
    low, high = np.quantile(drawn, TAILS, axis=0)
    return low, high


def _without_a_law(data: Replicated, k: int) -> tuple[float, float]:
    """95 % interval where all samples agree, or of a single problem's fail@1.

    Of the mean of 1 - p it is the exact binomial one (Clopper and Pearson 1934). Of each problem
    it counts as many samples as the least sampled one has: more of them say nothing of the others.
    With unequal p it errs to the wide side (Hoeffding 1956, Ann. Math. Stat. 27).
    For larger k, fail@k lies between the k-th power of that mean (Jensen) and the mean.
    """
    n = int(data.weights.sum()) * int(data.pairs.n.min())
    c = n * int(data.pairs.c[0]) // int(data.pairs.n[0])  # of all pairs the same share
    low = float(special.betaincinv(n - c, c + 1, TAILS[0])) if c < n else 0.0
    high = float(special.betaincinv(n - c + 1, c, TAILS[1])) if c else 1.0
    return low**k, high
