"""Bounds of fail@k that need no law of p: all mixing distributions that the counts do not reject.

The counts of such problems are a mixture of binomials over an unknown distribution G of p, and
fail@k is the linear functional E (1 - p)^k of G. Its extremes are taken over all G whose
likelihood is within 1.92 of the largest (half the 95 % quantile of chi-square with one degree of
freedom: a profile-likelihood interval). This is F-localisation with a likelihood region: Ignatiadis
and Wager 2022, "Confidence intervals for nonparametric empirical Bayes analysis", JASA 117,
section 3; the nonparametric maximum likelihood is Kiefer and Wolfowitz 1956.

G lives on a grid of p. The region is convex, so a linear programme with tangent planes of the log
likelihood (Kelley 1960) has an optimum outside of it, and each further plane draws it in. The bound
that is reported is the programme's own, so it errs to the wide side only.
"""

import numpy as np
from scipy import special
from scipy.optimize import linprog

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.thinning import EXACT, largest_thinning, thinned

CRITICAL = 1.92
TAIL = 0.025
GRID = 140
CUTS = 25
TOLERANCE = 0.05
"""Of the log likelihood: the bounds are those of a region that is larger by so much."""
BINS = (0, 1, 2, 3, 4, 6, 8, 11, 16, 24, 36, 54)
"""Counts from one to the next are told apart no further: they say little about the tail."""


def model_free(data: Replicated, k: Ints) -> dict[int, tuple[float, float]]:
    """k -> 95 % interval of fail@k for such problems, for each k of `k` (any k >= 1).

    Neither end rises with k, though each is found to a tolerance only.
    """
    m = largest_thinning(data.pairs)
    cells = thinned(data.pairs, m)
    seen = data.weights @ cells.shares
    first = np.array([b for b in BINS if b <= min(m, EXACT)])
    ends = np.append(first[1:] - 1, m)
    bins = np.searchsorted(first, cells.c, "right") - 1
    passed = np.bincount(bins, seen, len(first)).astype(float)
    logit = np.linspace(-np.log(max(int(k.max()), m)) - 5, 9.0, GRID)
    p = np.concatenate([[0.0], special.expit(logit), [1.0]])
    below = special.bdtr(ends[:, None], m, p[None, :])
    binned = np.diff(below, axis=0, prepend=0.0)
    used = passed > 0
    region = _Region(np.maximum(binned[used], 0.0), passed[used])
    with np.errstate(divide="ignore"):
        log_q = np.log1p(-p)
    nobody = TAIL ** (1 / data.weights.sum())  # where all problems agree: exact, and wider
    bounds = {}
    lowest = highest = 1.0
    for k_j in sorted(k.tolist()):
        values = np.exp(k_j * log_q)
        low, high = region.least(values), -region.least(-values)
        high = max(high, 1 - nobody) if seen[0] == 0 else high
        low = low * nobody if seen[0] == seen.sum() else low
        # What bounds fail@k bounds it at every larger k.
        lowest, highest = min(lowest, max(low, 0.0)), min(highest, high)
        bounds[k_j] = (lowest, highest)
    return bounds


class _Region:
    """All weights on the grid whose log likelihood is within `CRITICAL` of the largest."""

    def __init__(self, likelihood: Floats, counts: Floats):
        self._likelihood, self._counts = likelihood, counts
        self._center = self._most_likely()
        self._floor = self._log_likelihood(self._center) - CRITICAL
        self._planes: list[Floats] = []
        self._limits: list[float] = []
        self._cut(self._center)

    def _most_likely(self) -> Floats:
        """Nonparametric maximum likelihood by EM; a shortfall only makes the region larger."""
        weights = np.full(self._likelihood.shape[1], 1 / self._likelihood.shape[1])
        share = self._counts / self._counts.sum()
        for _ in range(1000):
            weights = weights * ((share / (self._likelihood @ weights)) @ self._likelihood)
        return np.asarray(weights / weights.sum())

    def _log_likelihood(self, weights: Floats) -> float:
        mixed = np.maximum(self._likelihood @ weights, 1e-300)
        return float(self._counts @ np.log(mixed))

    def _cut(self, weights: Floats) -> None:
        """Add the tangent plane of the log likelihood at `weights`."""
        mixed = np.maximum(self._likelihood @ weights, 1e-300)
        slope = self._counts / mixed
        self._planes.append(-(slope @ self._likelihood))
        self._limits.append(self._log_likelihood(weights) - self._floor - float(slope @ mixed))

    def least(self, values: Floats) -> float:
        """A lower bound of the least `values` @ weights over the region, and close to it."""
        bound = float(values.min())
        scale = max(float(np.abs(values).max()), 1e-300)
        for _ in range(CUTS):
            found = linprog(
                values / scale,
                A_ub=np.array(self._planes),
                b_ub=np.array(self._limits),
                A_eq=np.ones((1, len(values))),
                b_eq=[1.0],
                method="highs",
            )
            if found.status != 0 or found.x is None:
                break
            bound = max(bound, float(values @ found.x))
            if self._log_likelihood(found.x) >= self._floor - TOLERANCE:
                break
            self._cut(self._border(np.asarray(found.x)))
        return bound

    def _border(self, outside: Floats) -> Floats:
        """Where the line from the most likely weights to `outside` leaves the region."""
        inner, outer = 0.0, 1.0
        for _ in range(20):
            middle = (inner + outer) / 2
            point = self._center + middle * (outside - self._center)
            inside = self._log_likelihood(point) >= self._floor
            inner, outer = (middle, outer) if inside else (inner, middle)
        return np.asarray(self._center + outer * (outside - self._center))
