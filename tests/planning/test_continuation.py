"""What a pilot's samples save: expected fresh samples against a simulation, and the commands."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.planning.continuation import Holdings, expected_more
from toolkit.stats.curve import Counts
from toolkit.stats.laws import BetaBinomial
from toolkit.stats.stopping import StoppingRule

RULE = StoppingRule.batches(3, 20, 160, 0)
LAW = BetaBinomial(0.4, 0.6, 0.0, 0.0)


def holdings(n, c, rule=None, **facts):
    counts = Counts.of(n, c, rule)
    planned = counts.n
    values = {"path": Path("a b"), "planned": planned, "most": int(planned.max())} | facts
    return Holdings(counts=counts, ingested=facts.pop("ingested", False), **values)


def test_the_pilots_passes_count_towards_the_rule():
    """Against playing the rule on, 4,000 times, from each n and c."""
    random = np.random.default_rng(1)
    n, c = np.array([20, 20, 20, 45]), np.array([0, 2, 5, 1])
    a, b = LAW.a + c, LAW.b + n - c
    found = expected_more(RULE, n, c, n, a, b)
    for i in range(len(n)):
        p = random.beta(a[i], b[i], size=4000)
        had, passes = np.full(4000, n[i]), np.full(4000, c[i])
        for look in RULE.looks:
            more = np.where(passes < RULE.r, np.maximum(0, look - had), 0)
            passes, had = passes + random.binomial(more, p), had + more
        fresh = had - n[i]
        assert found[i] == pytest.approx(fresh.mean(), abs=4 * fresh.std() / 4000**0.5 + 1e-9)
    assert found[2] == 0


def test_without_a_pilot_it_is_the_rules_own_expectation():
    nothing = np.zeros(2, dtype=np.int64)
    a, b = np.array([0.4, 2.0]), np.array([0.6, 30.0])
    found = expected_more(RULE, nothing, nothing, nothing, a, b)
    assert found == pytest.approx(RULE.expected_samples(a, b))


def test_a_rule_begins_where_the_samples_end():
    pilot = holdings([100, 100], [3, 0])
    rule = pilot.rule(5, 50, 1000)
    assert (rule.looks[0], rule.cap) == (100, 1000)
    start = "python jobs/launch.py --resume --run 'a b'"
    assert (
        pilot.command(1000, rule) == f"{start} --adaptive --stop-r 5 --stop-min 100 --stop-cap 1000"
    )
    assert pilot.command(1000, None) == f"{start} --samples 1000"
    assert list(pilot.fresh_fixed(250)) == [150, 150]


def test_an_adaptive_pilot_keeps_its_rule_and_gives_a_fixed_number_nothing():
    old = StoppingRule.batches(2, 10, 40, 0)
    pilot = holdings([10, 40], [4, 0], old)
    rule = pilot.rule(5, 50, 1000)
    assert rule.looks[: len(old.looks)] == old.looks
    assert (rule.r, rule.cap) == (2, 1000)
    assert pilot.command(1000, None) is None
    assert list(pilot.fresh_fixed(100)) == [100, 100]
    fresh = pilot.fresh_adaptive(rule, LAW)
    assert fresh[0] == 0
    assert 0 < fresh[1] < 960
