"""Forecasts beyond the samples, and the k that reaches a target."""

import numpy as np
import pytest

from toolkit.stats.curve import Counts
from toolkit.stats.forecast import CountFits, Forecast, bracket, forecast, resample
from toolkit.stats.laws import BetaBinomial


@pytest.fixture(scope="module")
def ahead():
    random = np.random.default_rng(3)
    counts = Counts.of([100] * 164, random.binomial(100, random.beta(0.29, 0.17, size=164)))
    return counts, forecast(counts, CountFits.of(counts), resample(164, 100, random))


def test_inside_the_samples_it_is_the_unbiased_curve(ahead):
    counts, found = ahead
    for k in (1, 10, 100):
        assert found.at(k).estimate == pytest.approx(counts.fail_at_k([k]).mean(), rel=1e-12)


def test_beyond_them_it_holds_the_truth(ahead):
    truth = BetaBinomial(0.29, 0.17, 0.0, 0.0).fail_at_k(1000)
    found = ahead[1].at(1000)
    assert found.lo < truth < found.hi
    assert found.lo < found.estimate < found.hi
    assert ahead[1].at(1000).estimate > ahead[1].at(1001).estimate > ahead[1].at(5000).estimate


def test_the_k_of_a_target_is_the_first_that_reaches_it(ahead):
    _, found = ahead
    for coverage in (0.7, 0.9, 0.95):
        k = found.reaches(coverage)
        assert k.lo <= k.estimate <= k.hi
        assert 1 - found.at(int(k.estimate)).estimate >= coverage - 1e-9
        assert 1 - found.at(int(k.estimate) - 1).estimate < coverage
    assert found.reaches(0.01).estimate == 1


def test_a_target_beyond_all_k_is_infinite():
    k, never = np.array([1, 10, 10**7]), np.array([[0.5, 0.2, 0.1], [0.5, 0.2, 0.001]])
    found = Forecast(k, never[0], (never,), np.array([0.3, 0.3]))
    reached = found.reaches(0.99)
    assert reached.estimate == np.inf
    assert np.isfinite(reached.lo)
    assert reached.hi == np.inf


def test_the_bracket_holds_what_more_samples_show():
    random = np.random.default_rng(0)
    p = random.beta(0.3, 0.3, size=400)
    few = Counts.of([50] * 400, np.round(50 * p).astype(int))
    (low, high) = bracket(few, np.array([200]))[200]
    assert 0 <= low < np.mean((1 - p) ** 200) < high
