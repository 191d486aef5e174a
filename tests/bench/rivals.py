"""What others forecast from the same counts, each with a plain bootstrap over problems.

The blog's straight line, exp(a k^b), the beta-binomial by maximum likelihood, and the scaled
beta-binomial by maximum likelihood. None is anchored. All replicates are fitted at once.
"""

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats
from toolkit.stats.curve import Counts
from toolkit.stats.families import Beta, Family, Terms
from toolkit.stats.passk import k_grid

REPLICATES = 100
FLAT = ((0.0, 1e3), (0.0, 1e3))
"""No prior to speak of: maximum likelihood."""


class FlatBeta(Beta):
    """Maximum likelihood."""

    priors = FLAT


class ScaledBeta(Family):
    """p = s q, q ~ Beta(a, b), for one s: q on nodes of its logit."""

    priors = FLAT
    NODES = np.arange(-24.0, 24.01, 0.12)
    LOG_Q, LOG_REST = -np.logaddexp(0, -NODES), -np.logaddexp(0, NODES)

    def __init__(self, n: Floats, c: Floats, s: float):
        self.log_failed = np.log1p(-np.minimum(s * np.exp(self.LOG_Q), 1 - 1e-12))
        logs = c[:, None] * (np.log(s) + self.LOG_Q) + (n - c)[:, None] * self.log_failed
        self.most = logs.max(axis=1, keepdims=True)
        self.likelihood = np.exp(logs - self.most).T

    def prior(self, x: Floats) -> Floats:
        """The weights of the nodes, (R, nodes)."""
        a, b = np.exp(x[:, :1]), np.exp(x[:, 1:2])
        return special.softmax(a * self.LOG_Q + b * self.LOG_REST, axis=1)

    def _terms(self, x: Floats) -> Terms:
        prior = self.prior(x)
        total = prior @ self.likelihood + 1e-300

        def before(of):
            return (prior * of).sum(axis=1, keepdims=True)

        def change(of):
            return ((prior * of) @ self.likelihood) / total - before(of)

        one, two = np.exp(x[:, :1]) * self.LOG_Q, np.exp(x[:, 1:2]) * self.LOG_REST
        u, v = one - before(one), two - before(two)
        d_u, d_v = change(u), change(v)
        bends = [
            [change(u * u + one) - d_u * d_u],
            [change(u * v) - d_u * d_v, change(v * v + two) - d_v * d_v],
        ]
        return np.log(total) + self.most.T, [d_u, d_v], bends

    def log_fail(self, k: Floats) -> Floats:
        """log E (1 - s q)^k."""
        return np.log(self.prior(self.x) @ np.exp(np.outer(self.log_failed, k)) + 1e-300)


def rivals(counts: Counts, k: int, seed: int) -> dict[str, tuple[float, float]]:
    """Name -> 95 % percentile interval of fail@k."""
    both, weights = np.unique(np.stack([counts.n, counts.c]), axis=1, return_counts=True)
    problems = len(counts)
    random = np.random.default_rng(seed)
    draws = random.multinomial(problems, weights / problems, size=REPLICATES).astype(float)
    grid = k_grid(counts.k_max)
    fail = draws @ Counts(both[0], both[1]).fail_at_k(grid) / problems
    n, c = both.astype(float)
    found = {
        "blog line": np.minimum(1, [_line(grid, row, k) for row in fail]),
        "exp(a k^b)": np.array([_exp_power(grid, row, k) for row in fail]),
        "beta-binomial": np.exp(FlatBeta(n, c).fit(weights, draws).log_fail(np.array([k])))[1:, 0],
        "scaled": _scaled(n, c, weights, draws, k),
    }
    return {name: tuple(np.quantile(v, [0.025, 0.975]).tolist()) for name, v in found.items()}


def _line(grid, fail, k):
    used = fail > 0
    if used.sum() < 2:
        return 0.0
    slope, start = np.polyfit(np.log(grid[used]), np.log(fail[used]), 1)
    return float(np.exp(start + slope * np.log(k)))


def _exp_power(grid, fail, k):
    used = (fail > 0) & (fail < 1)
    if used.sum() < 2:
        return 0.0
    y = np.log(-np.log1p(-fail[used]))
    b, log_a = np.polyfit(np.log(grid[used]), y, 1)
    return float(-np.expm1(-np.exp(log_a + b * np.log(k))))


def _scaled(n, c, weights, draws, k):
    """The best s of each replicate, from a grid between the easiest problem's rate and 1."""
    easiest = min(0.98, 1.02 * ((c + 0.5) / (n + 1)).max())
    best, value = np.full(len(draws), -np.inf), np.zeros(len(draws))
    for s in np.unique(np.append(np.geomspace(easiest, 0.98, 3 if easiest < 0.9 else 1), 1.0)):
        law = ScaledBeta(n, c, s).fit(weights, draws)
        score = law.objective(law.x[1:], draws)[0]
        fail = np.exp(law.log_fail(np.array([k])))[1:, 0]
        value = np.where(score > best, fail, value)
        best = np.maximum(score, best)
    return value
