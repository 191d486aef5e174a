"""How fail@k goes on beyond the samples: several families, weighted by how they predict.

All of it is about the ratio fail@K / fail@k_max: the curve up to k_max needs no law. Each family is
fitted to a part of every problem's samples (`toolkit.stats.thinning`: a half, a quarter, an
eighth). Its forecast of fail@k_max is compared with the fail@k_max that all samples show. The error
counts in units of its own sampling error, which the bootstrap over problems gives.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bootstrap import FEWEST_REPLICATES, Replicated
from toolkit.stats.families import BETA, CURVE, LIKELIHOODS, Beta, BetaTail, ExpPower, LogitNormal
from toolkit.stats.passk import k_grid
from toolkit.stats.thinning import largest_thinning, thinned

PARTS = (2, 4, 8)
TOLERANCE = 0.05
"""An error of log fail@k that counts against no family. Chosen, as the next two, on
draws of the cells of `tests/bench/forecast_cells.py`."""
SPREAD, SPREAD_SHARES = 0.22, (0.2, 0.5)
"""How far a log ratio may be off, all families alike: a standard deviation, and the least and the
most that it may be as a share of the log ratio."""
STEEPEST = 1.6
"""No family's log ratio counts for more than so many times the families' median."""
REJECTED = 3.0
"""Held-out errors beyond so many of their standard errors: the family has no say."""
HELD_OUT_REPLICATES = 60
MOST_CELLS = 400
"""With more distinct (n, c), all families see the counts thinned to one n."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a family did on held-out samples.

    - weight: its say in the forecast; 0 where rejected. The weights sum to 1, or are all 0.
    - error: of log fail@k_max, forecast from half of the samples; nan where that is impossible.
    - z: the largest of its errors, in units of their standard errors.
    """

    name: str
    weight: float
    error: float
    z: float

    @property
    def rejected(self) -> bool:
        """The data speak against it."""
        return self.z > REJECTED


@dataclass(frozen=True, slots=True)
class Ensemble:
    """log (fail@k / fail@k_max), at most 0, of each family.

    center: (families, K). rows: (families, R, K), of each replicate.
    """

    standings: tuple[Standing, ...]
    center: Floats
    rows: Floats
    fitted: dict[str, "Fitted"]
    """Row 0 of their parameters is the fit, the others are the replicates."""

    @property
    def weights(self) -> Floats:
        """Of the families; all 0 where each is rejected."""
        return np.array([s.weight for s in self.standings])

    @property
    def beta(self) -> Beta:
        """The beta-binomial among the families."""
        family = self.fitted[BETA]
        assert isinstance(family, Beta)
        return family

    def limited(self, log_ratio: Floats, center: Floats) -> Floats:
        """`log_ratio` (families, ..., K), shrunk where `center` (families, K) is too steep."""
        limit = STEEPEST * np.median(center, axis=0)
        shrink = np.minimum(1, limit / np.minimum(center, -1e-12))
        return np.asarray(log_ratio * (shrink[:, None, :] if log_ratio.ndim == 3 else shrink))


Fitted = Beta | LogitNormal | ExpPower


def ensemble(data: Replicated, k: Ints) -> Ensemble:
    """Fit all families and weigh them; k: shape (K,), all over k_max."""
    fitted = _fit(data, None)
    ends = np.append(data.pairs.k_max, k).astype(float)
    rows = np.stack([log_ratio(family, ends) for family in fitted.values()])
    found = Ensemble(_standings(data, list(fitted)), rows[:, 0], rows[:, 1:], fitted)
    center, replicates = (found.limited(r, rows[:, 0]) for r in (rows[:, 0], rows[:, 1:]))
    return Ensemble(found.standings, center, replicates, fitted)


def exponents(data: Replicated, found: Ensemble | None) -> Floats:
    """a of the beta-binomial in replicates; for large k its fail@k falls as k^-a."""
    return np.asarray(np.exp((found.beta if found else beta_alone(data)).x[1:, 0]))


def beta_alone(data: Replicated) -> Beta:
    """The beta-binomial without the other families."""
    few = data.first(FEWEST_REPLICATES)
    n, c = data.pairs.n.astype(float), data.pairs.c.astype(float)
    weights, replicates = data.weights, few.replicates
    if len(n) > MOST_CELLS:
        cells = thinned(data.pairs, largest_thinning(data.pairs))
        n, c = cells.n, cells.c
        weights, replicates = weights @ cells.shares, replicates @ cells.shares
    return Beta(n, c).fit(weights, replicates)


def log_ratio(family: Fitted, k: Floats) -> Floats:
    """log (fail@k / fail@k[0]) at the other k's, (1 + R, K - 1), at most 0."""
    log_fail = family.log_fail(k)
    ratio = log_fail[:, 1:] - log_fail[:, :1]
    return np.asarray(np.minimum(np.nan_to_num(ratio, nan=0.0, neginf=-700.0), 0.0))


def unknown(center: Floats, z: Floats) -> Floats:
    """Factors of log ratios, for what no family knows.

    center: the log ratio, (K,), which falls with k. z: standard normal, (families, R, 1). The
    result is (families, R, K). Far from the samples the error grows with the log ratio, near them
    it is relatively larger: whether a curve bends shows in the next decade. A flatter curve may end
    at a floor, so factors under 1 are normal and reach 0; those over 1 are log-normal.
    """
    deviation = np.clip(SPREAD / np.maximum(-center, 1e-12), *SPREAD_SHARES)
    flatter = np.maximum(1 + deviation * np.minimum(z, 0), 0)
    return np.asarray(flatter * np.exp(deviation * np.maximum(z, 0)))


def _fit(data: Replicated, m: int | None) -> dict[str, Fitted]:
    """All families, fitted to m samples of each problem; None for all samples."""
    counts = data.pairs
    fitted: dict[str, Fitted] = {}
    tail = thinned(counts, m or largest_thinning(counts))
    whole = m is None and len(counts) <= MOST_CELLS
    for name, law in LIKELIHOODS.items():
        if whole and law is not BetaTail:
            family = law(counts.n.astype(float), counts.c.astype(float))
            family.fit(data.weights, data.replicates)
        else:
            family = law(tail.n, tail.c)
            family.fit(data.weights @ tail.shares, data.replicates @ tail.shares)
        fitted[name] = family
    grid = k_grid(m or counts.k_max)
    if len(grid) > 1:
        fitted[CURVE] = ExpPower().fit(grid, data.fail_at_k(grid))
    return fitted


def _standings(data: Replicated, names: list[str]) -> tuple[Standing, ...]:
    level = largest_thinning(data.pairs)
    few = data.first(HELD_OUT_REPLICATES)
    errors: dict[str, list[float]] = {name: [] for name in names}
    scores: dict[str, list[float]] = {name: [] for name in names}
    for part in PARTS:
        m = level // part
        if m < min(part, 3):
            continue
        seen = few.fail_at_k(np.array([m, level]))
        if not (seen[0] > 0).all():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            truth = np.log(seen[:, 1]) - np.log(seen[:, 0])
            for name, family in _fit(few, m).items():
                error = log_ratio(family, np.array([m, level], dtype=float))[:, 0] - truth
                spread = np.nanvar(error[1:][np.isfinite(error[1:])])
                errors[name].append(float(error[0]))
                scores[name].append(float(error[0] ** 2 / (spread + TOLERANCE**2)))
    mean = {name: float(np.mean(s)) if s else 0.0 for name, s in scores.items()}
    z = {name: float(np.sqrt(max(s, default=0.0))) for name, s in scores.items()}
    best = min(mean.values())
    say = {name: np.exp(-(mean[name] - best) / 2) * (z[name] <= REJECTED) for name in names}
    total = sum(say.values()) or 1.0
    return tuple(
        Standing(name, float(say[name] / total), (errors[name] or [float("nan")])[0], z[name])
        for name in names
    )
