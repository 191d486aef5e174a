"""What the counts support: intervals by a bootstrap over problems, a forecast, and a verdict.

Intervals are for *such problems* (the super-population) unless said otherwise: the problems were
drawn from a population. The error between problems is then the larger part.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats import laws
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.curve import Counts, curve
from toolkit.stats.forecast import (
    CountFits,
    Forecast,
    Interval,
    bracket,
    empirical_bayes,
    forecast,
    percentiles,
    resample,
)
from toolkit.stats.laws import BetaBinomial, ScaledBetaBinomial, Tally
from toolkit.stats.passk import k_grid

FLOOR_CRITICAL = 2.71
"""Likelihood ratio beyond which a floor is significant at 5 % (a boundary: half a chi-square)."""
LEAST_UNSOLVED = 5
LEAST_DECADES = 1.5
GOODNESS_REPLICATES = 200


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """Whether fail@k falling as a power of k is supported, and if not why."""

    supported: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything beyond the curve; k's are the keys. None where the counts cannot say.

    - slopes: (k_from, k_to) -> d log fail@k / d log k over that decade.
    - band: k -> fail@k with the interval of the bootstrap.
    - exponent: a of the MAP fit.
    - same_problems: k -> the empirical-Bayes forecast for these very problems.
    - bracket: k > k_max -> (lower, upper), model-free and without sampling error.
    """

    count_fits: CountFits
    scaled_fit: ScaledBetaBinomial | None
    slopes: dict[tuple[int, int], Interval]
    band: dict[int, Interval]
    forecast: Forecast
    exponent: Interval
    same_problems: dict[int, float]
    bracket: dict[int, tuple[float, float]]
    goodness_of_fit: float
    floor_ratio: float | None
    power_law: PowerLaw


def infer(counts: Counts, *, replicates: int = 1000, seed: int = 0) -> Inference:
    """Fit, resample and judge. Every problem has at least one sample."""
    # Many tiny fits: threads of the BLAS only wait for each other, for minutes on a busy node.
    with threadpool_limits(limits=1):
        return _infer(counts, replicates, np.random.default_rng(seed))


def _infer(counts: Counts, replicates: int, random: np.random.Generator) -> Inference:
    count_fits = CountFits.of(counts)
    top = counts.k_max
    grid, beyond = k_grid(top), k_grid(10 * top)
    draws = resample(len(counts), replicates, random)
    means = draws @ counts.fail_at_k(grid) / len(counts)
    center = curve(counts, grid).fail_at_k
    slopes, differ = _decade_slopes(grid, center, means)
    goodness = goodness_of_fit(counts, count_fits.map, random)
    ratio = scaled = None
    if count_fits.ml:
        scaled = laws.scaled_beta_binomial(Tally.of(counts.n, counts.c), count_fits.ml)
        if count_fits.floor:
            ratio = max(0.0, 2 * (count_fits.ml.neg_log_lik - count_fits.floor.neg_log_lik))
    ahead = forecast(counts, count_fits, draws)
    same = empirical_bayes(counts, count_fits.map, beyond)
    return Inference(
        count_fits=count_fits,
        scaled_fit=scaled,
        slopes=slopes,
        band={int(k): _interval(center[j], means[:, j]) for j, k in enumerate(grid)},
        forecast=ahead,
        exponent=_interval(count_fits.map.a, ahead.exponents),
        same_problems=dict(zip(beyond.tolist(), same.tolist(), strict=True)),
        bracket=bracket(counts, beyond[beyond > top]),
        goodness_of_fit=goodness,
        floor_ratio=ratio,
        power_law=_judge(counts, differ, goodness),
    )


def _interval(estimate: float, values: Floats) -> Interval:
    return Interval(float(estimate), *percentiles(values))


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


def goodness_of_fit(counts: Counts, fit: BetaBinomial, random: np.random.Generator) -> float:
    """p-value of the beta-binomial by a parametric bootstrap.

    The statistic is the largest |fail@k - fitted| over k = 1, 2, 5 ... k_max, in units of
    sqrt(fitted (1 - fitted)). Counts are drawn from the fit by the same design, its stopping rule
    included. They are fitted again, so that the p-value allows for the fitting.
    """
    grid = k_grid(counts.k_max)

    def distance(seen: Counts, model: BetaBinomial) -> float:
        fitted = np.clip(model.fail_at_k(grid), 1e-12, 1 - 1e-12)
        mean = np.nanmean(seen.fail_at_k(grid), axis=0)
        return float(np.max(np.abs(mean - fitted) / np.sqrt(fitted * (1 - fitted))))

    observed, worse = distance(counts, fit), 0
    for _ in range(GOODNESS_REPLICATES):
        drawn = counts.simulate(random.beta(fit.a, fit.b, size=len(counts)), random)
        again = laws.beta_binomial(Tally.of(drawn.n, drawn.c), prior=True, start=fit)
        worse += again is not None and distance(drawn, again) >= observed
    return (1 + worse) / (1 + GOODNESS_REPLICATES)


def _judge(counts: Counts, differ: list[str], goodness: float) -> PowerLaw:
    reasons = []
    top, unsolved = counts.k_max, int((counts.c == 0).sum())
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
