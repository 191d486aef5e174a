"""The batched fits: their derivatives, their agreement with single fits, and exact thinning."""

from itertools import combinations

import numpy as np
import pytest

from toolkit.stats import laws
from toolkit.stats.curve import Counts
from toolkit.stats.families import LIKELIHOODS, Beta, BetaTail, ExpPower
from toolkit.stats.laws import Tally
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.thinning import thinned

CELLS_N, CELLS_C = np.full(9, 40.0), np.array([0.0, 1, 2, 3, 5, 9, 20, 33, 40])
WEIGHTS = np.array([30.0, 9, 6, 5, 4, 3, 3, 4, 12])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_and_hessian_are_those_of_the_objective(name):
    law = LIKELIHOODS[name](CELLS_N, CELLS_C)
    law.fit(WEIGHTS, WEIGHTS[None, :])
    x, weights = law.x[:1] + 0.3, law._reduced(WEIGHTS[None, :])
    _, slope, bend = law.objective(x, weights)
    for i, step in enumerate(1e-5 * np.eye(x.shape[1])):
        up, down = (law.objective(x + sign * step, weights) for sign in (1, -1))
        assert slope[0, i] == pytest.approx((up[0] - down[0])[0] / 2e-5, rel=1e-5, abs=1e-5)
        assert bend[0, i] == pytest.approx((up[1] - down[1])[0] / 2e-5, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_replicate_is_at_a_maximum(name):
    random = np.random.default_rng(0)
    replicates = random.standard_gamma(WEIGHTS, size=(30, 9))
    law = LIKELIHOODS[name](CELLS_N, CELLS_C)
    law.fit(WEIGHTS, replicates)
    value, slope, bend = law.objective(law.x[1:], law._reduced(replicates))
    gain = np.einsum("ri,rij,rj->r", slope, np.linalg.inv(-bend), slope)
    assert np.all(np.isfinite(value))
    assert np.all(np.linalg.eigvalsh(-bend)[:, 0] > 0)
    assert np.all(gain < 1e-3)


def test_the_batched_beta_binomial_is_the_single_one():
    replicates = np.random.default_rng(1).standard_gamma(WEIGHTS, size=(5, 9))
    law = Beta(CELLS_N, CELLS_C)
    law.priors = ((0.0, 1e4), (0.0, 1e4))
    law.fit(WEIGHTS, replicates)
    for row, weights in zip(law.x, [WEIGHTS, *replicates], strict=True):
        alone = laws.beta_binomial(Tally(CELLS_N, CELLS_C, weights))
        assert np.exp(row) == pytest.approx([alone.a, alone.b], rel=1e-3)


def test_the_tail_does_not_hear_the_easy():
    law = BetaTail(CELLS_N, CELLS_C)
    easier = WEIGHTS.copy()
    easier[CELLS_C > 13] *= 7
    law.fit(WEIGHTS, easier[None, :])
    assert law.x[1] == pytest.approx(law.x[0], abs=1e-6)


def test_exp_power_is_the_least_squares_fit():
    k = np.array([1, 2, 5, 10, 20])
    fail = -np.expm1(-1.3 * k**-0.4)
    found = ExpPower().fit(k, np.stack([fail, fail]))
    assert np.exp(found.log_fail(np.array([500.0])))[0, 0] == pytest.approx(
        -np.expm1(-1.3 * 500**-0.4), rel=1e-12
    )


def test_thinned_counts_keep_the_unbiased_curve():
    counts = Counts.of([30, 30, 500, 500, 97], [0, 7, 3, 260, 97])
    for m in (8, 30):
        cells = thinned(counts, m)
        assert cells.shares.sum(axis=1) == pytest.approx(1)
        k = np.array([1, 3, 8])
        thin = cells.shares @ Counts.of(cells.n, cells.c).fail_at_k(k)
        assert thin == pytest.approx(counts.fail_at_k(k), abs=1e-12)


def test_thinned_to_many_samples_the_easy_are_merged_at_their_mean():
    counts = Counts.of([1000, 1000, 1000], [2, 400, 1000])
    cells = thinned(counts, 250)
    assert cells.shares.sum(axis=1) == pytest.approx(1)
    assert len(cells.c) < 90
    assert cells.shares @ cells.c == pytest.approx([0.5, 100, 250], rel=1e-9)


def test_thinned_under_a_stopping_rule_they_are_the_share_of_orders():
    rule = StoppingRule(2, (3, 5, 7))
    n, c, m = 7, 3, 3
    orders = []
    for passes in combinations(range(n), c):
        seen = [sum(p < t for p in passes) for t in (3, 5)]
        if all(s < 2 for s in seen):  # the rule has not stopped earlier
            orders.append(sum(p < m for p in passes))
    want = np.bincount(orders, minlength=m + 1) / len(orders)
    assert thinned(Counts.of([n], [c], rule), m).shares[0] == pytest.approx(want)
