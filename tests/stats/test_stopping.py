"""Estimators under a stopping rule: exact by enumeration, and the plain one's bias as a contrast."""

import itertools
import re
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.stats import passk, stopping
from toolkit.stats.curve import Counts, curve
from toolkit.stats.laws import Tally, beta_binomial
from toolkit.stats.stopping import StoppingRule

RULES = [
    StoppingRule(1, (1, 2, 3, 4, 5, 6)),
    StoppingRule(2, (3, 4, 5, 6, 7, 8)),
    StoppingRule(2, (2, 5, 9)),
    StoppingRule(3, (2, 4, 8)),
    StoppingRule(3, (4, 7, 9)),
    StoppingRule(1, (5,)),
]


each_rule = pytest.mark.parametrize(
    "rule", RULES, ids=lambda r: f"r{r.r}-{'-'.join(map(str, r.looks))}"
)


def orders(rule):
    """(n, c) that the rule can leave -> all orders of the n outcomes that leave it."""
    found = {}
    for bits in itertools.product((0, 1), repeat=rule.cap):
        n = next(t for t in rule.looks if sum(bits[:t]) >= rule.r or t == rule.cap)
        found.setdefault((n, sum(bits[:n])), set()).add(bits[:n])
    return found


def outcomes(rule, p):
    """Every (n, c) that the rule can leave, with its exact probability."""
    return {(n, c): len(o) * p**c * (1 - p) ** (n - c) for (n, c), o in orders(rule).items()}


def test_every_claim_is_numbered_and_names_a_test_beside_it():
    claims = re.split(r"^(S\d+) ", stopping.__doc__ or "", flags=re.MULTILINE)[1:]
    assert claims[::2] == [f"S{i}" for i in range(1, len(claims) // 2 + 1)]
    for number, text in zip(claims[::2], claims[1::2], strict=True):
        named = re.findall(r"tests/stats/(\w+\.py)::(\w+)", text)
        assert named, number
        for file, name in named:
            beside = Path(__file__).with_name(file).read_text(encoding="utf-8")
            assert f"\ndef {name}(" in beside, (number, name)


@each_rule
def test_the_estimate_is_the_share_of_orders_that_begin_with_failures(rule):
    for (n, c), obeying in orders(rule).items():
        k = np.arange(1, n + 1)
        share = [np.mean([not any(order[:j]) for order in obeying]) for j in k]
        assert np.exp(rule.log_fail_at_k([n], [c], k))[0] == pytest.approx(share, abs=1e-14)


@each_rule
def test_it_is_the_plain_estimate_where_every_order_obeys_the_rule(rule):
    seen = 0
    for (n, c), obeying in orders(rule).items():
        if n == rule.looks[0] or c < rule.r:
            k = np.arange(1, n + 1)
            found = rule.log_fail_at_k([n], [c], k)[0]
            assert found == pytest.approx(passk.log_fail_at_k(n, c, k), rel=1e-14)
            assert len(obeying) == comb(n, c)
            seen += 1
    assert seen


def test_the_forms_of_a_later_stop():
    late = 0
    for rule in RULES:
        for n, c in orders(rule):
            t = max((look for look in rule.looks if look < n), default=0)
            if not t or c < rule.r:
                continue
            late += 1
            weights = [comb(t, s) * comb(n - t, c - s) if s <= c else 0 for s in range(rule.r)]
            for k in range(1, n + 1):
                if k <= t:
                    parts = (w * comb(max(t - s, 0), k) for s, w in enumerate(weights))
                    want = Fraction(sum(parts), sum(weights) * comb(t, k))
                else:
                    rest = comb(max(n - t - c, 0), k - t)
                    want = Fraction(weights[0] * rest, sum(weights) * comb(n - t, k - t))
                found = np.exp(rule.log_fail_at_k([n], [c], [k]))[0, 0]
                assert found == pytest.approx(float(want), abs=1e-14), (rule, n, c, k)
    assert late > 20


def test_a_law_is_fitted_as_if_there_were_no_rule():
    """Weights in proportion to the exact probabilities: the likelihood's maximum is the truth."""
    a, b = 0.7, 1.3
    for rule in RULES[1:5]:
        # E p^c (1 - p)^(n - c) of Beta(a, b), by products of rising factors
        counts = {
            (n, c): len(obeying) * rising(a, c) * rising(b, n - c) / rising(a + b, n)
            for (n, c), obeying in orders(rule).items()
        }
        assert sum(counts.values()) == pytest.approx(1)
        n, c = np.array(list(counts), dtype=float).T
        found = beta_binomial(Tally(n, c, np.array(list(counts.values()))))
        assert (found.a, found.b) == pytest.approx((a, b), rel=1e-3)


def rising(x, times):
    """x (x + 1) ... (x + times - 1)."""
    return float(np.prod(x + np.arange(times)))


def test_a_stopped_problem_supports_every_k():
    rule = StoppingRule(2, (3, 6, 12))
    n, c = [3, 6, 12, 12], [2, 3, 2, 1]
    assert rule.support(n, c).tolist() == [stopping.UNBOUNDED] * 3 + [12]
    found = np.exp(rule.log_fail_at_k(n, c, [3, 7, 12, 13]))
    assert found[0].tolist() == [0, 0, 0, 0]
    assert found[1, 1:].tolist() == [0, 0, 0]
    assert found[2, 3] == 0
    assert np.isnan(found[3, 3])
    assert Counts.of(n, c, rule).k_max == rule.cap


@each_rule
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
    looks = (50, 75, 112, 168, 252, 378, 567, 850, 1000)
    assert StoppingRule.batches(5, 50, 1000, 0).looks == looks
    rule = StoppingRule.batches(2, 10, 25, 10)
    assert rule.looks == (10, 20, 25)
    assert rule.up_to(40, 10).looks == (10, 20, 25, 35, 40)
    for n, c, following in ((0, 0, 10), (10, 1, 20), (10, 2, None), (20, 0, 25), (25, 1, None)):
        assert rule.next_look(n, c) == following
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


@pytest.mark.slow
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
