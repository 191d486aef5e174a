"""The curve over groups of equal counts, against its definition; the bootstrap over problems."""

import numpy as np
import pytest
from scipy import stats

from toolkit.stats import curve as curves
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts, curve
from toolkit.stats.difference import difference, exact_binomial
from toolkit.stats.forecast import Interval
from toolkit.stats.stopping import StoppingRule

K = np.array([1, 2, 3, 5, 9, 20, 30, 60])


def by_definition(counts, k):
    has = counts.support() >= k
    some = Counts(counts.n[has], counts.c[has], counts.rule)
    fail = some.fail_at_k([k])[:, 0]
    fixed = np.nan
    if np.all(counts.support()[has] >= 2 * k):
        fixed = np.sqrt(max(0, np.sum(fail**2 - some.fail_at_k([2 * k])[:, 0]))) / len(fail)
    return fail.mean(), fixed, fail.std(ddof=1) / np.sqrt(len(fail)), len(fail)


@pytest.mark.parametrize("rule", [None, StoppingRule(2, (3, 6, 9, 14, 60))])
@pytest.mark.parametrize("entries", [2**22, 40])
def test_it_is_the_mean_of_the_problems_that_support_k(rule, entries, monkeypatch):
    monkeypatch.setattr(curves, "ENTRIES", entries)  # a table in one part, and in many
    random = np.random.default_rng(1)
    p = random.beta(0.4, 0.5, size=50)
    n = random.integers(60, 80, 50)
    counts = (
        Counts(*rule.simulate(p, random), rule) if rule else Counts.of(n, random.binomial(n, p))
    )
    found = curve(counts, K)
    for j, k in enumerate(K):
        fail, fixed, spread, problems = by_definition(counts, k)
        assert found.fail_at_k[j] == pytest.approx(fail, abs=1e-15)
        assert found.pass_at_k[j] == pytest.approx(1 - fail, abs=1e-15)
        assert found.se_fixed_set[j] == pytest.approx(fixed, abs=1e-14, nan_ok=True)
        assert found.se_superpopulation[j] == pytest.approx(spread, abs=1e-15)
        assert found.problems[j] == problems


def test_distinct_counts_gather_all_problems():
    counts = Counts.of([5, 7, 5, 5, 7], [1, 1, 1, 5, 0])
    groups, weight = counts.distinct()
    assert list(zip(groups.n, groups.c, weight, strict=True)) == [
        (5, 1, 2),
        (5, 5, 1),
        (7, 0, 1),
        (7, 1, 1),
    ]
    assert (counts.k_max, counts.k_most) == (5, 7)


@pytest.mark.parametrize("solved", [0, 3, 20])
def test_at_one_sample_the_ends_are_those_of_the_exact_binomial(solved):
    """Also where all problems agree: no interval has a width of zero."""
    counts = Counts.of(np.ones(20), [1] * solved + [0] * (20 - solved))
    rows = Replicated.of(counts, 40_000, np.random.default_rng(5)).resampled([1])
    low, high = np.quantile(rows.low, 0.025), np.quantile(rows.high, 0.975)
    exact = stats.binomtest(20 - solved, 20).proportion_ci(0.95, method="exact")
    assert low == pytest.approx(exact.low, abs=0.005)
    assert high == pytest.approx(exact.high, abs=0.005)
    assert high > low


def test_the_bootstrap_has_the_standard_error_of_such_problems():
    random = np.random.default_rng(3)
    n = random.integers(30, 60, 80)
    counts = Counts.of(n, random.binomial(n, random.beta(0.4, 0.5, size=80)))
    rows = Replicated.of(counts, 4000, random).resampled(K[:5])
    error = curve(counts, K[:5]).se_superpopulation
    assert rows.means.std(axis=0) == pytest.approx(error, rel=0.06)
    assert (rows.low <= rows.means).all()
    assert (rows.means <= rows.high).all()


def test_a_difference_of_two_exact_figures():
    """Newcombe's example (1998, table II): 56/70 - 48/80, from Wilson intervals .0524 to .3339."""
    one, other = (stats.binomtest(*x).proportion_ci(0.95, "wilson") for x in ((56, 70), (48, 80)))
    found = difference(Interval(0.8, one.low, one.high), Interval(0.6, other.low, other.high))
    assert found.estimate == pytest.approx(0.2)
    assert found.lo == pytest.approx(0.0524, abs=5e-5)
    assert found.hi == pytest.approx(0.3339, abs=5e-5)
    assert exact_binomial(148, 164).lo == pytest.approx(0.84643, abs=1e-4)
