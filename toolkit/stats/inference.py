"""What the counts support: intervals by a bootstrap over problems, a forecast, and a verdict.

Intervals are for *such problems* (the super-population) unless said otherwise: the problems were
drawn from a population. The error between problems is then the larger part.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats import laws
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bootstrap import Replicated, Resampled
from toolkit.stats.curve import Counts, curve
from toolkit.stats.ensemble import exponents
from toolkit.stats.forecast import (
    CountFits,
    Forecast,
    Interval,
    bracket,
    forecast_of,
    measured_only,
    percentiles,
)
from toolkit.stats.laws import BetaBinomial, ScaledBetaBinomial, Tally
from toolkit.stats.model_free import model_free
from toolkit.stats.passk import k_grid
from toolkit.stats.power_law import PowerLaw, judge_power_law
from toolkit.stats.same_problems import same_problems

FLOOR_CRITICAL = 2.71
"""Likelihood ratio beyond which a floor is significant at 5 % (a boundary: half a chi-square)."""
GOODNESS_REPLICATES = 200
SAME = 1e-9
"""Slopes that differ by less differ by rounding."""
MOST_DISTINCT = 2000
"""Distinct (n, c) beyond which the goodness of fit is left out: minutes, for no decision."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything beyond the curve; k's are the keys. None where the counts cannot say.

    - slopes: (k_from, k_to) -> d log fail@k / d log k over that decade.
    - band: k -> fail@k with the interval of the bootstrap, see `Replicated.resampled`; also for the
      k over k_max that only some problems support, of these problems.
    - goodness_of_fit: p-value of the beta-binomial; None with over `MOST_DISTINCT` distinct counts.
    - exponent: a of the MAP fit.
    - same_problems: k -> fail@k of these very problems.
    - model_free: k -> 95 % interval of such problems without any law of p.
    - bracket: k > k_max -> (lower, upper), model-free and without sampling error.
    """

    count_fits: CountFits
    scaled_fit: ScaledBetaBinomial | None
    slopes: dict[tuple[int, int], Interval]
    band: dict[int, Interval]
    forecast: Forecast
    exponent: Interval
    same_problems: dict[int, Interval]
    model_free: dict[int, tuple[float, float]]
    bracket: dict[int, tuple[float, float]]
    goodness_of_fit: float | None
    floor_ratio: float | None
    power_law: PowerLaw


def infer(counts: Counts, *, replicates: int = 1000, forecasts: bool = True) -> Inference:
    """Fit, resample and judge. Every problem has at least one sample."""
    # Many tiny fits: threads of the BLAS only wait for each other, for minutes on a busy node.
    with threadpool_limits(limits=1):
        return _infer(counts, replicates, np.random.default_rng(0), forecasts)


def _infer(
    counts: Counts, replicates: int, random: np.random.Generator, forecasts: bool
) -> Inference:
    count_fits = CountFits.of(counts)
    top = counts.k_max
    grid, beyond = k_grid(top), k_grid(10 * top)
    data = Replicated.of(counts, replicates, random)
    shown = np.union1d(grid, k_grid(counts.k_most))
    if top >= 3:  # k = 3 is shown, and decides nothing
        shown = np.union1d(shown, [3])
    center = curve(counts, shown).fail_at_k
    rows = data.resampled(shown)
    of_grid = np.searchsorted(shown, grid)
    fail, means = center[of_grid], rows.means[:, of_grid]
    few = len(counts.distinct()[0]) <= MOST_DISTINCT
    goodness = goodness_of_fit(counts, count_fits.map, random) if few else None
    ratio = scaled = None
    if count_fits.ml:
        scaled = laws.scaled_beta_binomial(Tally.of(counts), count_fits.ml)
        if count_fits.floor:
            ratio = max(0.0, 2 * (count_fits.ml.neg_log_lik - count_fits.floor.neg_log_lik))
    ahead, families = forecast_of(data, random) if forecasts else (measured_only(data), None)
    return Inference(
        count_fits=count_fits,
        scaled_fit=scaled,
        slopes=_decade_slopes(grid, fail, means),
        band=_band(shown, center, rows),
        forecast=ahead,
        exponent=_interval(count_fits.map.a, exponents(data, families)),
        same_problems=same_problems(data, ahead, families, beyond),
        model_free=model_free(data, beyond[beyond >= top]) if forecasts else {},
        bracket=bracket(counts, beyond[beyond > top]),
        goodness_of_fit=goodness,
        floor_ratio=ratio,
        power_law=judge_power_law(counts, grid, fail, means),
    )


def _interval(estimate: float, values: Floats) -> Interval:
    return Interval(float(estimate), *percentiles(values))


def _band(k: Ints, center: Floats, rows: Resampled) -> dict[int, Interval]:
    """fail@k with the interval of the bootstrap."""
    ends = zip(rows.low.T, rows.high.T, strict=True)
    band = (
        Interval(float(f), percentiles(low)[0], percentiles(high)[1])
        for f, (low, high) in zip(center, ends, strict=True)
    )
    return dict(zip(k.tolist(), band, strict=True))


def _decade_slopes(grid: Ints, center: Floats, means: Floats) -> dict[tuple[int, int], Interval]:
    """Slope of log fail@k over each whole decade; no more from the first without an error on.

    That is where all is solved, or where no two problems differ.
    """
    column = {int(k): j for j, k in enumerate(grid)}
    slopes: dict[tuple[int, int], Interval] = {}
    for low, high in decades(grid.tolist()):
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.log(means[:, column[high]] / means[:, column[low]]) / np.log(10)
            whole = np.log(center[column[high]] / center[column[low]]) / np.log(10)
        if not (np.isfinite(whole) and np.isfinite(each).all()):
            break
        if np.ptp(each) < SAME:  # of one problem, or of problems that are all alike
            break
        slopes[low, high] = _interval(whole, each)
    return slopes


def decades(grid: Sequence[int]) -> list[tuple[int, int]]:
    """(1, 10), (10, 100) ... as far as the grid has both ends."""
    ends = [k for k in grid if str(k).rstrip("0") == "1"]
    return list(itertools.pairwise(ends))


def goodness_of_fit(counts: Counts, fit: BetaBinomial, random: np.random.Generator) -> float:
    """p-value of the beta-binomial by a parametric bootstrap.

    The statistic is the largest |fail@k - fitted| over k = 1, 2, 5 ... k_max, in units of
    sqrt(fitted (1 - fitted)). Counts are drawn from the fit by the same design, its stopping rule
    included. They are fitted again, so that the p-value allows for the fitting.
    """
    grid = k_grid(counts.k_max)

    def distance(seen: Counts, model: BetaBinomial) -> float:
        fitted = np.clip(model.fail_at_k(grid), 1e-12, 1 - 1e-12)
        mean = curve(seen, grid).fail_at_k
        return float(np.max(np.abs(mean - fitted) / np.sqrt(fitted * (1 - fitted))))

    observed, worse = distance(counts, fit), 0
    for _ in range(GOODNESS_REPLICATES):
        drawn = counts.simulate(random.beta(fit.a, fit.b, size=len(counts)), random)
        again = laws.beta_binomial(Tally.of(drawn), prior=True, start=fit)
        worse += again is not None and distance(drawn, again) >= observed
    return (1 + worse) / (1 + GOODNESS_REPLICATES)
