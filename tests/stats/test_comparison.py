"""Runs compared: intervals that hold at once, crossings, the cost of stopping at a pass."""

import itertools

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.stats.comparison import Crossover, Differences, crossover, differences, verdict
from toolkit.stats.curve import Counts
from toolkit.stats.frontier import at_equal_cost, frontier, samples_needed
from toolkit.stats.passk import k_grid, pass_at_k
from toolkit.stats.stopping import StoppingRule


def table(n, k):
    """pass@k for each c = 0 .. n, shape (n + 1, K)."""
    return pass_at_k(n, np.arange(n + 1)[:, None], k[None, :])


def test_equal_runs_seldom_beat_each_other_anywhere():
    """100 simulations; `python tests/bench comparing` makes 1,000 of each case."""
    random, k = np.random.default_rng(0), k_grid(200)
    passed, wrong = table(200, k), 0
    for seed in range(100):
        p = random.beta(0.3, 12, 100)
        apart = passed[random.binomial(200, p)] - passed[random.binomial(200, p)]
        found = differences(apart, replicates=200, seed=seed)
        wrong += bool((found.lo > 0).any() or (found.hi < 0).any())
    assert wrong <= 12


def test_no_difference_is_never_certain():
    found = differences(np.zeros((50, 3)))
    assert found.mean.tolist() == [0, 0, 0]
    assert found.hi == pytest.approx(np.full(3, 2 / 50), rel=0.05)
    assert found.lo == pytest.approx(-found.hi)


def test_more_columns_cost_width_and_correlated_ones_do_not():
    random = np.random.default_rng(1)
    one = random.uniform(-0.5, 0.5, (60, 1))
    same = differences(np.repeat(one, 20, axis=1)).critical
    apart = differences(random.uniform(-0.5, 0.5, (60, 20))).critical
    assert same == pytest.approx(differences(one).critical, abs=0.2)
    assert apart > same + 0.5


def test_what_can_be_detected_is_detected_in_four_of_five():
    random, effect, hits = np.random.default_rng(2), None, 0
    for seed in range(300):
        noise = random.normal(0, 0.2, (80, 1))
        if effect is None:
            effect = differences(noise, replicates=100).one(0)[2]
        lo, hi, _ = differences(noise + effect, replicates=100, seed=seed).one(0)
        hits += verdict(lo, hi) == "better"
    assert 0.7 < hits / 300 < 0.93


def test_one_problem_is_no_comparison():
    with pytest.raises(UsageError, match="problems in common: 1; a comparison"):
        differences(np.zeros((1, 2)))


K = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def given(mean, error=0.01):
    return Differences(np.array(mean), np.full(len(mean), error), 2.5, 2.0)


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ((0.5, 0.4, 0.3, 0.2, 0.1), Crossover(False, None, None, None)),
        ((0.0, 0.0, 0.0, 0.0, 0.0), Crossover(None, None, None, None)),
        ((0.5, 0.2, 0.0, -0.2, -0.4), Crossover(True, 4.0, 2.0, 8.0)),
        ((0.5, 0.2, -0.2, -0.3, -0.4), Crossover(True, 2.0**1.5, 2.0, 4.0)),
        ((0.5, 0.4, 0.3, 0.2, -0.01), Crossover(None, None, 8.0, None)),
        ((0.022, 0.022, 0.022, 0.022, 0.022), Crossover(None, None, None, None)),
    ],
)
def test_where_two_curves_cross(mean, expected):
    found = crossover(K, given(mean))
    assert (found.crosses, found.lo, found.hi) == (expected.crosses, expected.lo, expected.hi)
    if expected.k:
        assert found.k == pytest.approx(expected.k)


def test_the_interval_holds_the_crossing():
    """60 simulations of a base model and a tuned one: base is better from k = 4 on."""
    random, k = np.random.default_rng(3), np.unique(np.geomspace(1, 100, 40).round()).astype(int)
    passed, held = table(100, k), 0
    for seed in range(60):
        z = random.normal(-1, 2.2, 164)
        base, tuned = (1 / (1 + np.exp(-x)) for x in (z, 2 * z + 1.6))
        apart = passed[random.binomial(100, base)] - passed[random.binomial(100, tuned)]
        found = crossover(k.astype(float), differences(apart, replicates=200, seed=seed))
        held += (found.lo or 0) <= 4.0 <= (found.hi or np.inf)
    assert held >= 53


@pytest.mark.parametrize(("n", "c"), [(5, 0), (5, 1), (5, 3), (4, 4)])
def test_samples_until_a_pass_are_the_mean_over_all_orders(n, c):
    orders = list(itertools.permutations([1] * c + [0] * (n - c)))
    ks = np.arange(1, n + 1)
    needed = samples_needed(Counts.of([n], [c]), ks)[0]
    for k in ks:
        first = [order[:k].index(1) + 1 if 1 in order[:k] else k for order in orders]
        assert needed[k - 1] == pytest.approx(np.mean(first), abs=1e-12)
    assert np.isnan(samples_needed(Counts.of([n], [c]), np.array([n + 1]))).all()


def test_under_a_rule_the_samples_are_those_of_its_estimates():
    rule = StoppingRule.batches(1, 2, 8, 2)
    counts = Counts.of([2, 8], [1, 0], rule)
    needed = samples_needed(counts, np.array([1, 3]))
    expected = 1 + counts.fail_at_k([1, 2]).sum(axis=1)
    assert needed[:, 0].tolist() == [1, 1]
    assert needed[:, 1] == pytest.approx(expected)


def test_a_small_model_many_times_against_a_large_one_once():
    k = np.array([1, 2, 5, 10])
    small = Counts.of(np.full(60, 10), np.repeat([1, 5], 30))
    large = Counts.of(np.full(60, 10), np.repeat([0, 10], [40, 20]))
    many = [frontier(small, np.full(60, 1.0), k, policy) for policy in ("every", "discard")]
    once = frontier(large, np.full(60, 5.0), k, "every")
    chosen, apart = at_equal_cost(once, many)
    assert chosen == [5, 10]
    assert apart.mean == pytest.approx([many[0].coverage[2] - 1 / 3, 1 - 1 / 3])
    assert (apart.lo > 0).all()
    assert at_equal_cost(many[0], [once]) == ([None], None)
    assert (many[1].cost <= many[0].cost + 1e-9).all()
