"""Coverage against what it costs: k samples of every problem, or none after the first pass.

Two policies reach the coverage pass@k:

- every: k samples of each problem.
- discard: a problem that is solved gets no more samples. Of k at most, it then needs

      E min(T, k) = sum of fail@j over j = 0 .. k - 1 = (n+1)/(c+1) [1 - C(n-c, k) / C(n+1, k)]

  samples, T the number of the first pass. This is the unbiased estimate from n samples with c
  passes. It needs a verdict after each sample.

A cost is samples times the mean tokens of a sample of the problem. It does not know that failed
samples may be longer than passed ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolkit.stats import passk
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bayes import mean_intervals
from toolkit.stats.comparison import Differences, differences
from toolkit.stats.curve import Counts

Policy = Literal["every", "discard"]
POLICIES: tuple[Policy, ...] = ("every", "discard")
REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Frontier:
    """Points of one run under one policy; all arrays have the shape of `k`.

    - cost: expected, of all problems, in the unit of `unit_costs` of `frontier`.
    - coverage, lo, hi: pass@k with its 95 % interval of such problems, at each k by itself.
    - solved: pass@k of each problem, shape (P, K).
    """

    policy: Policy
    k: Ints
    cost: Floats
    coverage: Floats
    lo: Floats
    hi: Floats
    solved: Floats

    def affordable(self, cost: float) -> int | None:
        """The index of the largest k that costs no more; None where one sample costs more."""
        found = int(np.searchsorted(self.cost, cost * (1 + 1e-9), side="right"))
        return found - 1 if found else None


def samples_needed(counts: Counts, k: Ints) -> Floats:
    """Expected samples of each problem until its first pass, at most k; shape (P, K).

    nan where k is not supported.
    """
    if counts.rule is not None:
        # Of these estimators no sum is known in closed form.
        fail = counts.fail_at_k(np.arange(1, int(max(k)) + 1))
        upto = np.concatenate([np.ones((len(counts), 1)), 1 + np.cumsum(fail, axis=1)], axis=1)
        return np.asarray(upto[:, np.asarray(k) - 1])
    n, c = counts.n[:, None], counts.c[:, None]
    within = np.minimum(k[None, :], n)
    needed = (n + 1) / (c + 1) * passk.pass_at_k(n + 1, c + 1, within)
    return np.where(k[None, :] <= n, needed, np.nan)


def frontier(counts: Counts, unit_costs: Floats, k: Ints, policy: Policy) -> Frontier:
    """The points of a run. unit_costs: of one sample of each problem, shape (P,)."""
    solved = 1 - counts.fail_at_k(k)
    samples = samples_needed(counts, k) if policy == "discard" else np.tile(k, (len(counts), 1))
    lo, hi = mean_intervals(solved, REPLICATES, np.random.default_rng(0))
    return Frontier(policy, k, unit_costs @ samples, solved.mean(axis=0), lo, hi, solved)


def at_equal_cost(
    one: Frontier, others: Sequence[Frontier]
) -> tuple[list[int | None], Differences | None]:
    """Others against one try of `one`, each with the largest k that costs no more.

    Returns the k of each, None where one sample costs more. Then the differences of the coverage,
    with intervals that hold at once: one column for each that has a k, None where none has.
    """
    columns, chosen = [], []
    for other in others:
        index = other.affordable(float(one.cost[0]))
        chosen.append(None if index is None else int(other.k[index]))
        if index is not None:
            columns.append(other.solved[:, index] - one.solved[:, 0])
    if not columns:
        return chosen, None
    return chosen, differences(np.stack(columns, axis=1))
