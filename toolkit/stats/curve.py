"""The counts of a benchmark's problems, and its curve with both standard errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from toolkit.stats import passk
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.stopping import StoppingRule


@dataclass(frozen=True, slots=True)
class Counts:
    """n samples of which c passed, shape (P,); `rule` if sampling stopped because of passes."""

    n: Ints
    c: Ints
    rule: StoppingRule | None = None

    @classmethod
    def of(cls, n: ArrayLike, c: ArrayLike, rule: StoppingRule | None = None) -> "Counts":
        """From anything like an array."""
        return cls(np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64), rule)

    def __len__(self) -> int:
        return len(self.n)

    def support(self) -> Ints:
        """Largest k with an unbiased estimate, of each problem."""
        return self.n if self.rule is None else self.rule.support(self.n, self.c)

    @property
    def k_max(self) -> int:
        """Largest k that every problem supports; where all of them were stopped, the cap."""
        most = int(self.n.max()) if self.rule is None else self.rule.cap
        return min(int(self.support().min()), most)

    def log_fail_at_k(self, k: ArrayLike) -> Floats:
        """log of each problem's unbiased fail@k, shape (P, K); nan where k is not supported."""
        k = np.asarray(k, dtype=np.int64)
        if self.rule is not None:
            return self.rule.log_fail_at_k(self.n, self.c, k)
        return passk.log_fail_at_k(self.n[:, None], self.c[:, None], k[None, :])

    def fail_at_k(self, k: ArrayLike) -> Floats:
        """Each problem's unbiased fail@k, shape (P, K); nan where k is not supported."""
        return np.exp(self.log_fail_at_k(k))

    def simulate(self, p: Floats, random: np.random.Generator) -> "Counts":
        """Other outcomes of the same design, for problems with pass probability p, shape (P,)."""
        if self.rule is None:
            return Counts(self.n, random.binomial(self.n, p).astype(np.int64))
        return Counts(*self.rule.simulate(p, random), self.rule)


@dataclass(frozen=True, slots=True)
class Curve:
    """The benchmark's curve; all arrays have the shape of `k`.

    `se_fixed_set` is the standard error for *these problems*, sampled again. It is nan where 2k is
    not supported. `se_superpopulation` is the one for *such problems*: other problems of the same
    kind, sampled in their place. It is mostly the larger of the two.
    """

    k: Ints
    pass_at_k: Floats
    fail_at_k: Floats
    se_fixed_set: Floats
    se_superpopulation: Floats
    problems: Ints


def curve(counts: Counts, k: ArrayLike) -> Curve:
    """Mean pass@k over the problems that support k, with both standard errors.

    k: shape (K,). U_i(k) is the unbiased fail@k of problem i, P the number of problems.

    - Fixed set: sqrt(sum_i [U_i(k)^2 - U_i(2k)]) / P. The variance is unbiased, since
      E U_i(2k) = (1 - p_i)^(2k).
    - Super-population: s / sqrt(P), where s is the standard deviation of U_i over problems.
    """
    k = np.asarray(k, dtype=np.int64)
    support = counts.support()
    columns = [_point(counts, support, int(k_j)) for k_j in k]
    passed, failed, fixed, superpopulation, problems = np.array(columns).reshape(-1, 5).T
    return Curve(k, passed, failed, fixed, superpopulation, problems.astype(np.int64))


def _point(counts: Counts, support: Ints, k: int) -> tuple[float, float, float, float, float]:
    has = support >= k
    count = int(has.sum())
    if not count:
        return np.nan, np.nan, np.nan, np.nan, 0.0
    some = Counts(counts.n[has], counts.c[has], counts.rule)
    log_fail = some.log_fail_at_k([k])[:, 0]
    fail = np.exp(log_fail)
    fixed = np.nan
    if np.all(support[has] >= 2 * k):
        variance = np.sum(fail**2 - some.fail_at_k([2 * k])[:, 0])
        fixed = np.sqrt(max(variance, 0.0)) / count
    spread = float(fail.std(ddof=1)) / np.sqrt(count) if count > 1 else np.nan
    return float(np.mean(-np.expm1(log_fail))), float(fail.mean()), fixed, spread, count
