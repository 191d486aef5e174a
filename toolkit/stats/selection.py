"""Choosing one of k answers without the reference: a vote, or the best score.

Each value is the expectation over all subsets of size k of a problem's n samples, drawn without
replacement: the unbiased estimate of what k fresh samples give. A chosen answer counts with the
share of its samples that passed. Equal winners are chosen with equal chances. A sample without an
answer never wins; a subset of such samples has failed.

- best of k by a score: exact, by order statistics. The best is of rank r with probability
  C(r - 1, k - 1) / C(n, k).
- majority (maj@k, self-consistency, Wang et al. 2022, arXiv 2203.11171): exact up to
  `EXACT_SAMPLES`, by counting the subsets whose largest groups have t votes each.
- a vote weighted by a score: exact where there are at most `EXACT_SUBSETS` subsets.
- elsewhere the mean over random subsets, with its Monte Carlo error.
"""

import itertools
from dataclasses import dataclass
from math import comb

import numpy as np

from toolkit.errors import UsageError
from toolkit.stats import passk
from toolkit.stats.arrays import Floats, Ints

EXACT_SAMPLES = 100
EXACT_SUBSETS = 4000
SUBSETS = 1000
"""Random subsets of a problem where there are too many."""
NO_ANSWER = -1


@dataclass(frozen=True, slots=True)
class Ballot:
    """The samples of one problem.

    - groups: shape (n,); equal numbers for equal answers, `NO_ANSWER` for none.
    - passed: shape (n,), 0 or 1.
    - scores: shape (n,), larger is better, nan for none; None where nobody scored.
    """

    groups: Ints
    passed: Floats
    scores: Floats | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def worth(self) -> tuple[Ints, Floats]:
        """Votes and correctness of each group, shape (G,). Samples without an answer are left out.

        Samples of a group may differ in their verdicts, since equality to the reference is not
        transitive. Then its correctness is the share that passed.
        """
        answered = self.groups != NO_ANSWER
        _, number, votes = np.unique(self.groups[answered], return_inverse=True, return_counts=True)
        right = np.bincount(number.reshape(-1), self.passed[answered], minlength=len(votes))
        return votes.astype(np.int64), right / np.maximum(votes, 1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """P(the chosen answer is right) at each k, shape (K,), and its Monte Carlo standard error."""

    right: Floats
    error: Floats


def oracle(ballot: Ballot, k: Ints) -> Floats:
    """pass@k: what a selector that knows the reference gets; shape (K,)."""
    return passk.pass_at_k(len(ballot), int(ballot.passed.sum()), k)


def best_of(ballot: Ballot, k: Ints) -> Floats:
    """P(the sample with the best score is right), exact, shape (K,).

    Samples without a score or without an answer are chosen last, and have failed.
    """
    if ballot.scores is None:
        raise UsageError("best of k needs scores")
    usable = np.isfinite(ballot.scores) & (ballot.groups != NO_ANSWER)
    scores, passed = ballot.scores[usable], ballot.passed[usable]
    _, number, times = np.unique(scores, return_inverse=True, return_counts=True)
    right = np.bincount(number.reshape(-1), passed, minlength=len(times)) / np.maximum(times, 1)
    n = len(ballot)
    upto = n - int(usable.sum()) + np.cumsum(times)
    upto = np.concatenate([[n - int(usable.sum())], upto])
    # P(all k are among the lowest `upto`), rising to 1
    below = passk.fail_at_k(n, n - upto[:, None], np.asarray(k)[None, :])
    found: Floats = right @ np.diff(below, axis=0)
    return found


def majority(ballot: Ballot, k: Ints, random: np.random.Generator) -> Chosen:
    """P(the most frequent answer of k samples is right), shape (K,)."""
    if len(ballot) <= EXACT_SAMPLES:
        return Chosen(_exact_majority(ballot, k), np.zeros(len(k)))
    return _sampled_vote(ballot, np.ones(len(ballot)), k, random)


def weighted_vote(ballot: Ballot, k: Ints, random: np.random.Generator) -> Chosen:
    """P(the answer with the largest sum of scores is right), shape (K,).

    Scores are weights, 0 or more. A sample without one has weight 0.
    """
    if ballot.scores is None:
        raise UsageError("a weighted vote needs scores")
    weights = np.nan_to_num(ballot.scores, nan=0.0)
    if np.any(weights < 0):
        raise UsageError("the weights of a vote must be 0 or more")
    found = Chosen(np.zeros(len(k)), np.zeros(len(k)))
    many = np.array([comb(len(ballot), int(each)) > EXACT_SUBSETS for each in k])
    for i in np.flatnonzero(~many):
        subsets = np.array(list(itertools.combinations(range(len(ballot)), int(k[i]))))
        found.right[i] = _winners(ballot, weights, subsets).mean()
    if many.any():
        drawn = _sampled_vote(ballot, weights, k[many], random)
        found.right[many], found.error[many] = drawn.right, drawn.error
    return found


def _exact_majority(ballot: Ballot, k: Ints) -> Floats:
    """Count the subsets in which some groups have t votes and no other group has more.

    For each t, `ways[m, x]` counts the subsets of size x of the groups so far in which m of them
    have t votes. `worth[m, x]` sums their correctness over these subsets.
    """
    n, top = len(ballot), int(max(k))
    votes, right = ballot.worth()
    silent = _choices(n - int(votes.sum()), top)
    total = np.zeros(top + 1)
    for t in range(1, min(top, int(votes.max(initial=0))) + 1):
        ways, worth = (np.zeros((top // t + 1, top + 1)) for _ in range(2))
        ways[0, 0] = 1.0
        for size, correct in zip(votes.tolist(), right.tolist(), strict=True):
            fewer = _choices(min(size, t - 1), top, size)
            next_ways, next_worth = _spread(ways, fewer), _spread(worth, fewer)
            if size >= t:
                at_t = float(comb(size, t))
                next_ways[1:, t:] += at_t * ways[:-1, : top + 1 - t]
                tied = worth[:-1, : top + 1 - t] + correct * ways[:-1, : top + 1 - t]
                next_worth[1:, t:] += at_t * tied
            ways, worth = next_ways, next_worth
        tied_groups = np.arange(1, worth.shape[0])[:, None]
        total += _spread((worth[1:] / tied_groups).sum(axis=0, keepdims=True), silent)[0]
    return np.array([total[int(each)] / comb(n, int(each)) for each in k])


def _choices(most: int, top: int, size: int | None = None) -> Floats:
    """C(size, j) for j = 0 .. min(most, top); size is `most` if it is not given."""
    size = most if size is None else size
    return np.array([float(comb(size, j)) for j in range(min(most, top) + 1)])


def _spread(rows: Floats, choices: Floats) -> Floats:
    """Each row times the polynomial with these coefficients, cut at the row's length."""
    width = rows.shape[1]
    found = np.zeros_like(rows)
    for j, count in enumerate(choices):
        found[:, j:] += count * rows[:, : width - j]
    return found


def _sampled_vote(ballot: Ballot, weights: Floats, k: Ints, random: np.random.Generator) -> Chosen:
    orders = random.permuted(np.tile(np.arange(len(ballot)), (SUBSETS, 1)), axis=1)
    won = [_winners(ballot, weights, orders[:, : int(each)]) for each in k]
    error = [each.std(ddof=1) / np.sqrt(SUBSETS) for each in won]
    return Chosen(np.array([each.mean() for each in won]), np.array(error))


def _winners(ballot: Ballot, weights: Floats, subsets: Ints) -> Floats:
    """The correctness of the winner of each subset, shape (S,). subsets: shape (S, k)."""
    answers, number = np.unique(ballot.groups, return_inverse=True)
    number = number.reshape(-1)
    shape = (len(subsets), len(answers))
    cells = (np.arange(len(subsets))[:, None] * len(answers) + number[subsets]).reshape(-1)
    size = len(subsets) * len(answers)
    sums = np.bincount(cells, weights[subsets].reshape(-1), minlength=size).reshape(shape)
    votes = np.bincount(cells, minlength=size).reshape(shape)
    some = (votes > 0) & (answers != NO_ANSWER)
    best = np.where(some, sums, -np.inf).max(axis=1, keepdims=True)
    # Sums of the same weights in another order may differ in the last bits.
    wins = some & (sums >= best - 1e-9 * np.maximum(np.abs(best), 1e-300))
    times = np.bincount(number, minlength=len(answers))
    right = np.bincount(number, ballot.passed, minlength=len(answers)) / times
    found: Floats = (wins @ right) / np.maximum(wins.sum(axis=1), 1)
    return found
