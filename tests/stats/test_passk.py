"""The unbiased estimators against exact rational arithmetic, brute force and published cases."""

import csv
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.stats import passk
from toolkit.stats.curve import Counts, curve
from toolkit.stats.passk import fail_at_k, k_grid, log_fail_at_k, pass_at_k

EXACT = ROOT.parent / "shared" / "data" / "passk_exact.csv"
counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@pytest.mark.skipif(not EXACT.exists(), reason=f"the exact cases are not at {EXACT}")
def test_the_exact_cases():
    with EXACT.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == 475
    n, c, k = (np.array([int(r[name]) for r in rows]) for name in ("n", "c", "k"))
    for name, found in (("pass_at_k", pass_at_k(n, c, k)), ("fail_at_k", fail_at_k(n, c, k))):
        want = np.array([float(r[name]) for r in rows])
        error = np.abs(found - want)
        assert np.all((error <= 1e-12 * np.abs(want)) | (error <= 1e-15)), name


@given(counts, st.integers(1, 300))
def test_it_is_the_hypergeometric_probability(count, k):
    (n, c) = count
    if k > n:
        assert np.isnan(fail_at_k(n, c, k))
        return
    exact = Fraction(comb(n - c, k), comb(n, k))
    assert float(fail_at_k(n, c, k)) == pytest.approx(float(exact), rel=1e-12, abs=1e-300)
    assert float(pass_at_k(n, c, k)) == pytest.approx(float(1 - exact), rel=1e-12)


def test_it_is_the_mean_over_all_subsets():
    outcomes = [1, 0, 0, 1, 0, 0, 0]
    for k in range(1, 8):
        tries = list(combinations(outcomes, k))
        seen = sum(not any(t) for t in tries) / len(tries)
        assert float(fail_at_k(7, 2, k)) == pytest.approx(seen, abs=1e-15)


@given(counts)
def test_fail_at_k_falls_with_k_and_is_convex_on_logs(count):
    n, c = count
    values = fail_at_k(n, c, np.arange(1, n + 1))
    assert np.all(np.diff(values) <= 1e-15)
    assert np.all((values >= 0) & (values <= 1))


def test_small_values_survive_large_n():
    n, c, k = 100_000, 1, 7
    assert float(pass_at_k(n, c, k)) == pytest.approx(k / n, rel=1e-14)
    assert float(log_fail_at_k(n, n - 1, 1)) == pytest.approx(np.log(1 / n), rel=1e-14)


def test_a_table_of_many_n_is_what_each_entry_is_alone(monkeypatch):
    monkeypatch.setattr(passk, "ENTRIES", 500)  # the sums of these problems need many tables
    random = np.random.default_rng(8)
    n = random.integers(1, 400, 60)
    c, k = random.binomial(n, random.beta(0.5, 0.5, 60)), k_grid(400)
    table = log_fail_at_k(n[:, None], c[:, None], k[None, :])
    alone = [[float(log_fail_at_k(*one, k_j)) for k_j in k] for one in zip(n, c, strict=True)]
    assert np.array_equal(table, alone, equal_nan=True)


def test_both_standard_errors_in_a_simulation():
    random = np.random.default_rng(0)
    p = random.beta(0.3, 0.4, size=60)
    draws = [curve(Counts.of([40] * 60, random.binomial(40, p)), [5]) for _ in range(400)]
    spread = np.std([d.fail_at_k[0] for d in draws])
    assert np.mean([d.se_fixed_set[0] for d in draws]) == pytest.approx(spread, rel=0.1)
    fresh = [
        curve(Counts.of([40] * 60, random.binomial(40, random.beta(0.3, 0.4, size=60))), [5])
        for _ in range(400)
    ]
    spread = np.std([d.fail_at_k[0] for d in fresh])
    assert np.mean([d.se_superpopulation[0] for d in fresh]) == pytest.approx(spread, rel=0.1)


def test_ragged_counts_use_the_problems_that_have_k_samples():
    found = curve(Counts.of([4, 2], [1, 1]), [1, 2, 3, 5])
    assert found.problems.tolist() == [2, 2, 1, 0]
    assert found.pass_at_k[:3].tolist() == pytest.approx([(1 / 4 + 1 / 2) / 2, (0.5 + 1) / 2, 0.75])
    assert np.isnan(found.pass_at_k[3])
    assert np.isnan(found.se_fixed_set[1])  # 2k > n of one of them


def test_impossible_counts_are_refused():
    for n, c, k in ((3, 4, 1), (3, -1, 1), (3, 1, 0)):
        with pytest.raises(UsageError, match="0 <= c <= n"):
            fail_at_k(n, c, k)


def test_the_grid():
    assert k_grid(1).tolist() == [1]
    assert k_grid(40).tolist() == [1, 2, 5, 10, 20, 40]
    assert k_grid(1000).tolist() == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
