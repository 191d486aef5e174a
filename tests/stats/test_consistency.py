"""pass^k, G-Pass@k, mG-Pass@k, Cover@tau: against all subsets, and against the package scorio."""

import itertools
import math

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.stats.bayes import beta_of_moments, mean_intervals, posterior_points
from toolkit.stats.consistency import (
    binomial_shares,
    cover_at,
    g_pass_at_k,
    least_of,
    mean_g_pass_at_k,
    measure,
    pass_hat_k,
    passes_among,
)
from toolkit.stats.curve import Counts
from toolkit.stats.stopping import StoppingRule

COUNTS = (np.full(8, 8), np.array([0, 1, 2, 3, 5, 7, 8, 8]))
SCORIO = {  # scorio 0.2.3: pass_hat_k, g_pass_at_k_tau at .25, .5 and .75, mg_pass_at_k
    1: (0.53125, 0.53125, 0.53125, 0.53125, 0.0),
    2: (0.40625, 0.65625, 0.65625, 0.40625, 0.40625),
    3: (
        0.3526785714285714,
        0.7276785714285714,
        0.5133928571428571,
        0.3526785714285714,
        0.23511904761904762,
    ),
    5: (0.29910714285714285, 0.6339285714285714, 0.5, 0.4107142857142857, 0.2839285714285714),
    8: (0.25, 0.75, 0.5, 0.375, 0.375),
}
SCORIO_BAYES = {  # scorio 0.2.3, uniform prior: mean and standard deviation of these problems
    "pass_hat_1": (0.525, 0.04264014327112208),
    "pass_hat_2": (0.3795454545454545, 0.04666653422316446),
    "g_pass_5_half": (0.5219155844155845, 0.05362640738958438),
    "mg_pass_5": (0.2478021978021978, 0.041069635272932385),
}


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_every_measure_is_the_share_of_all_subsets(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations([1] * c + [0] * (n - c), k))
        passes = np.array([sum(subset) for subset in subsets])
        half = math.ceil(k / 2)
        exact = {
            pass_hat_k(n, c, k).item(): np.mean(passes == k),
            g_pass_at_k(n, c, k, 0.6).item(): np.mean(passes >= max(1, math.ceil(0.6 * k))),
            mean_g_pass_at_k(n, c, k).item(): 2 / k * np.maximum(passes - half, 0).mean(),
        }
        for found, expected in exact.items():
            assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", SCORIO)
def test_the_package_scorio_agrees(k):
    taus = [g_pass_at_k(*COUNTS, k, tau).mean() for tau in (0.25, 0.5, 0.75)]
    found = [pass_hat_k(*COUNTS, k).mean(), *taus, mean_g_pass_at_k(*COUNTS, k).mean()]
    assert found == pytest.approx(SCORIO[k], abs=1e-12)


def test_the_posterior_of_scorio_agrees():
    points = posterior_points(*COUNTS, (1.0, 1.0))
    grid = points.reshape(-1)
    tails = {
        "pass_hat_1": grid,
        "pass_hat_2": grid**2,
        "g_pass_5_half": binomial_shares(grid, 5)[:, 3:].sum(axis=1),
        "mg_pass_5": 0.4 * binomial_shares(grid, 5) @ [0, 0, 0, 0, 1, 2],
    }
    for name, values in tails.items():
        each = values.reshape(points.shape)
        mean, spread = each.mean(), math.sqrt(each.var(axis=1).sum()) / len(each)
        assert (mean, spread) == pytest.approx(SCORIO_BAYES[name], rel=0.02), name


def test_large_numbers_stay_exact():
    """Against rationals: n = 10,000 and a tail of 1e-30."""
    n, c, k = 10_000, 500, 40
    exact = math.comb(c, 30) * math.comb(n - c, 10) / math.comb(n, k)
    assert passes_among(n, c, k)[0, 30] == pytest.approx(exact, rel=1e-11)
    assert np.isnan(passes_among(3, 1, 4)).all()


def test_a_threshold_is_not_moved_by_rounding():
    assert [least_of(10, tau) for tau in (0, 0.7, 0.71, 1)] == [1, 7, 8, 10]
    assert cover_at([10, 10], [7, 6], 0.7).tolist() == [1, 0]
    with pytest.raises(UsageError, match="tau"):
        least_of(10, 1.5)


@pytest.mark.parametrize("c", [[0] * 6, [4] * 6, [2]])
def test_no_interval_has_width_zero(c):
    counts = Counts.of([4] * len(c), c)
    found = measure(counts, np.array([1, 2, 4]), (0.3, 0.3), replicates=200)
    for each in (*found.pass_hat_k.values(), *found.cover_at.values()):
        assert each.lo <= each.estimate <= each.hi
        assert each.hi - each.lo > 0.05
        assert 0 <= each.credible_lo < each.credible_hi <= 1


def test_where_all_agree_the_interval_is_that_of_jeffreys():
    from scipy import stats

    _, hi = mean_intervals(np.zeros((20, 1)), 40_000, np.random.default_rng(0))
    assert hi[0] == pytest.approx(stats.beta(0.5, 20.5).ppf(0.975), rel=0.03)


def test_rows_that_stand_for_many_problems_are_those_problems():
    values, times = np.array([[0.0], [0.4], [1.0]]), np.array([30, 50, 20])
    few = mean_intervals(values, 20_000, np.random.default_rng(0), times)
    many = mean_intervals(np.repeat(values, times, axis=0), 20_000, np.random.default_rng(1))
    assert np.ravel(few) == pytest.approx(np.ravel(many), abs=3e-3)


def test_one_posterior_is_matched_exactly():
    from scipy import stats

    law = stats.beta(3, 8)
    assert beta_of_moments(law.mean(), law.var()) == pytest.approx(law.interval(0.95))


def test_the_credible_interval_holds_these_problems():
    """A U-shaped law, 8 samples: the fitted prior holds the truth, the uniform one does not."""
    random, held = np.random.default_rng(1), np.zeros(2)
    for _ in range(100):
        p = random.beta(0.3, 0.2, 100)
        counts = Counts.of(np.full(100, 8), random.binomial(8, p))
        for i, prior in enumerate([(0.3, 0.2), (1.0, 1.0)]):
            found = measure(counts, np.array([4]), prior, replicates=2).pass_hat_k[4]
            held[i] += found.credible_lo <= (p**4).mean() <= found.credible_hi
    assert held[0] >= 89
    assert held[1] < 20


def test_an_adaptive_run_has_none():
    rule = StoppingRule.batches(1, 4, 8, 4)
    assert measure(Counts.of([4, 8], [1, 0], rule), np.array([1]), (1.0, 1.0)) is None


@pytest.mark.parametrize(("n", "c", "prior"), [(100, 0, (0.3, 1e5)), (20, 20, (0.3, 1e-5))])
def test_where_all_samples_agree_every_end_is_a_number(n, c, prior):
    """The variance of a mean near 0 is a number near 1e-320; a fit ended in a traceback."""
    k = np.array([1, 2, 5, 10, 20, 50, 100])
    found = measure(Counts.of([n] * 20, [c] * 20), k[k <= n], prior, replicates=50)
    for columns in (found.pass_hat_k, *found.g_pass_at_k.values(), found.mean_g_pass_at_k):
        for each in columns.values():
            assert 0 <= each.credible_lo <= each.credible_hi <= 1
