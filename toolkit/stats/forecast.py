"""Beyond the samples: forecasts of fail@k with intervals, and the k that reaches a target.

Up to k_max the curve is the unbiased one. Beyond, it goes on from there: fail@k_max, as measured,
times a ratio that an ensemble of families gives (`toolkit.stats.ensemble`). So there is no jump,
and it never rises.

Intervals for *such problems* come from a Bayesian bootstrap over problems (Rubin 1981), in which
one problem more was drawn: an unsolved one for the upper end, a solved one for the lower. This is
the Bayesian form of the exact binomial interval, and has a width also where all problems agree. It
holds every family's refits, in proportion to their weights, and a spread that no family knows of.

There is no forecast where it was not tested, or where the data reject every family: `limit`.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from toolkit.stats import laws
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts
from toolkit.stats.ensemble import Ensemble, Standing, ensemble, unknown
from toolkit.stats.laws import BetaBinomial, Tally
from toolkit.stats.passk import k_grid
from toolkit.stats.thinning import largest_thinning

LEVEL = 0.95
FARTHEST = 10**7
"""Largest k at which a target is looked for: no run goes there."""
FARTHEST_RATIO = 100
"""Largest k / k_max that was tested: beyond it there is no forecast."""
FEWEST_PROBLEMS = 10
"""With fewer problems there is no forecast."""
LEAST_WITH_ONE_PASS = 5
"""Problems with c = 1 from which on the bracket's lower end bounds the forecast."""
LEAST_SAMPLES = 4
"""Of every problem: half of them are held out."""
MOST_REPLICATES = 200
"""Of the families: more change no end of an interval by more than their own noise."""
SEED = 17


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; where the value is a k, inf means "not reached"."""

    estimate: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class CountFits:
    """The models of `toolkit.stats.laws` fitted to counts; None where there is no maximum."""

    map: BetaBinomial
    ml: BetaBinomial | None
    floor: BetaBinomial | None

    @classmethod
    def of(cls, counts: Counts) -> "CountFits":
        """Fit all three."""
        tally = Tally.of(counts)
        plain = laws.beta_binomial(tally, prior=True)
        assert plain is not None  # the prior makes a maximum
        return cls(plain, laws.beta_binomial(tally), laws.zero_inflated_beta_binomial(tally))


@dataclass(frozen=True)
class Forecast:
    """fail@k of such problems on a grid of k, shape (K,): what was measured, and what follows.

    - center: (K,). low, high: rows (R, K) whose quantiles are the ends of intervals.
    - weights: of these rows, (R,).
    - seen_low, seen_high: more such rows, of equal weights, for the first k up to k_max.
    - k_max: up to here all is measured.
    - farthest: up to here there is a forecast; k_max where there is none at all.
    - reason: why there is none beyond `farthest`, for people.
    - standings: how each family did; empty where none was tried.
    """

    k: Ints
    center: Floats
    low: Floats
    high: Floats
    weights: Floats
    seen_low: Floats
    seen_high: Floats
    k_max: int
    farthest: int
    reason: str
    standings: tuple[Standing, ...]

    def limit(self, k: int) -> str | None:
        """Why there is no forecast at k; None where there is one."""
        return self.reason if k > self.farthest else None

    def at(self, k: int) -> Interval:
        """fail@k at any k, interpolated on logs between the grid's points.

        Neither end rises with k, also just beyond k_max: what bounds fail@k_max bounds it there.
        Where there is no forecast (`limit`) the estimate is nan, and the interval from 0 to the
        upper end at k_max: fail@k never rises.
        """
        if k > self.farthest:
            return Interval(float("nan"), 0.0, self.at(self.k_max).hi)
        if k <= self.k_max:
            k_seen = self.k[: self.seen_low.shape[1]]
            low, high = (_value(rows, k_seen, k) for rows in (self.seen_low, self.seen_high))
            below, above = percentiles(low)[0], percentiles(high)[1]
        else:
            low, high = (_value(rows, self.k, k) for rows in (self.low, self.high))
            last = self.at(self.k_max)
            below = min(last.lo, weighted_quantile(low, self.weights, TAILS[0]))
            above = min(last.hi, weighted_quantile(high, self.weights, TAILS[1]))
        estimate = float(_value(self.center, self.k, k))
        return Interval(estimate, min(below, estimate), max(above, estimate))

    def reaches(self, coverage: float) -> Interval:
        """The smallest k with pass@k >= coverage; inf where none up to `farthest` has it."""
        low, high = (self._crossings(rows, coverage) for rows in (self.low, self.high))
        estimate = float(self._crossings(self.center[None, :], coverage)[0])
        first = weighted_quantile(low, self.weights, TAILS[0])
        last = weighted_quantile(high, self.weights, TAILS[1])
        return Interval(estimate, min(first, estimate), max(last, estimate))

    def _crossings(self, rows: Floats, coverage: float) -> Floats:
        target = 1 - coverage
        below = rows <= target
        right = below.argmax(axis=1)
        left = np.maximum(right - 1, 0)
        each = np.arange(len(rows))
        high, low = rows[each, left], np.maximum(rows[each, right], 1e-300)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (np.log(high) - np.log(target)) / (np.log(high) - np.log(low))
        share = np.where(right == 0, 0.0, np.nan_to_num(share, nan=1.0))
        log_k = np.log(self.k[left]) * (1 - share) + np.log(self.k[right]) * share
        crossing = np.ceil(np.exp(log_k) - 1e-9)
        return np.where(below.any(axis=1), crossing, np.inf)


TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _value(rows: Floats, k: Ints, at: int) -> Floats:
    """Rows (..., K) on the grid `k`, interpolated on logs."""
    if len(k) == 1:
        return rows[..., 0]
    where = np.log(k)
    right = min(max(int(np.searchsorted(k, at)), 1), len(k) - 1)
    share = (np.log(at) - where[right - 1]) / (where[right] - where[right - 1])
    logs = np.log(np.maximum(rows[..., right - 1 : right + 1], 1e-300))
    found = np.exp(logs[..., 0] * (1 - share) + logs[..., 1] * share)
    return np.where(found > 1e-299, found, 0.0)


def weighted_quantile(values: Floats, weights: Floats, q: float) -> float:
    """The smallest value with a share of at least q of the weights up to it; may be infinite."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order])
    at = int(np.searchsorted(shares, q * shares[-1] * (1 - 1e-12)))
    return float(values[order[min(at, len(order) - 1)]])


def percentiles(values: Floats) -> tuple[float, float]:
    """The ends of the 95 % percentile interval; values may be infinite."""
    tails = list(TAILS)
    if np.isfinite(values).all():
        low, high = np.quantile(values, tails)
    else:  # between a number and infinity nothing can be interpolated
        low, high = np.quantile(values, tails, method="inverted_cdf")
    return float(low), float(high)


def forecast(counts: Counts, *, replicates: int = 1000, seed: int = SEED) -> Forecast:
    """fail@k of such problems: up to k_max as measured, beyond it forecast."""
    random = np.random.default_rng(seed)
    return forecast_of(Replicated.of(counts, replicates, random), random)[0]


def measured_only(data: Replicated) -> Forecast:
    """What was measured, with its intervals; no k beyond k_max has a forecast."""
    return _without_families(data, data.pairs.k_max, "no forecast was asked for")


def forecast_of(data: Replicated, random: np.random.Generator) -> tuple[Forecast, Ensemble | None]:
    """The forecast, and the ensemble behind it; None where no family was tried."""
    top = data.pairs.k_max
    if reason := reason_against(data):
        return _without_families(data, top, reason), None
    farthest = min(FARTHEST_RATIO * top, max(FARTHEST, top))
    untested = f"k is over {FARTHEST_RATIO} times k_max = {top}: so far nothing was tested"
    if data.fail_at_k(np.array([top]))[0, 0] == 0:
        return _without_families(data, farthest, untested), None
    beyond = _grid_beyond(top, farthest)
    found = ensemble(data.first(MOST_REPLICATES), beyond)
    if not found.weights.any():
        names = ", ".join(standing.name for standing in found.standings)
        reason = f"held-out samples reject every family ({names})"
        ahead = _without_families(data, top, reason)
        return dataclasses.replace(ahead, standings=found.standings), None
    seen, low, high = _measured(data)
    center, (below, above), weights = _with_ensemble(data, found, seen, (low, high), beyond, random)
    k = np.concatenate([k_grid(top), beyond])
    ahead = Forecast(
        k, center, below, above, weights, low, high, top, farthest, untested, found.standings
    )
    return ahead, found


def _measured(data: Replicated) -> tuple[Floats, Floats, Floats]:
    """The curve up to k_max, (K,), and rows (R, K) for the ends of its intervals."""
    grid = k_grid(data.pairs.k_max)
    rows = data.resampled(grid)
    return data.fail_at_k(grid)[0], rows.low, rows.high


def _without_families(data: Replicated, farthest: int, reason: str) -> Forecast:
    """Measured up to k_max; from there fail@k stays or falls, and nobody knows how far."""
    top = data.pairs.k_max
    seen, low, high = _measured(data)
    k = np.unique(np.append(k_grid(top), farthest))
    if farthest > top:
        seen, low = np.append(seen, seen[-1]), np.hstack([low, low[:, -1:]])
        high = np.hstack([high, high[:, -1:]])
    width = len(k_grid(top))
    return Forecast(
        k,
        seen,
        low,
        high,
        np.ones(len(low)),
        low[:, :width],
        high[:, :width],
        top,
        farthest,
        reason,
        (),
    )


def _grid_beyond(top: int, farthest: int) -> Ints:
    far = np.geomspace(top, farthest, 61).astype(np.int64)
    k = np.unique(np.concatenate([k_grid(min(10 * top, farthest)), far, [farthest]]))
    return np.asarray(k[k > top])


def _with_ensemble(
    data: Replicated,
    found: Ensemble,
    seen: Floats,
    ends: tuple[Floats, Floats],
    beyond: Ints,
    random: np.random.Generator,
) -> tuple[Floats, tuple[Floats, Floats], Floats]:
    """Center, rows and their weights: what was seen, and from there by each family's ratio."""
    families, replicates, _ = found.rows.shape
    share = found.weights / found.weights.sum()
    log_ratio = share @ found.center
    ratio = np.exp(log_ratio)
    lower = bracket(data.pairs, beyond, data.weights)
    if data.weights[data.pairs.c == 1].sum() >= LEAST_WITH_ONE_PASS:
        ratio = np.maximum(ratio, [lower[int(k)][0] / seen[-1] for k in beyond])
    center = np.concatenate([seen, seen[-1] * ratio])
    z = random.standard_normal((families, replicates, 1))
    # For a large z the relative spread shrinks faster than the log ratio grows; it never rises.
    ratios = np.minimum.accumulate(np.exp(found.rows * unknown(log_ratio, z)), axis=2)
    rows = []
    for end in ends:
        few = np.broadcast_to(end[:replicates], (families, replicates, len(seen)))
        whole = np.concatenate([few, few[..., -1:] * ratios], axis=2)
        rows.append(whole.reshape(families * replicates, -1))
    return center, (rows[0], rows[1]), np.repeat(share, replicates)


def reason_against(data: Replicated) -> str:
    """Why nothing can be forecast from such counts; "" where a forecast can be tried."""
    problems = int(data.weights.sum())
    if problems < FEWEST_PROBLEMS:
        return f"problems: {problems}, under {FEWEST_PROBLEMS}, too few for any forecast"
    if largest_thinning(data.pairs) < LEAST_SAMPLES:
        return f"fewer than {LEAST_SAMPLES} samples of a problem: no part of them can be held out"
    if not data.pairs.c.any():
        return "no sample has passed, so only a prior could say how fail@k goes on"
    return ""


def bracket(
    counts: Counts, k: Ints, weights: Floats | None = None
) -> dict[int, tuple[float, float]]:
    """Model-free bounds of fail@k for k > k_max, of these problems and without sampling error.

    log fail@k is convex and falls with k. So with f(k) = fail@k and n = k_max,
    f(n) [f(n) / f(n-1)]^(k-n) <= f(k) <= f(n). `weights`: of the rows of `counts`.
    """
    top = counts.k_max
    if top < 2:
        return {}
    before, last = np.average(counts.fail_at_k([top - 1, top]), axis=0, weights=weights)
    ratio = last / before if before > 0 else 0.0
    return {int(k_j): (float(last * ratio ** float(k_j - top)), float(last)) for k_j in k}
