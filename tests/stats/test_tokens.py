"""What k samples of a problem cost in output tokens."""

import math

import numpy as np
import pytest

from toolkit.stats.stopping import StoppingRule
from toolkit.stats.tokens import tokens_of_samples


def test_problems_weigh_equally_however_many_samples_they_have():
    found = tokens_of_samples([100, 4000, 90], [10, 100, 3])  # 10, 40 and 30 a sample
    assert found.mean == pytest.approx(80 / 3)
    assert found.standard_error == pytest.approx(np.std([10, 40, 30], ddof=1) / math.sqrt(3))
    assert found.at_k([1, 3]) == pytest.approx([80 / 3, 80])


def test_one_problem_has_no_standard_error():
    found = tokens_of_samples([50], [10])
    assert found.mean == 5
    assert math.isnan(found.standard_error)


def test_the_expectation_is_what_k_samples_cost_also_where_passes_stop_sampling():
    """Passing samples are short and others long: stopping at passes favours the short ones."""
    random = np.random.default_rng(0)
    rule = StoppingRule(3, (20, 40, 80))
    p, passed, failed, problems = 0.3, 50.0, 200.0, 4000
    n, c = rule.simulate(np.full(problems, p), random)
    found = tokens_of_samples(c * passed + (n - c) * failed, n)
    assert found.mean == pytest.approx(p * passed + (1 - p) * failed, rel=0.01)
