"""The Bayesian bootstrap over problems, on which all intervals of curve, slopes and forecast rest.

The problems are a sample of *such problems*. Each replicate gives them random weights, from
Dirichlet(1, ..., 1) (Rubin 1981, "The Bayesian bootstrap", Ann. Statist. 9). All that is said of
the same counts is said of the same replicates.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.curve import Counts

FEWEST_REPLICATES, MOST_WEIGHTS = 200, 20_000_000
"""Replicates are fewer where problems have so many distinct counts that memory would matter."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """The curve in each replicate, rows (R, K); see `Replicated.resampled`."""

    means: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Replicated:
    """The counts by pair (n, c), and the weights of the pairs: all (J,), in replicates (R, J).

    Every replicate's weights sum to the number of problems. one_more: the weight of one problem
    more in each replicate, (R,).
    """

    pairs: Counts
    weights: Floats
    replicates: Floats
    one_more: Floats
    _columns: dict[int, Floats] = field(default_factory=dict, repr=False, compare=False)
    """k -> each pair's fail@k, (J,): many ask for the same k, and 5,000 distinct n take long."""

    @classmethod
    def of(cls, counts: Counts, replicates: int, random: np.random.Generator) -> "Replicated":
        """Weights from Dirichlet(1, ..., 1); those of problems with equal counts are summed."""
        pairs, weights = counts.distinct()
        replicates = min(replicates, max(FEWEST_REPLICATES, MOST_WEIGHTS // len(weights)))
        drawn = random.standard_gamma(weights, size=(replicates, len(weights)))
        unit = len(counts) / drawn.sum(axis=1)
        one_more = random.standard_exponential(replicates) * unit
        return cls(pairs, weights.astype(float), drawn * unit[:, None], one_more)

    def first(self, replicates: int) -> "Replicated":
        """The same with the first replicates only."""
        rows = slice(replicates)
        few = self.replicates[rows], self.one_more[rows]
        return Replicated(self.pairs, self.weights, *few, self._columns)

    def resampled(self, k: ArrayLike) -> Resampled:
        """Mean fail@k over the problems that support k, in each replicate; k: shape (K,).

        For the ends of an interval one problem more is drawn: in `low` it is solved at once, in
        `high` never. Where problems are either solved or not, an end is then that of the exact
        binomial interval (Clopper and Pearson 1934). It has a width also where all problems agree.
        """
        k = np.asarray(k, dtype=np.int64)
        supported = self.pairs.support()[:, None] >= k
        fail = np.where(supported, self._each(k), 0.0)
        total, failed = self.replicates @ supported.astype(float), self.replicates @ fail
        more = self.one_more[:, None]
        return Resampled(failed / total, failed / (total + more), (failed + more) / (total + more))

    def fail_at_k(self, k: Ints) -> Floats:
        """The curve up to k_max, row 0, and the curve of each replicate: (1 + R, K)."""
        each = self._each(k)
        total = self.weights.sum()
        curves = np.concatenate([self.weights[None, :] @ each, self.replicates @ each])
        return np.asarray(curves / total)

    def _each(self, k: Ints) -> Floats:
        """Each pair's unbiased fail@k, (J, K); nan where k is not supported."""
        if fresh := [k_j for k_j in k.tolist() if k_j not in self._columns]:
            self._columns.update(zip(fresh, self.pairs.fail_at_k(fresh).T, strict=True))
        return np.stack([self._columns[k_j] for k_j in k.tolist()], axis=1)
