"""Estimators under a stopping rule: exact by enumeration, and the plain one's bias as a contrast."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.stats import passk
from toolkit.stats.curve import Counts, curve
from toolkit.stats.stopping import StoppingRule

RULES = [
    StoppingRule(1, (1, 2, 3, 4, 5, 6)),
    StoppingRule(2, (3, 4, 5, 6, 7, 8)),
    StoppingRule(2, (2, 5, 9)),
    StoppingRule(3, (2, 4, 8)),
    StoppingRule(3, (4, 7, 9)),
    StoppingRule(1, (5,)),
]


def outcomes(rule, p):
    """Every (n, c) that the rule can leave, with its exact probability."""
    found = {}
    for bits in itertools.product((0, 1), repeat=rule.cap):
        probability = p ** sum(bits) * (1 - p) ** (rule.cap - sum(bits))
        n = next(t for t in rule.looks if sum(bits[:t]) >= rule.r or t == rule.cap)
        key = n, sum(bits[:n])
        found[key] = found.get(key, 0) + probability
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"r{r.r}-{'-'.join(map(str, r.looks))}")
@pytest.mark.parametrize("p", [Fraction(1, 10), Fraction(9, 20)])
def test_the_expectation_is_exact_for_every_k_up_to_the_cap(rule, p):
    found = outcomes(rule, p)
    n, c = np.array(list(found)).T
    ks = np.arange(1, rule.cap + 1)
    estimates = np.exp(rule.log_fail_at_k(n, c, ks))
    assert np.isfinite(estimates).all()
    expectation = np.array([float(v) for v in found.values()]) @ estimates
    assert expectation == pytest.approx([float((1 - p) ** int(k)) for k in ks], abs=1e-13)


def test_the_plain_estimator_is_biased_there():
    rule = StoppingRule(1, tuple(range(1, 13)))
    found = outcomes(rule, Fraction(1, 5))
    plain = sum(float(w) * float(passk.pass_at_k(n, c, 1)) for (n, c), w in found.items())
    assert plain > 0.2 + 0.1


def test_a_look_after_every_sample_is_the_negative_binomial_form():
    rule = StoppingRule.batches(5, 50, 1000, 1)
    n, ks = 137, np.array([1, 2, 10, 60, 132, 133, 900])
    want = [comb(n - 1 - int(k), 4) / comb(n - 1, 4) if k <= n - 5 else 0 for k in ks]
    found = np.exp(rule.log_fail_at_k([n], [5], ks))[0]
    assert found == pytest.approx(want, rel=1e-11)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 5), st.integers(0))
def test_a_batched_rule_is_unbiased_whatever_its_shape(r, minimum, more, batch, seed):
    rule = StoppingRule.batches(r, minimum, minimum + more, batch)
    p = Fraction(1 + seed % 7, 9)
    found = outcomes(rule, p)
    n, c = np.array(list(found)).T
    k = 1 + seed % rule.cap
    estimates = np.exp(rule.log_fail_at_k(n, c, [k]))[:, 0]
    expectation = sum(float(w) * e for w, e in zip(found.values(), estimates, strict=True))
    assert expectation == pytest.approx(float((1 - p) ** k), abs=1e-12)


def test_the_looks():
    assert StoppingRule.batches(5, 50, 1000, 0).looks == (
        50, 75, 112, 168, 252, 378, 567, 850, 1000,
    )  # fmt: skip
    rule = StoppingRule.batches(2, 10, 25, 10)
    assert rule.looks == (10, 20, 25)
    assert rule.up_to(40, 10).looks == (10, 20, 25, 35, 40)
    assert [rule.next_look(n, c) for n, c in ((0, 0), (10, 1), (10, 2), (20, 0), (25, 1))] == [
        10, 20, None, 25, None,
    ]  # fmt: skip
    assert StoppingRule.of_document(rule.document()) == rule
    for wrong in ((0, 1, 2, 1), (1, 0, 2, 1), (1, 3, 2, 1), (1, 1, 2, -1)):
        with pytest.raises(UsageError, match="stopping rule"):
            StoppingRule.batches(*wrong)


def test_missing_verdicts_end_a_problem_at_the_look_before_them():
    rule = StoppingRule(2, (4, 6, 10))
    judged = np.array([[4, 2, 4], [4, 2, 4], [4, 1, 0], [4, 2, 3], [3, 0, 0], [4, 1, 4]])
    passed = np.array([[0, 2, 4], [0, 1, 0], [1, 1, 0], [0, 0, 2], [3, 0, 0], [2, 1, 2]])
    n, c = rule.settle(judged, passed)
    assert n.tolist() == [6, 10, 4, 6, 3, 4]
    assert c.tolist() == [2, 1, 1, 0, 3, 2]
    assert rule.support(n, c).tolist() == [2**62, 10, 4, 6, 3, 2**62]


def test_expected_samples_are_those_of_statistics():
    """Exact values for p ~ Beta(0.2873, 0.1709) and 164 problems."""
    a, b = [0.2873], [0.1709]
    for rule, want in (
        (StoppingRule.batches(1, 1, 1000, 1), 11_394),
        (StoppingRule.batches(5, 50, 1000, 1), 25_454),
        (StoppingRule.batches(5, 50, 2000, 1), 37_918),
    ):
        assert 164 * rule.expected_samples(a, b)[0] == pytest.approx(want, rel=2e-4)


def test_the_same_curve_for_a_fraction_of_the_samples():
    """Simulated, 600 benchmarks: unbiased, with the error of n = 1000 for all."""
    random = np.random.default_rng(5)
    rule = StoppingRule.batches(5, 50, 1000, 0)
    p = random.beta(0.2873, 0.1709, size=164)
    ks = [1, 10, 100, 1000]
    truth = np.mean((1 - p[:, None]) ** np.array(ks), axis=0)
    runs = [Counts(*rule.simulate(p, random), rule) for _ in range(300)]
    fixed = [Counts.of([1000] * 164, random.binomial(1000, p)) for _ in range(300)]
    adaptive = np.array([curve(r, ks).fail_at_k for r in runs])
    plain = np.array([curve(r, ks).fail_at_k for r in fixed])
    error = adaptive.std(axis=0) / np.sqrt(len(runs))
    assert np.all(np.abs(adaptive.mean(axis=0) - truth) < 4 * error)
    assert adaptive[:, 3].std() < 1.15 * plain[:, 3].std()
    assert np.mean([r.n.sum() for r in runs]) < 164_000 / 5
    assert {r.k_max for r in runs} == {1000}


def test_both_standard_errors_under_a_rule():
    random = np.random.default_rng(2)
    rule = StoppingRule.batches(3, 10, 60, 10)
    p = random.beta(0.3, 0.4, size=80)
    draws = [curve(Counts(*rule.simulate(p, random), rule), [5, 20]) for _ in range(400)]
    spread = np.std([d.fail_at_k for d in draws], axis=0)
    assert np.mean([d.se_fixed_set for d in draws], axis=0) == pytest.approx(spread, rel=0.1)
