"""Weak tests: against all orders of the samples, and against laws whose ceiling is known."""

import itertools

import numpy as np
import pytest
from scipy import special

from toolkit.stats.weak_tests import TwoVerdicts, weak_tests


def seen(rows):
    """rows: (n, weak, both) of each problem."""
    n, weak, both = np.array(rows).T
    return TwoVerdicts([f"t/{i}" for i in range(len(n))], n, weak, both, 0 * n)


@pytest.mark.parametrize(("n", "weak", "both"), [(5, 3, 1), (4, 4, 2), (5, 0, 0), (3, 1, 0)])
def test_the_first_that_passes_is_the_mean_over_all_orders(n, weak, both):
    """2: passes both; 1: passes the weak tests only; 0: passes none."""
    samples = [2] * both + [1] * (weak - both) + [0] * (n - weak)
    found = weak_tests(seen([(n, weak, both)]), np.arange(1, n + 1), replicates=50)
    for k in range(1, n + 1):
        handed_in = [
            next((sample for sample in order[:k] if sample), 0)
            for order in itertools.permutations(samples)
        ]
        claimed, right = np.mean(np.array(handed_in) > 0), np.mean(np.array(handed_in) == 2)
        assert found.claimed[k].estimate == pytest.approx(claimed, abs=1e-12)
        assert found.accuracy[k].estimate == pytest.approx(right, abs=1e-12)
        if claimed:
            assert found.false_share[k].estimate == pytest.approx(1 - right / claimed, abs=1e-12)


def test_what_is_not_known_widens_the_interval_upwards_only():
    rows = [(10, 10, 10)] * 10 + [(10, 0, 0)] * 10
    found = weak_tests(seen(rows), np.array([1, 10]), replicates=400)
    assert (found.ceiling.estimate, found.unsolved) == (0.5, 10)
    assert found.ceiling.lo < 0.45
    assert found.ceiling.hi > 0.97
    assert not found.above_ceiling
    assert not found.by_problem


def test_a_claim_above_the_ceiling_is_seen():
    found = weak_tests(seen([(20, 10, 2)] * 40 + [(20, 20, 20)] * 2), np.array([1, 20]))
    assert found.largest_claim == (20, 1.0)
    assert found.above_ceiling
    assert found.false_positives == 320
    assert set(found.by_problem) == {f"t/{i}" for i in range(40)}
    share = found.by_problem["t/0"]
    assert share.lo < share.estimate == 0.2 < share.hi


def test_no_interval_has_width_zero():
    found = weak_tests(seen([(8, 8, 8)]), np.array([1, 8]), replicates=200)
    for each in (found.claimed[8], found.accuracy[8], found.ceiling):
        assert each.lo < 0.9
        assert each.hi == pytest.approx(1, abs=1e-9)


def test_no_false_positive_seen_is_not_none_at_all():
    """Of 20 problems, all claimed and all right, the share has the law Beta(1/2, 20)."""
    found = weak_tests(seen([(8, 8, 8)] * 20), np.array([1, 8]), replicates=4000).false_share[8]
    assert found.lo == found.estimate == 0
    assert found.hi == pytest.approx(special.betaincinv(0.5, 20, 0.975), abs=0.01)
    nothing = weak_tests(seen([(8, 0, 0)] * 5), np.array([1]), replicates=200).false_share[1]
    assert (nothing.lo, nothing.hi) == (0, 1)


def test_the_interval_holds_the_true_ceiling():
    """60 of the bench's simulations of its hardest cell; 93 % is asked for, and chance allowed."""
    random, truth, held = np.random.default_rng(0), 0.8 + 0.2 * 0.5, 0
    for seed in range(60):
        right = np.where(random.random(100) < 0.8, 1.0, random.beta(0.5, 0.5, 100))
        weak = random.binomial(50, random.beta(1, 1, 100))
        both = random.binomial(weak, right)
        rows = seen(np.column_stack([np.full(100, 50), weak, both]))
        ceiling = weak_tests(rows, np.array([1]), replicates=200, seed=seed).ceiling
        held += ceiling.lo <= truth <= ceiling.hi
    assert held >= 52
