"""The verdict on a power law: three answers, and the law of hard problems that it rests on."""

import numpy as np
import pytest
from scipy import optimize

from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts, curve
from toolkit.stats.laws import Tally
from toolkit.stats.passk import k_grid
from toolkit.stats.power_law import (
    LEVEL,
    MARGIN,
    TAIL_FROM,
    PowerLaw,
    adjusted,
    holm,
    judge_power_law,
    judge_tail,
)
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.tail import BEND, FLOOR, A, B, TailModel


def power(a, b):
    return lambda random, size: -np.expm1(-random.gamma(a, 1 / b, size))


def drawn(law, problems, n, seed=1):
    random = np.random.default_rng(seed)
    return Counts.of(np.full(problems, n), random.binomial(n, law(random, problems)))


def judged(counts):
    grid = k_grid(counts.k_max)
    rows = Replicated.of(counts, 200, np.random.default_rng(0)).resampled(grid)
    return judge_power_law(counts, grid, curve(counts, grid).fail_at_k, rows.means)


def test_a_power_law_is_supported_from_enough_counts():
    found = judged(drawn(power(0.3, 0.3), 1000, 10_000))
    assert found.supported is True
    assert found.largest_change < MARGIN
    assert min(found.p_values.values()) > LEVEL
    assert found.tail_from == TAIL_FROM
    assert found.slope_range.lo == 0
    assert found.slope_range.estimate < found.slope_range.hi


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (
            lambda random, size: power(0.3, 0.03)(random, size) * (random.random(size) > 0.1),
            "a floor of about",
        ),
        (lambda random, size: np.maximum(power(0.3, 0.03)(random, size), 5e-4), "steepens"),
        (power(0.5, 40.0), "has not settled by k = 10"),
    ],
)
def test_what_is_no_power_law_is_not_supported_and_the_reason_is_named(law, says):
    found = judged(drawn(law, 1000, 10_000))
    assert found.supported is False
    assert says in " ".join(found.reasons)
    assert found.from_one is False


def test_unsolved_problems_alone_cannot_tell():
    """20 problems with c = 0 were called supported once."""
    found = judged(Counts.of(np.full(20, 1000), np.zeros(20)))
    assert (found.supported, found.from_one, found.p_values) == (None, None, None)
    assert "a pass in under 1 of 10 samples: 0, under 10" in found.reasons[0]


def test_two_decades_of_tail_do_not_support():
    found = judge_tail(drawn(power(0.3, 0.3), 1000, 1000))
    assert found.supported is None
    assert "are 2.0 decades, under 2.5" in found.reasons[0]


def test_straight_in_the_tail_is_not_straight_from_one():
    """The slope at k is .3 k / (k + 4): it has settled by k = 100, and is far off at k = 1."""
    found = judged(drawn(power(0.3, 4.0), 1500, 10_000, seed=1))
    assert found.supported is True
    assert found.from_one is False
    assert "the slopes of the decades differ" in found.from_one_reason


def test_a_stopping_rule_leaves_the_verdict():
    """The likelihood of stopped counts is that of fixed ones but for a factor without p."""
    rule = StoppingRule.batches(5, 50, 10_000, 0)
    random = np.random.default_rng(2)
    law = power(0.3, 0.3)
    counts = Counts(*rule.simulate(law(random, 1000), random), rule)
    assert counts.n.min() == 50
    assert judge_tail(counts).supported is True


def test_a_few_problems_with_few_samples_do_not_end_the_tail():
    counts = drawn(power(0.3, 0.3), 1000, 10_000)
    n, c = counts.n.copy(), counts.c.copy()
    n[:20], c[:20] = 7, np.minimum(c[:20], 7)
    found = judged(Counts(n, c))
    assert (found.supported, found.tail_to) == (True, 10_000)
    assert found.from_one is None


def test_holm_adjusts_by_rank():
    found = holm({"a": 0.01, "b": 0.5, "c": 0.04})
    assert found == pytest.approx({"a": 0.03, "b": 0.5, "c": 0.08})
    assert holm({"a": 0.4, "b": 0.9}) == pytest.approx({"a": 0.8, "b": 0.9})


def test_an_onset_that_is_early_for_sure_costs_the_other_tests_nothing():
    """Signed roots: 1.7 has p = .0446, which counts three times, or twice where b is surely small."""
    asked, early = (adjusted(floor=1.7, bend=-1.0, onset=root) for root in (0.0, -2.0))
    assert asked["floor"] == pytest.approx(3 * 0.0446, abs=1e-3)
    assert early["floor"] == pytest.approx(2 * 0.0446, abs=1e-3)
    assert early["onset"] == 1
    assert adjusted(floor=-1.0, bend=0.0, onset=3.0)["onset"] < LEVEL


def test_a_fit_leaves_an_onset_that_is_fixed():
    counts = drawn(power(0.3, 0.3), 60, 300)
    model = TailModel(Tally.of(counts), 300)
    start = np.zeros(FLOOR + 1)
    start[A] = 0.3
    free, late = (model.fit((), start, fixed, bound=False) for fixed in ({}, {B: 5.0}))
    assert late[B] == 5.0
    assert late.log_lik < free.log_lik


def test_older_results_have_two_answers():
    assert PowerLaw(True, ()).verdict == "supported"
    assert PowerLaw(None, ("why",)).verdict == "cannot tell"


def test_the_gradient_and_the_hessian_are_those_of_the_likelihood():
    counts = drawn(power(0.3, 0.3), 60, 300)
    model = TailModel(Tally.of(counts), 300)
    at = np.random.default_rng(4).normal(0, 0.3, FLOOR + 1)
    at[A], at[B], at[BEND], at[FLOOR] = 0.4, 0.5, 0.2, 0.03
    _, gradient, hessian = model._derivatives(at)
    numeric = optimize.approx_fprime(at, lambda x: model._derivatives(x)[0], 1e-7)
    assert gradient == pytest.approx(numeric, rel=1e-4, abs=1e-4)
    rows = [
        optimize.approx_fprime(at, lambda x, i=i: model._derivatives(x)[1][i], 1e-6)
        for i in range(len(at))
    ]
    assert hessian == pytest.approx(np.array(rows), rel=1e-3, abs=1e-3)


def test_a_law_under_which_the_counts_are_impossible_has_finite_derivatives():
    """A search may step there: no mass is near p = 0, and some problems are unsolved."""
    counts = Counts.of(np.full(40, 10_000), np.arange(40) * 20)
    model = TailModel(Tally.of(counts), 10_000)
    at = np.zeros(FLOOR + 1)
    at[A] = 1000
    value, gradient, hessian = model._derivatives(at)
    assert value < -300
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()


def test_the_search_for_an_onset_in_counts_of_two_hard_atoms_overflows_nowhere():
    random = np.random.default_rng([5069, 1000, 164])
    p = np.where(random.random(164) < 0.7, random.beta(2.0, 1.0, 164), 0.002)
    assert judge_tail(Counts.of(np.full(164, 1000), random.binomial(1000, p))).supported is False


def test_a_fit_finds_the_exponent_and_the_floor():
    law = power(0.4, 0.5)
    counts = drawn(lambda r, size: law(r, size) * (r.random(size) > 0.1), 4000, 2000)
    model = TailModel(Tally.of(counts), 2000)
    start = np.zeros(FLOOR + 1)
    start[A] = 0.3
    fit = model.fit((FLOOR,), start, {}, bound=True)
    assert fit[A] == pytest.approx(0.4, abs=0.06)
    assert fit[FLOOR] == pytest.approx(0.1, abs=0.02)
    k = np.array([10, 100, 1000])
    assert model.fail_at_k(fit, k) == pytest.approx(curve(counts, k).fail_at_k, rel=0.02)
    end = model.bound_of(fit, FLOOR, 1.645)
    assert np.sqrt(2 * (fit.log_lik - end.log_lik)) == pytest.approx(1.645, abs=0.06)
