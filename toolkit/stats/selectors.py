"""What selectors get of a benchmark's coverage: means over problems, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bayes import TAILS, mean_draws
from toolkit.stats.selection import Ballot, Chosen, best_of, majority, oracle, weighted_vote

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class Selected:
    """P(the chosen answer is right) at one k, mean over problems, with 95 % intervals.

    - lo, hi: of such problems (Bayesian bootstrap over problems).
    - error: the Monte Carlo standard error of `right`; 0 where it is exact.
    - share: `right` as a share of the coverage pass@k, with its interval; nan without coverage.
    """

    right: float
    lo: float
    hi: float
    error: float
    share: float
    share_lo: float
    share_hi: float


def select(
    ballots: Sequence[Ballot], k: Ints, *, replicates: int = 1000, seed: int = 0
) -> dict[str, dict[int, Selected]]:
    """Selector -> k -> what it gets. k: none over the fewest samples of a problem.

    Selectors: `oracle`, `majority`, and with scores `best` and `weighted` (the scores are weights;
    where one is negative, as of log-probabilities, exp(score) is).
    """
    random = np.random.default_rng(seed)
    chosen = {ORACLE: _exact(oracle, ballots, k), "majority": _each(majority, ballots, k, random)}
    if all(ballot.scores is not None for ballot in ballots):
        chosen["best"] = _exact(best_of, ballots, k)
        chosen["weighted"] = _each(weighted_vote, _with_weights(ballots), k, random)
    return _summary(chosen, k, replicates, random)


def _exact(choose: Callable[[Ballot, Ints], Floats], ballots: Sequence[Ballot], k: Ints) -> Chosen:
    right = np.stack([choose(ballot, k) for ballot in ballots])
    return Chosen(right, np.zeros(right.shape))


def _each(
    choose: Callable[[Ballot, Ints, np.random.Generator], Chosen],
    ballots: Sequence[Ballot],
    k: Ints,
    random: np.random.Generator,
) -> Chosen:
    found = [choose(ballot, k, random) for ballot in ballots]
    return Chosen(np.stack([c.right for c in found]), np.stack([c.error for c in found]))


def _with_weights(ballots: Sequence[Ballot]) -> list[Ballot]:
    """The same ballots with weights that are 0 or more as scores."""
    scores = [b.scores for b in ballots if b.scores is not None]
    if not any(np.nanmin(s, initial=0.0) < 0 for s in scores):
        return list(ballots)
    # One scale for all, so that exp never overflows: a factor does not change a vote.
    top = max(float(np.nanmax(s, initial=-np.inf)) for s in scores)
    return [
        Ballot(b.groups, b.passed, np.exp(s - top)) for b, s in zip(ballots, scores, strict=True)
    ]


def _summary(
    chosen: Mapping[str, Chosen], k: Ints, replicates: int, random: np.random.Generator
) -> dict[str, dict[int, Selected]]:
    values = np.concatenate([each.right for each in chosen.values()], axis=1)
    drawn = mean_draws(values, replicates, random)
    width = len(k)
    coverage, all_of = values[:, :width].mean(axis=0), drawn[:, :width]
    found: dict[str, dict[int, Selected]] = {}
    for i, (name, each) in enumerate(chosen.items()):
        here = drawn[:, i * width : (i + 1) * width]
        right = each.right.mean(axis=0)
        error = np.sqrt((each.error**2).sum(axis=0)) / len(values)
        lo, hi = np.quantile(here, TAILS, axis=0)
        share_lo, share_hi = np.quantile(here / all_of, TAILS, axis=0)
        found[name] = {}
        for j, each_k in enumerate(k.tolist()):
            share = right[j] / coverage[j] if coverage[j] > 0 else np.nan
            ends = (min(lo[j], right[j]), max(hi[j], right[j]), error[j], share)
            shares = (share_lo[j], share_hi[j]) if coverage[j] > 0 else (np.nan, np.nan)
            found[name][each_k] = Selected(float(right[j]), *map(float, (*ends, *shares)))
    return found
