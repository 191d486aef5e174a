"""Forecasts beyond the samples, their intervals, and the k that reaches a target."""

import csv
import dataclasses
import itertools

import numpy as np
import pytest
from run_jobs import ROOT

from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts
from toolkit.stats.forecast import (
    FARTHEST_RATIO,
    LEAST_WITH_ONE_PASS,
    bracket,
    forecast,
    forecast_of,
    weighted_quantile,
)
from toolkit.stats.laws import BetaBinomial
from toolkit.stats.measured import nearest_cells
from toolkit.stats.model_free import model_free
from toolkit.stats.passk import k_grid
from toolkit.stats.same_problems import same_problems
from toolkit.stats.stopping import StoppingRule

SETS = sorted((ROOT.parent / "shared" / "data" / "counts").glob("*.csv"))


def drawn(p, n=100, seed=3):
    random = np.random.default_rng(seed)
    return Counts.of(np.full(len(p), n), random.binomial(n, p))


def beta(problems=164, seed=3, floor=0.0):
    random = np.random.default_rng(seed)
    return random.beta(0.29, 0.17, problems) * (random.random(problems) >= floor)


@pytest.fixture(scope="module")
def ahead():
    counts = drawn(beta())
    return counts, forecast(counts, replicates=200)


def test_inside_the_samples_it_is_the_unbiased_curve(ahead):
    counts, found = ahead
    for k in (1, 10, 100):
        assert found.at(k).estimate == pytest.approx(counts.fail_at_k([k]).mean(), rel=1e-12)


def test_beyond_them_it_holds_the_truth_and_falls(ahead):
    truth = BetaBinomial(0.29, 0.17, 0.0, 0.0).fail_at_k(1000)
    found = ahead[1].at(1000)
    assert found.lo < truth < found.hi
    assert found.lo < found.estimate < found.hi
    assert ahead[1].at(1000).estimate > ahead[1].at(1001).estimate > ahead[1].at(5000).estimate


def test_it_goes_on_from_the_last_measured_value_without_a_jump(ahead):
    _, found = ahead
    last, following = found.at(100), found.at(101)
    assert 0.98 < following.estimate / last.estimate <= 1
    assert 0.95 < following.lo / last.lo <= 1.02
    assert 0.95 < following.hi / last.hi <= 1.02


def test_the_weights_follow_from_held_out_samples(ahead):
    standings = ahead[1].standings
    assert sum(s.weight for s in standings) == pytest.approx(1)
    ranked = sorted((s for s in standings if not s.rejected), key=lambda s: s.z)
    assert ranked[0].weight > ranked[-1].weight


def test_a_family_that_held_out_samples_reject_has_no_say():
    # p = 0.3 Beta(0.4, 1): no problem is easy, which no logit-normal law can be.
    p = 0.3 * np.random.default_rng(0).beta(0.4, 1.0, 400)
    found = {s.name: s for s in forecast(drawn(p, 200), replicates=100).standings}
    assert found["logit-normal"].rejected
    assert found["logit-normal"].weight == 0
    assert found["beta-binomial of the hard"].weight > 0.2


def test_the_k_of_a_target_is_the_first_that_reaches_it(ahead):
    _, found = ahead
    for coverage in (0.7, 0.9, 0.93):
        k = found.reaches(coverage)
        assert k.lo <= k.estimate <= k.hi
        assert 1 - found.at(int(k.estimate)).estimate >= coverage - 1e-9
        assert 1 - found.at(int(k.estimate) - 1).estimate < coverage
    assert found.reaches(0.01).estimate == 1
    assert found.reaches(1 - 1e-9).estimate == np.inf


@pytest.mark.parametrize(
    ("n", "c", "says"),
    [
        ([50] * 9, [10] * 9, "problems: 9, under 10"),
        ([3] * 40, [0, 1, 2, 3] * 10, "fewer than 4 samples"),
        ([50] * 40, [0] * 40, "no sample has passed"),
    ],
)
def test_where_nothing_can_be_known_there_is_no_forecast_but_a_reason(n, c, says):
    counts = Counts.of(n, c)
    found = forecast(counts, replicates=100)
    assert found.limit(counts.k_max) is None
    assert says in found.limit(counts.k_max + 1)
    beyond = found.at(10 * counts.k_max)
    assert np.isnan(beyond.estimate)
    assert (beyond.lo, beyond.hi) == (0, found.at(counts.k_max).hi)


def test_the_forecast_ends_where_it_was_tested(ahead):
    found = ahead[1]
    assert found.farthest == 100 * FARTHEST_RATIO
    assert found.limit(found.farthest) is None
    assert "nothing was tested" in found.limit(found.farthest + 1)


@pytest.mark.parametrize(
    ("n", "c"),
    [([20], [20]), ([20], [7]), ([20] * 20, [20] * 20), ([20] * 20, [0] * 20), ([1] * 8, [1] * 8)],
)
def test_no_interval_has_the_width_zero(n, c):
    counts = Counts.of(n, c)
    data = Replicated.of(counts, 400, np.random.default_rng(0))
    found, families = forecast_of(data, np.random.default_rng(1))
    such, these = found.at(1), same_problems(data, found, families, np.array([1]))[1]
    assert such.hi - such.lo > 0.1
    assert these.hi - these.lo > 1 / (2 * sum(n))
    assert such.lo <= such.estimate <= such.hi
    assert these.lo <= these.estimate <= these.hi


def test_many_samples_of_others_say_nothing_of_a_problem_with_one():
    """The one of n = 1 passes with probability 1/10 by luck; then fail@1 is .09."""
    counts = Counts.of([1] + [100] * 9, [1] + [100] * 9)
    data = Replicated.of(counts, 100, np.random.default_rng(0))
    found, families = forecast_of(data, np.random.default_rng(1))
    assert same_problems(data, found, families, np.array([1]))[1].hi > 0.09


def test_all_solved_has_the_upper_end_of_the_exact_binomial_interval():
    found = forecast(Counts.of([20] * 20, [20] * 20), replicates=4000)
    assert found.at(1).hi == pytest.approx(1 - 0.025 ** (1 / 20), abs=0.03)
    assert found.at(1).lo == found.at(1).estimate == 0


@pytest.mark.slow
def test_these_problems_have_intervals_that_hold_their_own_truth():
    held = []
    for seed in range(8):
        p = beta(60, seed)
        counts = drawn(p, 50, seed)
        data = Replicated.of(counts, 100, np.random.default_rng(seed))
        ahead, families = forecast_of(data, np.random.default_rng(seed))
        found = same_problems(data, ahead, families, np.array([1, 50, 500]))
        held += [i.lo <= np.mean((1 - p) ** k) <= i.hi for k, i in found.items()]
        assert found[1].hi - found[1].lo < ahead.at(1).hi - ahead.at(1).lo
    assert np.mean(held) > 0.8


def test_no_end_of_these_problems_rises():
    """Each end is a quantile of draws made anew for each k, so by itself it may rise a little."""
    data = Replicated.of(drawn(beta(30), 20), 100, np.random.default_rng(0))
    ahead, families = forecast_of(data, np.random.default_rng(0))
    ends = same_problems(data, ahead, families, np.arange(1, 60)).values()
    for near, far in itertools.pairwise(ends):
        assert near.lo >= far.lo
        assert near.hi >= far.hi
        assert far.lo <= far.estimate <= far.hi


@pytest.mark.slow
def test_the_model_free_interval_holds_laws_of_every_kind():
    random = np.random.default_rng(5)
    laws = {
        "floor": beta(164, 1, floor=0.1),
        "logit-normal": 1 / (1 + np.exp(-random.normal(0, 3, 164))),
        "two atoms": np.where(random.random(164) < 0.3, 0.002, 0.5),
    }
    for law, p in laws.items():
        data = Replicated.of(drawn(p), 10, random)
        bounds = model_free(data, np.array([10, 1000]))
        assert bounds[10][0] < np.mean((1 - p) ** 10) < bounds[10][1], law
        assert bounds[1000][0] < np.mean((1 - p) ** 1000) < bounds[1000][1], law
        assert bounds[10][0] > bounds[1000][0]


def test_no_end_of_the_model_free_interval_rises():
    for seed in range(3):
        data = Replicated.of(drawn(beta(20, seed), 20), 10, np.random.default_rng(0))
        bounds = model_free(data, np.array([22, 20, 21, 30, 23, 25]))
        for near, far in itertools.pairwise([bounds[k] for k in sorted(bounds)]):
            assert near[0] >= far[0]
            assert near[1] >= far[1]
        assert list(bounds) == sorted(bounds)


def test_under_a_stopping_rule_it_goes_on_from_the_cap():
    rule = StoppingRule.batches(3, 20, 200, 0)
    random = np.random.default_rng(0)
    counts = Counts.of(*rule.simulate(random.beta(0.3, 0.4, 80), random), rule)
    found = forecast(counts, replicates=200)
    truth = BetaBinomial(0.3, 0.4, 0.0, 0.0).fail_at_k(1000)
    assert found.k_max == 200
    assert found.at(1000).lo < truth < found.at(1000).hi


def check_bounds(counts, replicates):
    """What holds for every forecast, whatever the counts."""
    found = forecast(counts, replicates=replicates)
    top = counts.k_max
    spaced = np.rint(np.geomspace(top, min(found.farthest, 10 * top), 8)).astype(int)
    k = np.unique(np.append(spaced, min(found.farthest, top + 1)))
    points = [found.at(int(k_j)) for k_j in k]
    last = float(counts.fail_at_k([top]).mean())
    values = [p.estimate for p in points]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert all(p.lo <= p.estimate <= min(p.hi, last + 1e-12) for p in points)
    for near, far in itertools.pairwise([found.at(k_j) for k_j in k_grid(top)[:-1]] + points):
        assert near.lo >= far.lo * (1 - 1e-9)
        assert near.hi >= far.hi * (1 - 1e-9)
    if (counts.c == 1).sum() >= LEAST_WITH_ONE_PASS and top > 1:
        bounds = bracket(counts, k)
        for k_j, p in zip(k.tolist(), points, strict=True):
            assert p.estimate >= bounds[k_j][0] * (1 - 0.02)  # between the grid's points


def table(seed):
    """Counts of any shape: few or many problems, equal or ragged n, easy, hard, or all alike."""
    random = np.random.default_rng([9, seed])
    problems = int(random.integers(1, 60))
    n = random.integers(1, 80, size=problems if random.random() < 0.5 else 1)
    n = np.broadcast_to(n, problems).astype(int)
    a, b = np.exp(random.normal(-0.5, 1.2, size=2))
    p = random.beta(a, b, problems) * (random.random(problems) > random.choice([0, 0.2, 1.0]))
    return Counts.of(n, random.binomial(n, p))


@pytest.mark.parametrize("seed", range(12))
def test_no_forecast_leaves_its_bounds(seed):
    check_bounds(table(seed), 100)


@pytest.mark.repeats
@pytest.mark.parametrize("seed", range(12, 1012))
def test_no_forecast_leaves_its_bounds_on_many_tables(seed):
    check_bounds(table(seed), 100)


@pytest.mark.parametrize("path", SETS, ids=lambda p: p.stem)
@pytest.mark.parametrize("n", [10, 50])
def test_no_forecast_of_a_real_set_leaves_its_bounds(path, n):
    rows = list(csv.DictReader(path.read_text().splitlines()))
    size, passed = (np.array([int(row[key]) for row in rows]) for key in "nc")
    random = np.random.default_rng(n)
    few = np.minimum(n, size)
    check_bounds(Counts.of(few, random.hypergeometric(passed, size - passed, few)), 100)


def test_a_weighted_quantile_is_a_value_and_may_be_infinite():
    values, weights = np.array([3.0, np.inf, 1.0]), np.array([0.5, 0.1, 0.4])
    assert weighted_quantile(values, weights, 0.3) == 1
    assert weighted_quantile(values, weights, 0.5) == 3
    assert weighted_quantile(values, weights, 0.975) == np.inf


def test_the_bracket_holds_what_more_samples_show():
    random = np.random.default_rng(0)
    p = random.beta(0.3, 0.3, size=400)
    few = Counts.of([50] * 400, np.round(50 * p).astype(int))
    (low, high) = bracket(few, np.array([200]))[200]
    assert 0 <= low < np.mean((1 - p) ** 200) < high


def test_the_same_counts_give_the_same_forecast(ahead):
    counts, found = ahead
    again = forecast(dataclasses.replace(counts), replicates=200)
    assert again.at(1000) == found.at(1000)


def test_the_report_names_the_most_similar_cases():
    near = nearest_cells(128, 100)
    assert (near[0].problems, near[0].n, near[0].k) == (128, 100, 1000)
    assert len(near) == 6
    few = nearest_cells(12, 100)[0]
    assert few.problems == 10
