"""Batches planned problem by problem, in whatever order verdicts come: exact, by enumeration.

Every outcome of every sample of two problems is enumerated, with its probability. The verdicts of a
batch come passes first, as those of short completions do. Which problem's verdict is next is drawn,
but not from outcomes. The planner looks after each verdict.
"""

import itertools
import random

import numpy as np
import pytest

from toolkit.stats.stopping import StoppingRule

P = (0.3, 0.65)
RULES = [StoppingRule(1, (2, 3, 4)), StoppingRule(2, (2, 4)), StoppingRule(1, (1, 2, 4))]


def outcomes(rule):
    """All pairs of the problems' outcomes, with the probability of each pair."""
    rows = list(itertools.product((0, 1), repeat=rule.cap))
    chance = [{o: np.prod([p if x else 1 - p for x in o]) for o in rows} for p in P]
    for pair in itertools.product(rows, repeat=2):
        yield pair, chance[0][pair[0]] * chance[1][pair[1]]


class Course:
    """Two problems under a rule; `order` draws whose verdict comes next."""

    def __init__(self, rule, pair, order):
        self.rule, self.pair, self.order = rule, pair, order
        self.edges = (0, *rule.looks)
        self.planned = [rule.looks[0]] * len(pair)
        self.judged = np.zeros((len(pair), len(rule.looks)), dtype=np.int64)
        self.passed = np.zeros_like(self.judged)

    def counts(self):
        return self.rule.settle(self.judged, self.passed)

    def step(self):
        """One verdict, and the planner after it. False when nothing is left to judge."""
        waiting = [i for i, n in enumerate(self.planned) if self.judged[i].sum() < n]
        if not waiting:
            return False
        i = self.order.choice(waiting)
        batch = int((self.judged[i] == np.diff(self.edges)).sum())
        seen = sorted(self.pair[i][self.edges[batch] : self.edges[batch + 1]], reverse=True)
        self.passed[i, batch] += seen[self.judged[i, batch]]
        self.judged[i, batch] += 1
        n, c = self.counts()
        self.planned = [
            self.rule.wanted(had, int(n[j]), int(c[j])) for j, had in enumerate(self.planned)
        ]
        return True


def fail_at(rule, n, c, ks):
    return np.exp(rule.log_fail_at_k(np.array(n), np.array(c), np.array(ks)))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_estimate_is_unbiased_for_every_k_whatever_comes_first(rule, seed):
    ks = np.arange(1, rule.cap + 1)
    mean, total = np.zeros((2, len(ks))), 0.0
    for pair, chance in outcomes(rule):
        course = Course(rule, pair, random.Random(seed))
        while course.step():
            pass
        n, c = course.counts()
        assert list(n) == course.planned
        mean += chance * fail_at(rule, n, c, ks)
        total += chance
    assert total == pytest.approx(1)
    truth = (1 - np.array(P))[:, None] ** ks[None, :]
    np.testing.assert_allclose(mean, truth, rtol=1e-12)


def cut(rule, pair, verdicts):
    """The course until so many verdicts are there, and every problem has its first batch."""
    course = Course(rule, pair, random.Random(3))
    while course.judged[:, 0].min() < rule.looks[0] or course.judged.sum() < verdicts:
        if not course.step():
            break
    return course


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("verdicts", [4, 5, 6])
def test_a_budget_that_cuts_at_whole_batches_leaves_it_unbiased(rule, verdicts):
    """Cut after so many verdicts, wherever batches are then. Every problem supports its first."""
    ks = np.arange(1, rule.looks[0] + 1)
    mean = np.zeros((2, len(ks)))
    for pair, chance in outcomes(rule):
        mean += chance * fail_at(rule, *cut(rule, pair, verdicts).counts(), ks)
    truth = (1 - np.array(P))[:, None] ** ks[None, :]
    np.testing.assert_allclose(mean, truth, rtol=1e-12)


def test_the_verdicts_of_a_part_of_a_batch_would_bias_it():
    rule, mean = StoppingRule(2, (2, 4)), np.zeros(2)
    for pair, chance in outcomes(rule):
        course = cut(rule, pair, 5)
        n, c = course.judged.sum(axis=1), course.passed.sum(axis=1)
        mean += chance * (1 - c / n)
    assert np.abs(mean - (1 - np.array(P))).max() > 0.01
