"""The counts of a benchmark's problems, and its curve with both standard errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from toolkit.stats import passk
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.stopping import StoppingRule

ENTRIES = 2**22
"""Of a table that is in memory at once."""


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
        return min(int(self.support().min()), self._most)

    @property
    def k_most(self) -> int:
        """Largest k that any problem supports; where one was stopped, the cap."""
        return min(int(self.support().max()), self._most)

    @property
    def _most(self) -> int:
        return int(self.n.max()) if self.rule is None else self.rule.cap

    def distinct(self) -> tuple["Counts", Ints]:
        """The distinct (n, c), shape (G,), and how many problems have each."""
        key, weight = np.unique(self.n * (int(self.n.max()) + 1) + self.c, return_counts=True)
        n, c = np.divmod(key, int(self.n.max()) + 1)
        return Counts(n, c, self.rule), weight

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

    Problems with the same (n, c) are computed once, and a part of them at a time.
    """
    k = np.asarray(k, dtype=np.int64)
    groups, weight = counts.distinct()
    both = np.unique(np.concatenate([k, 2 * k]))
    logs, support = _log_fail(groups, both), groups.support()[:, None]
    log_fail, twice = (logs[:, np.searchsorted(both, j)] for j in (k, 2 * k))
    has = support >= k
    fail, passed = np.exp(log_fail), -np.expm1(log_fail)
    problems = weight @ has
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weight @ np.where(has, fail, 0.0) / problems
        square = weight @ np.where(has, (fail - mean) ** 2, 0.0)
        inside = weight @ np.where(support >= 2 * k, fail**2 - np.exp(twice), 0.0)
        all_have = weight @ (has & (support < 2 * k)) == 0
        fixed = np.sqrt(np.maximum(inside, 0.0)) / problems
        return Curve(
            k,
            weight @ np.where(has, passed, 0.0) / problems,
            mean,
            np.where(all_have, fixed, np.nan),
            np.where(problems > 1, np.sqrt(square / (problems - 1) / problems), np.nan),
            problems.astype(np.int64),
        )


def _parts(rows: int, columns: int) -> list[slice]:
    """Slices over the rows of a table, each of at most `ENTRIES` entries or of one row."""
    step = max(1, ENTRIES // max(1, columns))
    return [slice(start, start + step) for start in range(0, rows, step)]


def _log_fail(groups: Counts, k: Ints) -> Floats:
    """`log_fail_at_k`, a part of the rows at a time."""
    parts = _parts(len(groups), 8 * len(k))
    rows = [Counts(groups.n[p], groups.c[p], groups.rule).log_fail_at_k(k) for p in parts]
    return np.concatenate(rows)
