"""Families of laws for p, each fitted to all bootstrap replicates at once.

A family sees cells (n, c) with weights (R, J), one row a replicate, and gives log E (1 - p)^k for
every replicate. `Beta`, `BetaWithFloor`, `BetaTail` and `LogitNormal` are fitted by likelihood with
a weak prior, `ExpPower` to the curve.

The priors keep every maximum finite. That of log a, N(log 0.3, 0.75^2), matches the exponents of
public sets; the others are wide.
"""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats, Ints, log_choose
from toolkit.stats.laws import PRIOR_LOG_A, PRIOR_SD
from toolkit.stats.newton import maximize

Terms = tuple[Floats, list[Floats], list[list[Floats]]]
"""Of each cell, shape (R, J): log likelihood, its gradient and its Hessian in the parameters."""

PRIOR_A = (PRIOR_LOG_A, PRIOR_SD)
PRIOR_B = (0.0, 3.0)
PRIOR_FLOOR = (-3.0, 1.5)
"""Of logit pi0: a floor of 5 %, or 0.3 % to 50 % (two standard deviations)."""
TAIL = 60
"""Most passes of a problem that counts as hard."""


class Family(ABC):
    """One law with its parameters x, shape (R, d), after `fit`."""

    priors: tuple[tuple[float, float], ...]
    """Mean and standard deviation of the normal prior of each parameter."""
    x: Floats

    def fit(self, weights: Floats, replicates: Floats) -> Self:
        """Fit to `weights` (J,), and from there to each row of `replicates` (R, J).

        Row 0 of the results is the first fit, the others are the replicates.
        """
        first = self._reduced(weights[None, :])
        start = np.array([[mean for mean, _ in self.priors]])
        center = maximize(self.objective, start, first)
        starts = np.repeat(center, len(replicates), axis=0)
        rest = maximize(self.objective, starts, self._reduced(replicates))
        self.x = np.concatenate([center, rest])
        return self

    def objective(self, x: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Log posterior without constants, its gradient and its Hessian, of each row."""
        value, slopes, bends = self._terms(x)
        d = x.shape[1]
        total = (weights * value).sum(axis=1)
        slope, bend = np.empty((len(x), d)), np.empty((len(x), d, d))
        for i in range(d):
            slope[:, i] = (weights * slopes[i]).sum(axis=1)
            for j in range(i + 1):
                bend[:, i, j] = bend[:, j, i] = (weights * bends[i][j]).sum(axis=1)
        for i, (mean, sd) in enumerate(self.priors):
            z = (x[:, i] - mean) / sd
            total -= 0.5 * z * z
            slope[:, i] -= z / sd
            bend[:, i, i] -= 1 / sd**2
        return total, slope, bend

    def _reduced(self, weights: Floats) -> Floats:
        """The weights of the cells that the likelihood has."""
        return weights

    @abstractmethod
    def _terms(self, x: Floats) -> Terms: ...

    @abstractmethod
    def log_fail(self, k: Floats) -> Floats:
        """log E (1 - p)^k, shape (1 + R, K)."""


class Beta(Family):
    """p ~ Beta(a, b); x: log a, log b. Minka 2000, "Estimating a Dirichlet distribution"."""

    priors: tuple[tuple[float, float], ...] = (PRIOR_A, PRIOR_B)

    def __init__(self, n: Floats, c: Floats):
        self.n, self.c = n[None, :], c[None, :]

    def _terms(self, x: Floats) -> Terms:
        a, b = np.exp(x[:, :1]), np.exp(x[:, 1:2])
        n, c, failed = self.n, self.c, self.n - self.c
        value = special.betaln(a + c, b + failed) - special.betaln(a, b)
        both = special.digamma(a + b) - special.digamma(a + b + n)
        d_a = (special.digamma(a + c) - special.digamma(a) + both) * a
        d_b = (special.digamma(b + failed) - special.digamma(b) + both) * b
        both = _trigamma(a + b) - _trigamma(a + b + n)
        aa = d_a + a * a * (_trigamma(a + c) - _trigamma(a) + both)
        bb = d_b + b * b * (_trigamma(b + failed) - _trigamma(b) + both)
        return value, [d_a, d_b], [[aa], [a * b * both, bb]]

    def log_fail(self, k: Floats) -> Floats:
        """log B(a, b + k) / B(a, b)."""
        a, b = np.exp(self.x[:, :1]), np.exp(self.x[:, 1:2])
        return np.asarray(special.betaln(a, b + k) - special.betaln(a, b))


class BetaWithFloor(Beta):
    """Beta(a, b), but a share pi0 of the problems can never be solved; x: also logit pi0."""

    priors = (PRIOR_A, PRIOR_B, PRIOR_FLOOR)

    def _terms(self, x: Floats) -> Terms:
        rest, (d_a, d_b), ((aa,), (ab, bb)) = super()._terms(x)
        floor = x[:, 2:3]
        log_floor, log_rest = -np.logaddexp(0, -floor), -np.logaddexp(0, floor)
        rest = log_rest + rest
        value = np.where(self.c == 0, np.logaddexp(log_floor, rest), rest)
        share = np.exp(rest - value)  # of the Beta part in the likelihood
        mixed, pi0 = share * (1 - share), np.exp(log_floor)
        bends = [
            [share * aa + mixed * d_a * d_a],
            [share * ab + mixed * d_a * d_b, share * bb + mixed * d_b * d_b],
            [-mixed * d_a, -mixed * d_b, mixed - pi0 * (1 - pi0)],
        ]
        return value, [share * d_a, share * d_b, 1 - share - pi0], bends

    def log_fail(self, k: Floats) -> Floats:
        """log (pi0 + (1 - pi0) B(a, b + k) / B(a, b))."""
        floor = self.x[:, 2:3]
        rest = super().log_fail(k) - np.logaddexp(0, floor)
        return np.asarray(np.logaddexp(-np.logaddexp(0, -floor), rest))


class BetaTail(Beta):
    """Beta(a, b) of the hard problems only: the likelihood of c given that c <= `most`.

    What easy problems do says nothing here. All cells have the same n.
    """

    def __init__(self, n: Floats, c: Floats):
        size = float(n[0])
        most = int(min(max(3, size // 3), TAIL, size))
        passes = np.arange(most + 1).astype(np.float64)
        super().__init__(np.full(most + 1, size), passes)
        hard = c <= most
        self._cell_of = np.zeros((len(c), most + 1))
        self._cell_of[np.flatnonzero(hard), np.rint(c[hard]).astype(int)] = 1.0
        self._log_choose = log_choose(self.n, self.c)

    def _reduced(self, weights: Floats) -> Floats:
        return weights @ self._cell_of

    def _terms(self, x: Floats) -> Terms:
        value, (d_a, d_b), ((aa,), (ab, bb)) = super()._terms(x)
        value = value + self._log_choose
        total = special.logsumexp(value, axis=1, keepdims=True)
        share = np.exp(value - total)

        def mean(of: Floats) -> Floats:
            return np.asarray((share * of).sum(axis=1, keepdims=True))

        m_a, m_b = mean(d_a), mean(d_b)
        bends = [
            [aa - mean(aa + d_a * d_a) + m_a * m_a],
            [ab - mean(ab + d_a * d_b) + m_a * m_b, bb - mean(bb + d_b * d_b) + m_b * m_b],
        ]
        return value - total, [d_a - m_a, d_b - m_b], bends


class LogitNormal(Family):
    """logit p ~ N(mu, sigma^2), by quadrature on a grid of logit p; x: mu, log sigma."""

    priors = ((0.0, 5.0), (float(np.log(3.0)), 0.75))
    STEP = 0.25
    NODES = np.arange(-26.0, 26.01, STEP)

    def __init__(self, n: Floats, c: Floats):
        self._likelihood = self._of_nodes(n[:, None], c[:, None]).T

    def _of_nodes(self, n: Floats, c: Floats) -> Floats:
        """The likelihood of each cell at each node, (J, nodes), up to a factor of the cell.

        Where it is narrower than the grid, its mean over the node's interval: the likelihood is
        a Beta(c, n - c) density in logit p.
        """
        most = special.xlogy(c, c / n) + special.xlogy(n - c, (n - c) / n)
        log_p, log_q = -np.logaddexp(0, -self.NODES), -np.logaddexp(0, self.NODES)
        values = np.exp(c * log_p + (n - c) * log_q - most)
        narrow = np.flatnonzero((c * (n - c) / n)[:, 0] > 1 / 0.3**2)
        if len(narrow):
            c, n, most = c[narrow], n[narrow], most[narrow]
            ends = special.expit(np.append(self.NODES, self.NODES[-1] + self.STEP) - self.STEP / 2)
            mass = np.diff(special.betainc(c, n - c, ends), axis=1)
            values[narrow] = mass * np.exp(special.betaln(c, n - c) - most) / self.STEP
        return np.asarray(values)

    def _weights(self, x: Floats) -> tuple[Floats, Floats]:
        z = (self.NODES - x[:, :1]) * np.exp(-x[:, 1:2])
        return z, np.asarray(special.softmax(-0.5 * z * z, axis=1))

    def _terms(self, x: Floats) -> Terms:
        z, prior = self._weights(x)
        sigma = np.exp(x[:, 1:2])
        total = prior @ self._likelihood + 1e-300

        def before(of: Floats) -> Floats:
            return np.asarray((prior * of).sum(axis=1, keepdims=True))

        def change(of: Floats) -> Floats:
            """Its posterior mean of each cell, less its prior mean."""
            return np.asarray(((prior * of) @ self._likelihood) / total - before(of))

        first = z / sigma - before(z / sigma)
        second = z * z - before(z * z)
        d_mu, d_log = change(first), change(second)
        bends = [
            [change(first * first) - d_mu * d_mu],
            [
                change(first * second - 2 * z / sigma) - d_mu * d_log,
                change(second * second - 2 * z * z) - d_log * d_log,
            ],
        ]
        return np.log(total), [d_mu, d_log], bends

    def log_fail(self, k: Floats) -> Floats:
        """log of the sum over nodes."""
        powers = np.exp(np.outer(-np.logaddexp(0, self.NODES), k))
        return np.asarray(np.log(self._weights(self.x)[1] @ powers + 1e-300))


class ExpPower:
    """pass@k = exp(a k^b), by least squares to the curve (Brown et al. 2024, section 3)."""

    def fit(self, k: Ints, fail: Floats) -> Self:
        """`fail`: (1 + R, K) at the k's."""
        log_k = np.log(k)
        y = np.log(-np.log1p(-np.clip(fail, 1e-12, 1 - 1e-12)))
        centered = log_k - log_k.mean()
        self.b = y @ centered / (centered @ centered)
        self.log_a = y.mean(axis=1) - self.b * log_k.mean()
        return self

    def log_fail(self, k: Floats) -> Floats:
        """log (1 - exp(a k^b)), shape (1 + R, K)."""
        power = np.exp(self.log_a[:, None] + self.b[:, None] * np.log(k)[None, :])
        return np.asarray(np.log(-np.expm1(-power) + 1e-300))


BETA = "beta-binomial"
LIKELIHOODS: dict[str, type[Beta] | type[LogitNormal]] = {
    BETA: Beta,
    "zero-inflated": BetaWithFloor,
    "beta-binomial of the hard": BetaTail,
    "logit-normal": LogitNormal,
}
CURVE = "exp(a k^b)"


def _trigamma(x: Floats) -> Floats:
    return np.asarray(special.zeta(2.0, x))
