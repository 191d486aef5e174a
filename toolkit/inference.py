"""What the counts support: intervals by a bootstrap over problems, a forecast, and a verdict.

Estimands: *such problems* (super-population), unless said otherwise: the problems were drawn
from a population, and the error between problems dominates.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from toolkit import fits
from toolkit.fits import BetaBinomial, Tally
from toolkit.passk import curve, fail_at_k, k_grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL = 0.95
FLOOR_CRITICAL = 2.71
"""Likelihood ratio beyond which a floor is significant at 5 % (a boundary: half a chi-square)."""
LEAST_UNSOLVED = 5
LEAST_DECADES = 1.5
GOODNESS_REPLICATES = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    estimate: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """Whether fail@k falling as a power of k is supported, and if not why."""

    supported: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything beyond the curve; k's are the keys. None where the counts cannot say.

    slopes: (k_from, k_to) -> d log fail@k / d log k over that decade; band: fail@k with the
    bootstrap's interval; forecast: the MAP beta-binomial's fail@k with the union of its interval
    and the zero-inflated one's; same_problems: the empirical-Bayes forecast for these very
    problems; bracket: k > n -> (lower, upper), model-free, without sampling error.
    """

    map_fit: BetaBinomial
    ml_fit: BetaBinomial | None
    floor_fit: BetaBinomial | None
    slopes: dict[tuple[int, int], Interval]
    band: dict[int, Interval]
    forecast: dict[int, Interval]
    same_problems: dict[int, float]
    bracket: dict[int, tuple[float, float]]
    goodness_of_fit: float
    floor_ratio: float | None
    power_law: PowerLaw


def infer(n: ArrayLike, c: ArrayLike, *, replicates: int = 1000, seed: int = 0) -> Inference:
    """Fit, resample and judge. n, c: shape (P,), every n at least 1."""
    n, c = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    # Many tiny fits: threads of the BLAS only wait for each other, for minutes on a busy node.
    with threadpool_limits(limits=1):
        return _infer(n, c, replicates, np.random.default_rng(seed))


def _infer(n: Ints, c: Ints, replicates: int, random: np.random.Generator) -> Inference:
    tally = Tally.of(n, c)
    map_fit = fits.beta_binomial(tally, prior=True)
    assert map_fit is not None  # the prior makes a maximum
    ml_fit, floor_fit = fits.beta_binomial(tally), fits.zero_inflated_beta_binomial(tally)
    top = int(n.min())
    grid, beyond = k_grid(top), k_grid(10 * top)
    draws = random.multinomial(len(n), np.full(len(n), 1 / len(n)), size=replicates)
    means = draws @ fail_at_k(n[:, None], c[:, None], grid[None, :]) / len(n)
    center = curve(n, c, grid).fail_at_k
    slopes, differ = _decade_slopes(grid, center, means)
    goodness = goodness_of_fit(n, c, map_fit, random)
    ratio = None
    if ml_fit and floor_fit:
        ratio = max(0.0, 2 * (ml_fit.neg_log_lik - floor_fit.neg_log_lik))
    return Inference(
        map_fit=map_fit,
        ml_fit=ml_fit,
        floor_fit=floor_fit,
        slopes=slopes,
        band={int(k): _interval(center[j], means[:, j]) for j, k in enumerate(grid)},
        forecast=_forecast(n, c, draws, beyond, map_fit, floor_fit),
        same_problems=dict(
            zip(beyond.tolist(), empirical_bayes(n, c, map_fit, beyond).tolist(), strict=True)
        ),
        bracket=bracket(n, c, beyond[beyond > top]),
        goodness_of_fit=goodness,
        floor_ratio=ratio,
        power_law=_judge(n, c, differ, goodness),
    )


def _interval(estimate: float, values: Floats) -> Interval:
    lo, hi = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(estimate), float(lo), float(hi))


def _decade_slopes(
    grid: Ints, center: Floats, means: Floats
) -> tuple[dict[tuple[int, int], Interval], list[str]]:
    """Slope of log fail@k over each whole decade, and where neighbours differ significantly."""
    ends = [int(k) for k in grid if str(k).rstrip("0") == "1"]
    column = {int(k): j for j, k in enumerate(grid)}
    slopes: dict[tuple[int, int], Interval] = {}
    samples: list[tuple[tuple[int, int], Floats]] = []
    for low, high in itertools.pairwise(ends):
        with np.errstate(divide="ignore", invalid="ignore"):
            each = (np.log(means[:, column[high]]) - np.log(means[:, column[low]])) / np.log(10)
            whole = (np.log(center[column[high]]) - np.log(center[column[low]])) / np.log(10)
        if not (np.isfinite(whole) and np.isfinite(each).all()):
            break  # everything is solved from here on
        slopes[low, high] = _interval(whole, each)
        samples.append(((low, high), each))
    differ = []
    for (first, one), (second, two) in itertools.pairwise(samples):
        change = _interval(0.0, two - one)
        if change.lo > 0 or change.hi < 0:
            differ.append(
                f"the slope changes from {slopes[first].estimate:.3f} (k = {first[0]} to "
                f"{first[1]}) to {slopes[second].estimate:.3f} (k = {second[0]} to {second[1]}), "
                f"a significant difference"
            )
    return slopes, differ


def _forecast(
    n: Ints,
    c: Ints,
    draws: NDArray[np.signedinteger[Any]],
    k: Ints,
    map_fit: BetaBinomial,
    floor_fit: BetaBinomial | None,
) -> dict[int, Interval]:
    """The MAP fit's fail@k; interval: the union of both models' percentile intervals."""
    pairs, inverse = np.unique(np.stack([n, c], axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    models: list[list[Floats]] = [[], []]
    for draw in draws:
        weight = np.bincount(inverse, weights=draw, minlength=len(pairs)).astype(float)
        some = weight > 0
        tally = Tally(pairs[some, 0].astype(float), pairs[some, 1].astype(float), weight[some])
        plain = fits.beta_binomial(tally, prior=True, start=map_fit)
        models[0].append(plain.fail_at_k(k) if plain else np.full(k.shape, np.nan))
        if floor_fit:
            floor = fits.zero_inflated_beta_binomial(tally, start=floor_fit)
            if floor:
                models[1].append(floor.fail_at_k(k))
    bounds = [
        np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        for values in models
        if values
    ]
    lo, hi = np.min([b[0] for b in bounds], axis=0), np.max([b[1] for b in bounds], axis=0)
    center = map_fit.fail_at_k(k)
    return {
        int(k[j]): Interval(float(center[j]), float(lo[j]), float(hi[j])) for j in range(len(k))
    }


def empirical_bayes(n: Ints, c: Ints, fit: BetaBinomial, k: Ints) -> Floats:
    """E fail@k of *these problems* given their counts: the mean over problems of
    B(a + c, b + n - c + k) / B(a + c, b + n - c). Shape of k; for a fit without a floor.
    """
    posteriors = [
        BetaBinomial(fit.a + c_i, fit.b + n_i - c_i, 0.0, 0.0)
        for n_i, c_i in zip(n, c, strict=True)
    ]
    return np.asarray(np.mean([p.fail_at_k(k) for p in posteriors], axis=0))


def bracket(n: Ints, c: Ints, k: Ints) -> dict[int, tuple[float, float]]:
    """Model-free bounds of fail@k for k > n, of these problems and without sampling error.

    log fail@k is convex and falling in k, so that with f = fail@ at the smallest n,
    f(n) [f(n) / f(n-1)]^(k-n) <= fail@k <= f(n).
    """
    top = int(n.min())
    if top < 2:
        return {}
    before, last = curve(n, c, [top - 1, top]).fail_at_k
    ratio = last / before if before > 0 else 0.0
    return {int(k_j): (float(last * ratio ** (k_j - top)), float(last)) for k_j in k}


def goodness_of_fit(n: Ints, c: Ints, fit: BetaBinomial, random: np.random.Generator) -> float:
    """p-value of the beta-binomial by a parametric bootstrap.

    The statistic is the largest |fail@k - fitted| over k = 1, 2, 5 ... n in units of
    sqrt(fitted (1 - fitted)); counts are drawn from the fit and fitted again, so that the
    p-value allows for the fitting.
    """
    grid = k_grid(int(n.min()))

    def distance(counts: Ints, model: BetaBinomial) -> float:
        fitted = np.clip(model.fail_at_k(grid), 1e-12, 1 - 1e-12)
        seen = fail_at_k(n[:, None], counts[:, None], grid[None, :]).mean(axis=0)
        return float(np.max(np.abs(seen - fitted) / np.sqrt(fitted * (1 - fitted))))

    observed, worse = distance(c, fit), 0
    for _ in range(GOODNESS_REPLICATES):
        drawn = random.binomial(n, random.beta(fit.a, fit.b, size=len(n))).astype(np.int64)
        again = fits.beta_binomial(Tally.of(n, drawn), prior=True, start=fit)
        worse += again is not None and distance(drawn, again) >= observed
    return (1 + worse) / (1 + GOODNESS_REPLICATES)


def _judge(n: Ints, c: Ints, differ: list[str], goodness: float) -> PowerLaw:
    reasons = []
    top, unsolved = int(n.min()), int((c == 0).sum())
    if np.log10(top) < LEAST_DECADES:
        reasons.append(f"k spans {np.log10(top):.1f} decades (1 to {top}), under {LEAST_DECADES}")
    if unsolved < LEAST_UNSOLVED:
        reasons.append(
            f"{unsolved} problems are unsolved at the largest k, under {LEAST_UNSOLVED}: the tail "
            "rests on too few"
        )
    reasons += differ
    if goodness < 0.05:
        reasons.append(f"the beta-binomial does not fit (p = {goodness:.3f})")
    return PowerLaw(not reasons, tuple(reasons))
