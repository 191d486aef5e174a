"""Runs compared problem by problem: simultaneous intervals, a gate, the k at which two cross.

A value of a problem is a difference in [-1, 1], such as pass@k of one run less that of another.
The mean of each column has the standard error

    s^2 = [sum of (x - mean)^2 + 1] / [P (P - 1)]

The 1 is half a problem at either end. So no interval has width zero: where all differences are 0,
it is about +-2/P, as t is near 2.

- Simultaneous: mean +- q s. Here q is the 95 % quantile of the largest |t| over all columns, by a
  bootstrap over problems. With 95 % all columns hold their truth at once. (Max-t: Westfall and
  Young 1993; Romano and Wolf 2005, Econometrica 73, 1237-1282.)
- Of one column: mean +- t s, with P - 1 degrees of freedom. For a k that was chosen beforehand.
- Detectable: the difference that is found with probability 80 %.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from toolkit.errors import UsageError
from toolkit.stats.arrays import Floats

LEVEL, POWER = 0.95, 0.80
Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Differences:
    """Mean differences of M columns with their intervals; all arrays have shape (M,).

    critical: standard errors to either side of a simultaneous interval; one_critical: of one
    column.
    """

    mean: Floats
    error: Floats
    critical: float
    one_critical: float

    @property
    def lo(self) -> Floats:
        """Lower ends of the simultaneous intervals."""
        return self.mean - self.critical * self.error

    @property
    def hi(self) -> Floats:
        """Upper ends of the simultaneous intervals."""
        return self.mean + self.critical * self.error

    @property
    def detectable(self) -> Floats:
        """Differences that simultaneous intervals find with probability `POWER`."""
        return (self.critical + float(special.ndtri(POWER))) * self.error

    def one(self, column: int) -> tuple[float, float, float]:
        """lo and hi of a column that was chosen beforehand, and the difference it can detect."""
        mean, error = float(self.mean[column]), float(self.error[column])
        reach = self.one_critical * error
        found = (self.one_critical + float(special.ndtri(POWER))) * error
        return mean - reach, mean + reach, found


def differences(values: Floats, *, replicates: int = 1000, seed: int = 0) -> Differences:
    """Of paired values, shape (P, M), in [-1, 1]. Raises `UsageError` for fewer than 2 problems."""
    problems = len(values)
    if problems < 2:
        raise UsageError(f"problems in common: {problems}; a comparison needs 2 or more")
    mean = values.mean(axis=0)
    error = _error(values.sum(axis=0), (values**2).sum(axis=0), problems)
    random = np.random.default_rng(seed)
    largest = []
    step = max(1, 2_000_000 // problems)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        times = random.multinomial(problems, np.full(problems, 1 / problems), size=rows)
        sums, squares = times @ values, times @ values**2
        t = (sums / problems - mean) / _error(sums, squares, problems)
        largest.append(np.abs(t).max(axis=1))
    alone = float(special.stdtrit(problems - 1, (1 + LEVEL) / 2))
    critical = max(float(np.quantile(np.concatenate(largest), LEVEL)), alone)
    return Differences(mean, error, critical, alone)


def _error(sums: Floats, squares: Floats, problems: int) -> Floats:
    spread = np.maximum(squares - sums**2 / problems, 0.0) + 1.0
    found: Floats = np.sqrt(spread / (problems * (problems - 1)))
    return found


def verdict(lo: float, hi: float) -> Verdict:
    """What an interval of a difference says of the first of two."""
    if lo > 0:
        return "better"
    return "worse" if hi < 0 else "cannot tell"


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the curves of two runs cross, on a grid of k.

    - crosses: True where each run is better at some k, by simultaneous intervals; False where one
      is better at every k; None where the counts cannot tell.
    - k: where the difference changes its sign (log-interpolated); None where it does not.
    - lo, hi: 95 % interval; None for an end beyond the grid, and where `crosses` is False.
    """

    crosses: bool | None
    k: float | None
    lo: float | None
    hi: float | None


def crossover(k: Floats, found: Differences) -> Crossover:
    """Of differences at rising k, shape (K,), one column each.

    At the k of the crossing the true difference is 0. So the interval is made of all k whose own
    interval holds 0, as Fieller's is. Where one run is surely better up to some k, and the other
    from some k on, only the k between them count.
    """
    wins, loses = np.flatnonzero(found.lo > 0), np.flatnonzero(found.hi < 0)
    if max(len(wins), len(loses)) == len(k):
        return Crossover(False, None, None, None)
    first, stop = 0, len(k)
    if len(wins) and len(loses):
        early, late = (wins, loses) if wins[-1] < loses[0] else (loses, wins)
        if early[-1] < late[0]:
            first, stop = int(early[-1]), int(late[0]) + 1
    mean = found.mean[first:stop]
    holds = np.flatnonzero(np.abs(mean) <= found.one_critical * found.error[first:stop]) + first
    root = _root(k[first:stop], mean)
    if not len(holds):
        jumps = np.flatnonzero(mean[:-1] * mean[1:] < 0) + first
        if not len(jumps):  # each k alone is sure, all at once are not
            return Crossover(None, None, None, None)
        # The sign jumps between two neighbours of the grid, which become the ends.
        holds = np.array([jumps[-1] + 1, jumps[-1]])
    lo = float(k[holds[0] - 1]) if holds[0] else None
    hi = float(k[holds[-1] + 1]) if holds[-1] + 1 < len(k) else None
    return Crossover(True if len(wins) and len(loses) else None, root, lo, hi)


def _root(k: Floats, mean: Floats) -> float | None:
    """The last k at which the sign changes; None without a change."""
    signed = np.flatnonzero(mean)  # a difference of exactly 0 has no sign, and may lie between
    changes = np.flatnonzero(mean[signed[:-1]] * mean[signed[1:]] < 0)
    if not len(changes):
        return None
    i, j = signed[changes[-1]], signed[changes[-1] + 1]
    share = mean[i] / (mean[i] - mean[j])
    return float(np.exp(np.log(k[i]) * (1 - share) + np.log(k[j]) * share))
