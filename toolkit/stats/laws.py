"""Models of how fail@k falls with k, fitted to a curve or to counts.

Curve fits, by least squares: `log_log_line` (fail@k = A k^-b: the blog's straight line) and
`exp_power` (pass@k = exp(a k^b): Brown et al. 2024, arXiv 2407.21787, section 3).

Count fits, by likelihood: a problem's pass probability p is drawn from a law, its c from
Binomial(n, p).

- `beta_binomial`: p ~ Beta(a, b), so fail@k = B(a, b + k) / B(a, b). For large k that is
  [Gamma(a+b) / Gamma(b)] k^-a, a power law with exponent a (Schaeffer et al. 2025, arXiv
  2502.17578; Kazdan et al. 2025, arXiv 2510.05197).
- `zero_inflated_beta_binomial`: also, a share pi0 of the problems can never be solved. So
  fail@k tends to pi0.
- `scaled_beta_binomial`: p = s q with q ~ Beta(a, b). No problem is easier than s.

These likelihoods need no change where sampling stopped because of passes (S7 of
`toolkit.stats.stopping`).
"""

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from toolkit.stats.arrays import Floats, log_choose
from toolkit.stats.curve import Counts

PRIOR_LOG_A = float(np.log(0.3))
PRIOR_SD = 0.75
"""log a ~ N(log 0.3, 0.75^2). The centre matches the exponents of the public sets on which it was
judged. So those sets are no independent test of it."""

MOST_TERMS = 3_000_000
"""Of the scaled law's likelihood: the samples of all distinct (n, c)."""


@dataclass(frozen=True, slots=True)
class LogLogLine:
    """log fail@k = intercept + slope log k (natural logarithms)."""

    intercept: float
    slope: float
    points: int

    def fail_at_k(self, k: ArrayLike) -> Floats:
        """The line, any k >= 1; may exceed 1."""
        line = self.intercept + self.slope * np.log(np.asarray(k, dtype=float))
        return cast(Floats, np.exp(line))


@dataclass(frozen=True, slots=True)
class ExpPower:
    """pass@k = exp(a k^b), a < 0, b < 0."""

    a: float
    b: float
    points: int

    def fail_at_k(self, k: ArrayLike) -> Floats:
        """The fitted curve, any k >= 1."""
        return -np.expm1(self.a * np.asarray(k, dtype=float) ** self.b)


@dataclass(frozen=True, slots=True)
class BetaBinomial:
    """p ~ Beta(a, b) with probability 1 - pi0, and p = 0 with probability pi0.

    neg_log_lik: negative log-likelihood of the counts, binomial coefficients included.
    """

    a: float
    b: float
    pi0: float
    neg_log_lik: float

    def fail_at_k(self, k: ArrayLike) -> Floats:
        """E (1 - p)^k of a problem of this kind, any k >= 0."""
        k = np.asarray(k, dtype=float)
        beta = np.exp(special.betaln(self.a, self.b + k) - special.betaln(self.a, self.b))
        return cast(Floats, self.pi0 + (1 - self.pi0) * beta)


@dataclass(frozen=True, slots=True)
class ScaledBetaBinomial:
    """p = s q, q ~ Beta(a, b), 0 < s <= 1; neg_log_lik with the binomial coefficients."""

    a: float
    b: float
    s: float
    neg_log_lik: float

    def fail_at_k(self, k: ArrayLike) -> Floats:
        """E (1 - s q)^k = 2F1(-k, a; a + b; s), integers k >= 0, 1-D or scalar.

        From 1 - s q = (1 - s) + s (1 - q) it is E_J B(a, b + J) / B(a, b), J ~ Binomial(k, s).
        It is summed in this form, whose terms are all positive: those of 2F1 change their sign.
        """
        k = np.atleast_1d(np.asarray(k, dtype=np.int64))
        j = np.arange(int(k.max()) + 1)
        ratio = special.betaln(self.a, self.b + j) - special.betaln(self.a, self.b)
        log_s, log_rest = np.log(self.s), np.log1p(-self.s)
        sums = []
        for m in k.tolist():
            some = j[: m + 1]
            terms = log_choose(m, some) + some * log_s + some[::-1] * log_rest + ratio[: m + 1]
            sums.append(float(special.logsumexp(terms)))
        return cast(Floats, np.exp(sums))


def log_log_line(k: ArrayLike, fail: ArrayLike) -> LogLogLine | None:
    """Least squares of log fail@k on log k over the points with fail@k > 0; None under two.

    As in the blog, and no better: the points have unequal errors but equal weights, and all rest
    on the same problems. R^2 says nothing here: its median is .993 on data without a power law.
    """
    k, fail = np.asarray(k, dtype=float), np.asarray(fail, dtype=float)
    used = fail > 0
    if used.sum() < 2:
        return None
    slope, intercept = np.polyfit(np.log(k[used]), np.log(fail[used]), 1)
    return LogLogLine(float(intercept), float(slope), int(used.sum()))


def exp_power(k: ArrayLike, passed: ArrayLike) -> ExpPower | None:
    """Least squares of log(-log pass@k) on log k where 0 < pass@k < 1; None under two points."""
    k, passed = np.asarray(k, dtype=float), np.asarray(passed, dtype=float)
    used = (passed > 0) & (passed < 1)
    if used.sum() < 2:
        return None
    b, log_a = np.polyfit(np.log(k[used]), np.log(-np.log(passed[used])), 1)
    return ExpPower(-float(np.exp(log_a)), float(b), int(used.sum()))


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts gathered: `weight` problems have n samples and c passes; arrays of one shape.

    A benchmark has few distinct (n, c). A bootstrap over problems only gives the same pairs other
    weights.
    """

    n: Floats
    c: Floats
    weight: Floats

    @classmethod
    def of(cls, counts: Counts) -> "Tally":
        """Gather the counts of problems; those without samples say nothing."""
        groups, weight = counts.distinct()
        some = groups.n > 0
        return cls(*(each[some].astype(float) for each in (groups.n, groups.c, weight)))


def beta_binomial(
    tally: Tally, *, prior: bool = False, start: BetaBinomial | None = None
) -> BetaBinomial | None:
    """Fit Beta(a, b) by maximum likelihood; with `prior` on log a, by maximum a posteriori (MAP).

    None where no maximum exists without a prior: all samples of all problems agree. `start` (the
    fit of similar counts) replaces the search from several starts.
    """
    return _fit(tally, prior=prior, inflated=False, start=start)


def zero_inflated_beta_binomial(tally: Tally) -> BetaBinomial | None:
    """Fit Beta(a, b), and a share pi0 of problems that can never be solved, by maximum likelihood.

    The likelihood of c = 0 is pi0 + (1 - pi0) BB(0). Fitted from several starts, the plain fit
    among them: the surface is flat where n is small.
    """
    return _fit(tally, prior=False, inflated=True, start=None)


def scaled_beta_binomial(tally: Tally, start: BetaBinomial) -> ScaledBetaBinomial | None:
    """Fit (a, b, s) by maximum likelihood; `start` is the plain fit, the model with s = 1.

    The likelihood of c is C(n, c) s^c E_J B(a + c, b + J) / B(a, b), J ~ Binomial(n - c, s): a
    sum of positive terms. None where the counts have no maximum, as for `beta_binomial`, and where
    the sums have over `MOST_TERMS` terms in all.
    """
    solved, failed = (tally.weight @ tally.c), (tally.weight @ (tally.n - tally.c))
    if solved == 0 or failed == 0 or tally.n.sum() > MOST_TERMS:
        return None
    coefficients = float(tally.weight @ log_choose(tally.n, tally.c))
    rates = (tally.c + 0.5) / (tally.n + 1)
    easiest = float(special.logit(min(0.999, 1.02 * rates.max())))
    x = np.log([start.a, start.b])
    search = partial(
        optimize.minimize,
        _scaled_objective,
        args=(tally,),
        jac=True,
        bounds=[(-12.0, 12.0)] * 3,
        method="L-BFGS-B",
        options={"maxiter": 60, "ftol": 1e-9},
    )
    found = [search(np.append(x, s)) for s in (easiest, 9.0)]
    best = min(found, key=lambda result: float(result.fun))
    a, b = np.exp(best.x[:2])
    return ScaledBetaBinomial(
        float(a), float(b), float(special.expit(best.x[2])), float(best.fun) - coefficients
    )


def _scaled_objective(x: Floats, tally: Tally) -> tuple[float, Floats]:
    """Negative log-likelihood without coefficients and its gradient; x: log a, log b, logit s."""
    a, b = np.exp(x[:2])
    s, log_s, log_rest = special.expit(x[2]), -np.log1p(np.exp(-x[2])), -np.log1p(np.exp(x[2]))
    i = np.arange(int(tally.n.max()) + 1)
    log_b, log_ab, log_factorial = (special.gammaln(start + i) for start in (b, a + b, 1.0))
    psi_b, psi_ab = special.digamma(b + i), special.digamma(a + b + i)
    by_j = log_b + i * (log_s - log_rest) - log_factorial
    value, gradient = 0.0, np.zeros(3)
    for n, c, weight in zip(tally.n, tally.c, tally.weight, strict=True):
        m, first = int(n - c), int(c)
        j = i[: m + 1]
        # log [C(m, j) s^j (1-s)^(m-j) Gamma(b+j) / Gamma(a+b+c+j)], without its part in m
        terms = by_j[: m + 1] - log_factorial[m::-1] - log_ab[first : first + m + 1]
        most = float(terms.max())
        share = np.exp(terms - most)
        sum_of_shares = float(share.sum())
        total = most + np.log(sum_of_shares) + log_factorial[m] + m * log_rest
        share /= sum_of_shares
        mean_ab = share @ psi_ab[first : first + m + 1]
        value += weight * (total + c * log_s + special.gammaln(a + c))
        d_a = special.digamma(a + c) - mean_ab
        d_b = share @ psi_b[: m + 1] - mean_ab
        d_s = c * (1 - s) + share @ j - m * s
        gradient += weight * np.array([d_a, d_b, d_s])
    every = tally.weight.sum()
    value -= every * special.betaln(a, b)
    psi = special.digamma([a, b, a + b])
    gradient -= every * np.array([psi[0] - psi[2], psi[1] - psi[2], 0.0])
    return -value, -gradient * np.array([a, b, 1.0])


def _fit(
    tally: Tally, *, prior: bool, inflated: bool, start: BetaBinomial | None
) -> BetaBinomial | None:
    solved, failed = (tally.weight @ tally.c), (tally.weight @ (tally.n - tally.c))
    if not prior and (solved == 0 or failed == 0):
        return None
    coefficients = float(tally.weight @ log_choose(tally.n, tally.c))
    starts = _starts(tally, inflated) if start is None else [np.log([start.a, start.b])]
    search = partial(
        optimize.minimize,
        _objective,
        args=(tally, prior),
        jac=True,
        bounds=[(-12.0, 12.0)] * 2 + [(-18.0, 18.0)] * inflated,
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9},
    )
    best = min((search(x) for x in starts), key=lambda result: float(result.fun))
    x = np.asarray(best.x, dtype=float)
    pi0 = float(special.expit(x[2])) if inflated else 0.0
    likelihood, _ = _objective(x, tally, prior=False)
    return BetaBinomial(float(np.exp(x[0])), float(np.exp(x[1])), pi0, likelihood - coefficients)


def _starts(tally: Tally, inflated: bool) -> list[Floats]:
    passes, samples = tally.weight @ tally.c, tally.weight @ tally.n
    rate = (passes + 0.5) / (samples + 1.0)
    starts = [np.log([s * rate, s * (1 - rate)]) for s in (0.5, 2.0)]
    if not inflated:
        return starts
    unsolved = float(tally.weight[tally.c == 0].sum() / tally.weight.sum())
    shares = (1e-4, 0.25 * unsolved + 1e-3, 0.75 * unsolved + 1e-3)
    return [np.append(x, special.logit(share)) for x in starts for share in shares]


def _objective(x: Floats, tally: Tally, prior: bool) -> tuple[float, Floats]:
    """Negative log-likelihood (log-posterior) without coefficients, and its gradient.

    x: log a, log b and, for the zero-inflated model, logit pi0.
    """
    a, b = np.exp(x[0]), np.exp(x[1])
    n, c, weight = tally.n, tally.c, tally.weight
    terms = special.betaln(a + c, b + n - c) - special.betaln(a, b)
    both = special.digamma(a + b) - special.digamma(a + b + n)
    d_a = (special.digamma(a + c) - special.digamma(a) + both) * a
    d_b = (special.digamma(b + n - c) - special.digamma(b) + both) * b
    gradient = [d_a, d_b]
    if len(x) == 3:
        pi0, zero = special.expit(x[2]), c == 0
        log_rest = np.log1p(-pi0) + terms
        mixed = np.where(zero, np.logaddexp(np.log(pi0), log_rest), log_rest)
        share = np.exp(log_rest - mixed)  # of the Beta part in the likelihood
        d_pi0 = np.exp(np.log(pi0) - np.where(zero, mixed, np.inf)) * (1 - pi0) - share * pi0
        terms, gradient = mixed, [d_a * share, d_b * share, d_pi0]
    value = -float(weight @ terms)
    slope = -np.array([float(weight @ g) for g in gradient])
    if prior:
        z = (x[0] - PRIOR_LOG_A) / PRIOR_SD
        value += 0.5 * float(z) ** 2
        slope[0] += z / PRIOR_SD
    return value, slope
