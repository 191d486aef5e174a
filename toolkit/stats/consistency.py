"""How reliably problems are solved: pass^k, G-Pass@k, mG-Pass@k and Cover@tau, from counts.

pass@k asks whether one of k samples passes. These ask how many do. Of a problem with n samples, c
of which passed, k are drawn without replacement, and J of them pass (hypergeometric):

    pass^k            P(J = k) = C(c, k) / C(n, k)      Yao et al. 2024, arXiv 2406.12045
    G-Pass@k_tau      P(J >= max(1, ceil(tau k)))       Liu et al. 2024, arXiv 2412.13147
    mG-Pass@k         2/k sum of P(J >= i) over i from ceil(k/2) + 1 to k     the same
    Cover@tau         1 if c/n >= tau, else 0           Dragoi et al. 2025, arXiv 2510.08325

A benchmark's value is the mean over its problems. The first three are unbiased estimates of the
same with k fresh samples. Cover@tau is that of the measured rates, and no unbiased one exists: at
small n, a problem whose p is near tau is taken for either side.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from toolkit.errors import UsageError
from toolkit.stats import passk
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bayes import beta_of_moments, mean_intervals, posterior_above, posterior_points
from toolkit.stats.curve import Counts

TAUS = (0.5, 0.75, 1.0)
"""Of G-Pass@k in a report: half, three quarters, all."""
COVER_TAUS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Not 1: no number of samples shows that a p is exactly 1."""
LARGEST_K = 100
"""In a report: a user who needs more than a hundred right answers in a row is not known."""
GRID = np.linspace(0.0, 1.0, 4097)
"""Pass probabilities at which a measure is computed before it is interpolated."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean over problems, with two 95 % intervals.

    - lo, hi: such problems (Bayesian bootstrap over problems).
    - credible_lo, credible_hi: these problems sampled again (posterior of each p).
    """

    estimate: float
    lo: float
    hi: float
    credible_lo: float
    credible_hi: float


@dataclass(frozen=True, slots=True)
class Consistency:
    """The measures of a benchmark: k or tau -> value. G-Pass@k: tau -> k -> value.

    mG-Pass@k has no k = 1, where its sum is empty.
    """

    pass_hat_k: dict[int, Measured]
    g_pass_at_k: dict[float, dict[int, Measured]]
    mean_g_pass_at_k: dict[int, Measured]
    cover_at: dict[float, Measured]


def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased pass^k in [0, 1], broadcast over n, c, k; nan where k > n."""
    n, c = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    return passk.fail_at_k(n, n - c, k)


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: int, tau: float) -> Floats:
    """Unbiased G-Pass@k_tau of each problem, shape (P,); nan where k > n. tau in [0, 1]."""
    return _at_least(passes_among(n, c, k), least_of(k, tau))


def mean_g_pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """Unbiased mG-Pass@k of each problem, shape (P,); nan where k > n; 0 at k = 1."""
    return _mean_over_half(passes_among(n, c, k))


def cover_at(n: ArrayLike, c: ArrayLike, tau: float) -> Floats:
    """1 for each problem whose measured rate is tau or more, else 0; shape (P,)."""
    n, c = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    return (c >= tau * n - 1e-9).astype(np.float64)


def least_of(k: int, tau: float) -> int:
    """max(1, ceil(tau k)), where 0.7 * 10 is 7 and not 8."""
    if not 0 <= tau <= 1:
        raise UsageError(f"G-Pass@k needs 0 <= tau <= 1, not {tau}")
    return max(1, math.ceil(tau * k - 1e-9))


def passes_among(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """P(J = j) of each problem for j = 0 .. k, shape (P, k + 1); nan where k > n.

    Neighbours have the ratio (c-j)(k-j) / ((j+1)(n-c-k+j+1)). Their logarithms are summed and the
    row is scaled to 1, so that no large factorial is needed.
    """
    n, c = (np.atleast_1d(np.asarray(a, dtype=np.int64)) for a in (n, c))
    if k < 1 or np.any(c < 0) or np.any(c > n):
        raise UsageError("passes among k samples need 0 <= c <= n and k >= 1")
    pairs, inverse = np.unique(np.stack([n, c], axis=1), axis=0, return_inverse=True)
    total, passed = pairs[:, :1], pairs[:, 1:]
    j = np.arange(k + 1)
    first, last = np.maximum(0, k - (total - passed)), np.minimum(passed, k)
    inner = (j >= first) & (j < last)
    above = np.where(inner, (passed - j) * (k - j), 1)
    below = np.where(inner, (j + 1) * (total - passed - k + j + 1), 1)
    logs = np.zeros(inner.shape)
    logs[:, 1:] = np.cumsum(np.log(above[:, :-1]) - np.log(below[:, :-1]), axis=1)
    logs[(j < first) | (j > last)] = -np.inf
    shares = np.full(logs.shape, np.nan)
    has = total[:, 0] >= k
    shares[has] = np.exp(logs[has] - logs[has].max(axis=1, keepdims=True))
    shares[has] /= shares[has].sum(axis=1, keepdims=True)
    found: Floats = shares[inverse.reshape(-1)]
    return found


def _at_least(shares: Floats, least: int) -> Floats:
    found: Floats = shares[:, least:].sum(axis=1)
    return found


def _mean_over_half(shares: Floats) -> Floats:
    """2/k E max(J - ceil(k/2), 0): the sum of the tails, turned round."""
    k = shares.shape[1] - 1
    found: Floats = 2 / k * (shares @ np.maximum(np.arange(k + 1) - math.ceil(k / 2), 0))
    return found


def binomial_shares(p: Floats, k: int) -> Floats:
    """P(J = j) for k fresh samples that pass with probability p, shape (len(p), k + 1)."""
    j = np.arange(k + 1)
    log_choose = special.gammaln(k + 1) - special.gammaln(j + 1) - special.gammaln(k - j + 1)
    logs = log_choose + special.xlogy(j, p[:, None]) + special.xlog1py(k - j, -p[:, None])
    found: Floats = np.exp(logs)
    return found


def measure(
    counts: Counts, k: Ints, prior: tuple[float, float], *, replicates: int = 1000, seed: int = 0
) -> Consistency | None:
    """All measures at these k (none over the least n), with intervals.

    prior: a and b of the Beta that each p is drawn from, for the credible intervals. Fitted to the
    counts (empirical Bayes) it fits the set at hand. With (1, 1) the intervals are those of Hariri
    et al. 2025 (arXiv 2510.04265), which draw every rate towards one half.

    None under a stopping rule: these estimates are biased where passes end the sampling.
    """
    if counts.rule is not None:
        return None
    # Equal counts have equal values: a large benchmark has few distinct ones.
    groups, times = counts.distinct()
    pairs = np.stack([groups.n, groups.c], axis=1)
    keys, values, laws = _columns(pairs[:, 0], pairs[:, 1], [int(each) for each in k])
    lo, hi = mean_intervals(values, replicates, np.random.default_rng(seed), times)
    credible = _credible(pairs, times, laws, prior)
    means = times @ values / len(counts)
    found = {
        key: Measured(float(means[i]), float(lo[i]), float(hi[i]), *credible[i])
        for i, key in enumerate(keys)
    }
    g_pass = {tau: {j: found["g", tau, j] for j in map(int, k)} for tau in TAUS}
    return Consistency(
        pass_hat_k=g_pass[1.0],
        g_pass_at_k={tau: g_pass[tau] for tau in TAUS if tau < 1},
        mean_g_pass_at_k={j: found["mean", 0.0, j] for j in map(int, k) if j > 1},
        cover_at={tau: found["cover", tau, 0] for tau in COVER_TAUS},
    )


def _columns(
    n: Ints, c: Ints, k: list[int]
) -> tuple[list[tuple[str, float, int]], Floats, list[Floats]]:
    """(kind, tau, k) of each measure; its value for each n and c, (P, M); and at each p of GRID.

    Cover@tau, a step, has no row of the last: its posterior is known in closed form.
    """
    keys: list[tuple[str, float, int]] = []
    columns: list[Floats] = []
    laws: list[Floats] = []
    for each in k:
        keys += [("g", tau, each) for tau in TAUS] + [("mean", 0.0, each)]
        for shares, into in (
            (passes_among(n, c, each), columns),
            (binomial_shares(GRID, each), laws),
        ):
            into += [_at_least(shares, least_of(each, tau)) for tau in TAUS]
            into.append(_mean_over_half(shares))
    keys += [("cover", tau, 0) for tau in COVER_TAUS]
    columns += [cover_at(n, c, tau) for tau in COVER_TAUS]
    return keys, np.stack(columns, axis=1), laws


def _credible(
    pairs: Ints, times: Ints, laws: list[Floats], prior: tuple[float, float]
) -> list[tuple[float, float]]:
    """The interval of each measure's mean over these problems, in the order of `_columns`."""
    n, c = pairs.T
    points, total = posterior_points(n, c, prior), int(times.sum())
    moments = []
    for law in laws:
        at = np.interp(points, GRID, law)
        moments.append((at.mean(axis=1), at.var(axis=1)))
    for tau in COVER_TAUS:
        above = posterior_above(n, c, prior, tau)
        moments.append((above, above * (1 - above)))
    return [
        beta_of_moments(float(times @ mean) / total, float(times @ variance) / total**2)
        for mean, variance in moments
    ]
