"""The law of hard problems: how pass probabilities are spread below 1/10, from counts.

fail@k = E (1-p)^k at large k depends on problems with small p only. Where the density of p near 0
goes as p^(a-1), fail@k falls as k^-a (Schaeffer et al. 2025, arXiv 2502.17578). So the law is
parametric below p = 1/10 and free above:

    dG(p) = (1 - floor) w(p) dp + floor at p = 0
    w(p) is proportional to p^(a-1) exp(-b p + bend q(log p)) below 1/10,
    and a free share in each of 8 cells of logit p above it.

- a: the exponent, the slope of -log fail@k against log k that the tail settles at.
- b: the onset, in tries. For p = 1 - exp(-t), t ~ Gamma(a, rate b), fail@k = (1 + k/b)^-a. Its
  slope at k is a k / (k + b).
- bend: how far the slope moves from k = 10 to k = n; 0 for a power law. q is -z^2 / 2 times a
  scale, where z runs from 0 at p = 1/10 to 1 at p = 1/n, and goes on straight below.
- floor: the share of problems that are never solved. It may be negative: then fewer problems are
  unsolved than a power law has.

The log-linear law of a latent p on a grid is Efron's (2016, "Empirical Bayes deconvolution
estimates", Biometrika 103). The likelihood needs no change where sampling stopped because of
passes (S7 of `toolkit.stats.stopping`), nor where n differs between problems.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.laws import Tally

EDGE = 0.1
"""Below it p belongs to the tail: what decides fail@k for k over 10."""
CELLS = 8
A, B, BEND, FLOOR = CELLS, CELLS + 1, CELLS + 2, CELLS + 3
"""Places of the parameters; the first `CELLS` are log shares of the cells against the tail's."""
ONSET = (-1.0, 5.0)
"""The onsets of a power law that has settled by k = 10: at 5 its slope there is two thirds of a."""
RIDGE = 0.01
"""Precision of a weak prior on the cells' log shares, so that an empty cell has a finite one."""
MOST_FLOOR = 0.9
IMPOSSIBLE = 1e-140
"""Least likelihood of a row beside its largest one. Its inverse has a finite square."""
STEPS = 100


@dataclass(frozen=True, slots=True)
class TailFit:
    """A maximum: parameters (CELLS + 4,), its penalised log likelihood, the nodes' masses (J,).

    hessian: of the log likelihood, all parameters, (CELLS + 4, CELLS + 4).
    """

    at: Floats
    log_lik: float
    mass: Floats
    hessian: Floats

    def __getitem__(self, parameter: int) -> float:
        return float(self.at[parameter])


class TailModel:
    """The likelihood of a tally under the law of this file; `top`: the largest k looked at."""

    def __init__(self, tally: Tally, top: int) -> None:
        self.p, width, self.features = _nodes(top)
        self._log_width = np.log(width)
        self._weight = tally.weight
        solved = tally.c == 0
        self._unsolved = float(tally.weight[solved].sum() / tally.weight.sum())
        log_l = tally.c[:, None] * np.log(self.p) + (tally.n - tally.c)[:, None] * np.log1p(-self.p)
        most = log_l.max(axis=1)
        self._l = np.exp(log_l - most[:, None])
        self._l0 = np.where(solved, np.exp(-np.where(solved, most, 0.0)), 0.0)

    def fail_at_k(self, fit: TailFit, k: Ints) -> Floats:
        """E (1-p)^k of a fit, shape of k."""
        some = np.exp(np.log1p(-self.p)[None, :] * np.asarray(k)[:, None]) @ fit.mass
        return np.asarray((1 - fit[FLOOR]) * some + fit[FLOOR])

    def fit(
        self, free: tuple[int, ...], start: Floats, fixed: Mapping[int, float], *, bound: bool
    ) -> TailFit:
        """The maximum over the cells, a, b and the parameters `free`; others stay as in `fixed`.

        start: (CELLS + 4,). With `bound`, b stays within `ONSET`.
        """
        at = start.copy()
        for parameter, value in fixed.items():
            at[parameter] = value
        among = (*range(A + 1), B, *free)
        found = self._newton(at, tuple(some for some in among if some not in fixed))
        if bound and not ONSET[0] <= found[B] <= ONSET[1]:
            at = found.at.copy()
            at[B] = min(max(at[B], ONSET[0]), ONSET[1])
            found = self._newton(at, (*range(A + 1), *free))
        return found

    def bound_of(self, fit: TailFit, parameter: int, z: float) -> TailFit | None:
        """The fit at the end of a parameter's likelihood interval, above for z > 0, else below.

        There the signed root of the likelihood ratio is z. None where no end was found.
        """
        among = [*range(A + 1), *([B] if ONSET[0] < fit[B] < ONSET[1] else []), parameter]
        spread = float(np.linalg.pinv(-fit.hessian[np.ix_(among, among)])[-1, -1])
        step = z * np.sqrt(max(spread, 1e-12))
        inside, outside = (0.0, 0.0), None  # step and root below the wanted root, and above it
        for _ in range(30):
            value = fit[parameter] + step
            if parameter == FLOOR and value >= MOST_FLOOR:
                return None
            there = self.fit((), fit.at, {parameter: value}, bound=True)
            root = np.sqrt(max(0.0, 2 * (fit.log_lik - there.log_lik)))
            if abs(root - abs(z)) < 0.05:
                return there
            if root < abs(z):
                inside = (step, root)
            else:
                outside = (step, root)
            if outside is None:
                step *= float(np.clip(abs(z) / max(root, 1e-9), 1.1, 3))
            else:  # the root is nearly linear in the parameter
                share = (abs(z) - inside[1]) / (outside[1] - inside[1])
                step = inside[0] + np.clip(share, 0.05, 0.95) * (outside[0] - inside[0])
        return None

    def _newton(self, at: Floats, free: tuple[int, ...]) -> TailFit:
        """Newton's method with a damping that grows until the objective does (Levenberg)."""
        some, damping = np.array(free), 1e-3
        ridge = np.where(some < CELLS, RIDGE, 0.0)
        for _ in range(STEPS):
            value, gradient, hessian = self._derivatives(at)
            slope = gradient[some] - ridge * at[some]
            curvature = np.diag(ridge) - hessian[np.ix_(some, some)]
            while damping < 1e10:
                try:
                    lower = np.linalg.cholesky(
                        curvature + damping * np.diag(np.abs(np.diag(curvature)) + 1e-6)
                    )
                except np.linalg.LinAlgError:
                    damping *= 5
                    continue
                further = at.copy()
                further[some] += np.linalg.solve(lower.T, np.linalg.solve(lower, slope))
                gain = self._objective(further) - (value - _penalty(at))
                if gain > -1e-12:
                    break
                damping *= 5
            else:
                break
            at, damping = further, max(damping / 10, 1e-9)
            if gain < 1e-7:
                break
        value, _, hessian = self._derivatives(at)
        return TailFit(at, value - _penalty(at), self._mass(at), hessian)

    def _mass(self, at: Floats) -> Floats:
        log_mass = self.features @ at[:FLOOR] + self._log_width
        mass = np.exp(log_mass - log_mass.max())
        return np.asarray(mass / mass.sum())

    def _objective(self, at: Floats) -> float:
        if not -self._unsolved <= at[FLOOR] < MOST_FLOOR + 0.05:
            return -np.inf
        mixed = (1 - at[FLOOR]) * (self._l @ self._mass(at)) + at[FLOOR] * self._l0
        return float(self._weight @ np.log(np.maximum(mixed, IMPOSSIBLE))) - _penalty(at)

    def _derivatives(self, at: Floats) -> tuple[float, Floats, Floats]:
        """Log likelihood without the penalty, its gradient and its Hessian."""
        mass, floor, weight = self._mass(at), at[FLOOR], self._weight
        plain = self._l @ mass
        mixed = np.maximum((1 - floor) * plain + floor * self._l0, IMPOSSIBLE)
        centred = self.features - mass @ self.features
        scale = (1 - floor) / mixed  # the posterior of the nodes is scale x l x mass
        one, other = (
            scale[:, None] * (self._l @ (mass[:, None] * centred)),
            (self._l0 - plain) / mixed,
        )
        gradient = np.append(weight @ one, weight @ other)
        total = ((weight * scale) @ self._l) * mass
        inner = centred.T @ ((total - total.sum() * mass)[:, None] * centred)
        inner -= one.T @ (weight[:, None] * one)
        cross = -(weight @ one) / (1 - floor) - one.T @ (weight * other)
        corner = -np.array([[weight @ other**2]])
        hessian = np.block([[inner, cross[:, None]], [cross[None, :], corner]])
        return float(weight @ np.log(mixed)), gradient, hessian


def _penalty(at: Floats) -> float:
    return 0.5 * RIDGE * float(at[:CELLS] @ at[:CELLS])


def _nodes(top: int) -> tuple[Floats, Floats, Floats]:
    """p of the nodes (J,), their widths in log p or in cells (J,), their features (J, CELLS + 3).

    From 1/10 down to 1/(10 top) a node each .1 of log p, below it each .5: there the counts see
    p = 0. Of the cells, 8 nodes each.
    """
    x0, x_top = np.log(EDGE), np.log(1 / top)
    fine = np.arange(x0 - 0.05, x_top - 2.3, -0.1)
    coarse = np.arange(fine[-1] - 0.3, -46, -0.5)
    x = np.concatenate([fine, coarse])
    edges = np.linspace(np.log(EDGE / (1 - EDGE)), np.log(1e4), CELLS + 1)
    inside = (np.arange(8) + 0.5) / 8
    logits = (edges[:-1, None] + inside * np.diff(edges)[:, None]).ravel()
    cells = len(logits)
    p = np.concatenate([1 / (1 + np.exp(-logits)), np.exp(x)])
    width = np.concatenate(
        [np.full(cells, 1 / 8), np.full(len(fine), 0.1), np.full(len(coarse), 0.5)]
    )
    features = np.zeros((len(p), FLOOR))
    features[np.arange(cells), np.repeat(np.arange(CELLS), 8)] = 1
    seen = x0 - x_top
    z, below = (x0 - np.maximum(x, x_top)) / seen, np.minimum(x - x_top, 0) / seen
    features[cells:, A] = x - x0
    features[cells:, B] = -p[cells:]
    features[cells:, BEND] = (below - z**2 / 2) * seen
    return p, width, features
