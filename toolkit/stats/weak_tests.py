"""What weak tests are worth: passes that stronger tests refuse, and the ceiling that they set.

Stroebl et al. 2024, "Inference Scaling fLaws", arXiv 2411.17501. Of a problem's n samples, c pass
the weak tests, and b of those pass the strong ones too. A user who samples until one passes the
weak tests hands in a sample that is right with probability b/c, whichever number it has. So

    claimed coverage at k               pass@k of c
    accuracy of the first passing of k  pass@k of c, times b/c       (unbiased)
    share of false positives at k       1 - accuracy / claimed
    ceiling                             b/c, what the accuracy tends to with k

each a mean over problems. Of a problem with c = 0, the ceiling is not known: it counts 0 in the
estimate and at the lower end of the interval, and 1 at the upper end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bayes import ENDS, TAILS, mean_draws
from toolkit.stats.forecast import Interval
from toolkit.stats.passk import pass_at_k


@dataclass(frozen=True, slots=True)
class WeakTests:
    """Weak tests measured by strong ones; k -> value. Intervals are 95 %, of such problems.

    - samples: with a verdict by both. passes: by the weak tests. false_positives: those of the
      passes that the strong tests refuse. missed: what only the strong tests pass.
    - unsolved: problems with no pass by the weak tests.
    - by_problem: task_id -> share b/c, of problems with a false positive (interval of Jeffreys).
    """

    problems: int
    samples: int
    passes: int
    false_positives: int
    missed: int
    unsolved: int
    claimed: dict[int, Interval]
    accuracy: dict[int, Interval]
    false_share: dict[int, Interval]
    ceiling: Interval
    by_problem: dict[str, Interval]

    @property
    def largest_claim(self) -> tuple[int, float]:
        """The largest k, and the coverage that the weak tests claim there."""
        k = max(self.claimed)
        return k, self.claimed[k].estimate

    @property
    def above_ceiling(self) -> bool:
        """Whether the largest claim is above the whole interval of the ceiling."""
        return self.largest_claim[1] > self.ceiling.hi


@dataclass(frozen=True, slots=True)
class TwoVerdicts:
    """Of each problem, shape (P,): samples, weak passes, passes by both, passes by strong only."""

    task_ids: Sequence[str]
    n: Ints
    weak: Ints
    both: Ints
    missed: Ints


def weak_tests(seen: TwoVerdicts, k: Ints, *, replicates: int = 1000, seed: int = 0) -> WeakTests:
    """Measure the weak tests at these k (none over the least n). At least one problem."""
    claims = pass_at_k(seen.n[:, None], seen.weak[:, None], k[None, :])
    solved = seen.weak > 0
    right = seen.both / np.maximum(seen.weak, 1)
    ceilings = np.column_stack([right, np.where(solved, right, 1.0)])
    # The mean of the last column, of zeros, is the weight of the half problem that is added at 1.
    values = np.column_stack([claims, claims * right[:, None], ceilings, np.zeros(len(right))])
    drawn = mean_draws(values, replicates, np.random.default_rng(seed))
    means, width = values.mean(axis=0), len(k)
    claimed, accuracy = (slice(i * width, (i + 1) * width) for i in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 - means[accuracy] / means[claimed]
    # At the lower end that half problem is claimed and right, at the upper end claimed and false.
    share_low = 1 - drawn[:, accuracy] / drawn[:, claimed]
    share_high = 1 - (drawn[:, accuracy] - drawn[:, -1:]) / drawn[:, claimed]
    low = min(float(np.quantile(drawn[:, -3], TAILS[0])), float(means[-3]))
    high = max(float(np.quantile(drawn[:, -2], TAILS[1])), float(means[-2]))
    return WeakTests(
        problems=len(seen.n),
        samples=int(seen.n.sum()),
        passes=int(seen.weak.sum()),
        false_positives=int((seen.weak - seen.both).sum()),
        missed=int(seen.missed.sum()),
        unsolved=int((~solved).sum()),
        claimed=_by_k(k, means[claimed], drawn[:, claimed], drawn[:, claimed]),
        accuracy=_by_k(k, means[accuracy], drawn[:, accuracy], drawn[:, accuracy]),
        false_share=_by_k(k, np.nan_to_num(share), share_low, share_high),
        ceiling=Interval(float(means[-3]), low, high),
        by_problem=_by_problem(seen),
    )


def _by_k(k: Ints, estimate: Floats, lows: Floats, highs: Floats) -> dict[int, Interval]:
    """lows, highs: draws of the two ends, shape (replicates, K)."""
    low, high = (
        np.quantile(rows, tail, axis=0) for rows, tail in zip((lows, highs), TAILS, strict=True)
    )
    ends = zip(k.tolist(), estimate.tolist(), low.tolist(), high.tolist(), strict=True)
    return {each: Interval(mean, min(lo, mean), max(hi, mean)) for each, mean, lo, hi in ends}


def _by_problem(seen: TwoVerdicts) -> dict[str, Interval]:
    false = np.flatnonzero(seen.weak > seen.both)
    both, wrong = seen.both[false], (seen.weak - seen.both)[false]
    low, high = (special.betaincinv(both + ENDS, wrong + ENDS, tail) for tail in TAILS)
    low = np.where(both == 0, 0.0, low)
    return {
        seen.task_ids[i]: Interval(float(b / (b + w)), float(lo), float(hi))
        for i, b, w, lo, hi in zip(false, both, wrong, low, high, strict=True)
    }
