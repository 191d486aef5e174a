"""Suspect passes as failures: exact by enumeration of all orders and of all marks."""

import itertools
from fractions import Fraction
from math import isnan

import numpy as np
import pytest

from toolkit.stats.curve import Counts, curve
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.suspect import largest_k_without, pass_at_k_without

RULES = [
    StoppingRule(1, (1, 2, 3, 4)),
    StoppingRule(2, (2, 4, 6)),
    StoppingRule(2, (3, 5)),
    StoppingRule(3, (2, 4, 6)),
]


def marked_orders(rule):
    """(n, c, s) -> all sequences of F (failed), P (passed) and S (suspect) that leave it."""
    found = {}
    for letters in itertools.product("FPS", repeat=rule.cap):
        passes = [letter != "F" for letter in letters]
        n = next(t for t in rule.looks if sum(passes[:t]) >= rule.r or t == rule.cap)
        seen = letters[:n]
        found.setdefault((n, n - seen.count("F"), seen.count("S")), set()).add(seen)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"r{r.r}-{'-'.join(map(str, r.looks))}")
def test_the_estimate_is_the_share_of_marked_orders(rule):
    for (n, c, s), orders in marked_orders(rule).items():
        counts = Counts.of([n], [c], rule)
        for k in range(1, n + 1):
            begin = sum("P" not in order[:k] for order in orders)
            found = pass_at_k_without(counts, np.array([s]), k)
            assert found == pytest.approx(1 - begin / len(orders), abs=1e-12), (n, c, s, k)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"r{r.r}-{'-'.join(map(str, r.looks))}")
def test_the_expectation_is_exact_where_every_outcome_supports_k(rule):
    """k up to the first look; p is the probability of a pass, q that a pass is suspect."""
    p, q = Fraction(2, 5), Fraction(1, 3)
    for k in range(1, rule.looks[0] + 1):
        expected = 0.0
        for (n, c, s), orders in marked_orders(rule).items():
            weight = len(orders) * (p * q) ** s * (p * (1 - q)) ** (c - s) * (1 - p) ** (n - c)
            expected += float(weight) * pass_at_k_without(
                Counts.of([n], [c], rule), np.array([s]), k
            )
        assert expected == pytest.approx(float(1 - (1 - p * (1 - q)) ** k), abs=1e-12)


def test_with_a_fixed_n_it_is_the_plain_estimate_of_the_other_passes():
    n, c, s = np.full(4, 20), np.array([0, 5, 7, 20]), np.array([0, 5, 2, 1])
    for k in (1, 3, 20):
        plain = curve(Counts.of(n, c - s), [k]).pass_at_k[0]
        assert pass_at_k_without(Counts.of(n, c), s, k) == pytest.approx(plain, abs=1e-12)
    assert largest_k_without(Counts.of(n, c), s) == 20


def test_without_suspect_passes_it_is_the_curve():
    rule = StoppingRule(2, (3, 6, 9))
    counts, none = Counts.of([3, 9, 9, 6], [2, 1, 0, 3], rule), np.zeros(4, dtype=int)
    for k in (1, 3, 9):
        usual = curve(counts, [k]).pass_at_k[0]
        assert pass_at_k_without(counts, none, k) == pytest.approx(usual, abs=1e-12)
    assert largest_k_without(counts, none) == 9


def test_a_problem_with_none_but_suspect_passes_says_nothing_beyond_its_samples():
    rule = StoppingRule(2, (3, 6, 9))
    counts, suspect = Counts.of([3, 9], [2, 1], rule), np.array([2, 0])
    assert largest_k_without(counts, suspect) == 3
    assert pass_at_k_without(counts, suspect, 3) == pytest.approx((0 + 1 / 3) / 2)
    assert isnan(pass_at_k_without(counts, suspect, 4))
    assert pass_at_k_without(counts, np.array([1, 0]), 9) == 1.0
