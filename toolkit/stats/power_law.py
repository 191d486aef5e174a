"""Does fail@k fall as a power of k? Supported, not supported, or the counts cannot tell.

Two questions, answered apart:

- *In the tail*: is log fail@k straight against log k from k = 10 on? This is the verdict.
- *From k = 1*: is it straight over all k seen?

**The tail.** A power law there is the law of `toolkit.stats.tail` without floor and bend, with an
onset in its first decade. What lies above p = 1/10 is left free, so easy problems do not decide.

- Not supported: the counts reject it by a likelihood ratio, in one of three directions. A floor
  (some problems are never solved: the curve flattens), a bend (it steepens up to the last k), a
  late onset (it still steepens well after k = 10). Holm's correction over them, at 10 %. An onset
  that the counts show to be early does not enter into the correction: what cannot be violated
  need not be paid for (Romano, Shaikh and Wolf 2014, "A practical two-step method for testing
  moment inequalities", Econometrica 82).
- Supported: not rejected, and every floor and every bend that the counts do not reject (the ends
  of one-sided 90 % likelihood intervals) changes the slope little. So it is a test of equivalence:
  the slopes of the decades differ by at most half their mean. A line drawn through such a curve
  misses fail@k a decade further by at most a factor 10^(a/4) or so: 19 % for an exponent of .3,
  about the error of a forecast so far. It takes 2.5 decades: over two, from k = 10 to 1,000, a
  curve that steepens for ever passes this test too often.
- Cannot tell: anything else. It is no finding against a power law.

**From k = 1.** The slopes of all pairs of decades are compared at once, model-free. The critical
value is the 95 % quantile of the largest |t| over the pairs, in a bootstrap over problems (max-t:
Westfall and Young 1993, "Resampling-Based Multiple Testing", section 2.2).

How often each verdict is given for known laws: `python tests/bench verdict`, docs/power-law.md.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.curve import Counts
from toolkit.stats.forecast import Interval
from toolkit.stats.laws import Tally
from toolkit.stats.tail import BEND, EDGE, FLOOR, ONSET, A, B, TailFit, TailModel

TAIL_FROM = 10
"""Where the tail begins: 1 / `EDGE`."""
MARGIN = 0.5
"""Slopes of decades may differ by this share of their mean where a power law is supported."""
LEVEL = 0.10
"""Of the tests against a power law together."""
END = 1.2816
"""Signed root at the end of a one-sided 90 % likelihood interval: the same level."""
EARLY = -1.645
"""Signed root of the onset's test, below which the onset is early for sure (5 %)."""
SHARE_WITH_TOP = 0.9
"""Of the problems, that support the largest k of the tail."""
LEAST_UNSOLVED = 5
LEAST_TAIL = 10
"""Problems in the tail with a pass, without which nothing is said."""
LEAST_DECADES = 1.5
"""Decades of k from `TAIL_FROM` on, without which nothing is said."""
DECADES_TO_SUPPORT = 2.5
"""Decades of k from `TAIL_FROM` on, without which a power law is not called supported."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """Whether fail@k falls as a power of k in the tail, why, and from k = 1.

    supported: None for "cannot tell". The keys after `reasons` are None or empty in results from
    before there were three answers.
    """

    supported: bool | None
    reasons: tuple[str, ...]
    tail_from: int | None = None
    """The tail is k from here on,"""
    tail_to: int | None = None
    """up to what nine in ten problems have samples for."""
    p_values: dict[str, float] | None = None
    """Of the three tests against a power law, with Holm's correction: floor, bend, onset."""
    largest_change: float | None = None
    """Largest range of the decades' slopes, as a share of their mean, that is not rejected."""
    slope_range: Interval | None = None
    """Largest less smallest slope of the decades in the tail, with a simultaneous 95 % interval."""
    from_one: bool | None = None
    """Straight from k = 1; None for "cannot tell"."""
    from_one_reason: str = ""
    from_one_range: Interval | None = None
    """As `slope_range`, over all decades."""

    @property
    def verdict(self) -> str:
        """In words."""
        return in_words(self.supported)


def in_words(supported: bool | None) -> str:
    """The three answers."""
    return {True: "supported", False: "not supported", None: "cannot tell"}[supported]


def judge_power_law(counts: Counts, grid: Ints, fail: Floats, means: Floats) -> PowerLaw:
    """Both answers. grid: shape (K,), `fail` the curve there, `means` its bootstrap rows (R, K)."""
    ranges = {
        start: _slope_range(len(counts), grid, fail, means, start) for start in (1, TAIL_FROM)
    }
    tail = judge_tail(counts)
    straight, reason = _judge_all(ranges[1], tail.supported, grid, fail)
    return PowerLaw(
        tail.supported,
        tail.reasons,
        TAIL_FROM,
        _top(counts),
        tail.p_values,
        tail.largest_change,
        ranges[TAIL_FROM],
        straight,
        reason,
        ranges[1],
    )


@dataclass(frozen=True, slots=True)
class TailVerdict:
    """As the fields of the same names in `PowerLaw`."""

    supported: bool | None
    reasons: tuple[str, ...]
    p_values: dict[str, float] | None = None
    largest_change: float | None = None


def _top(counts: Counts) -> int:
    """Where the tail ends. A few problems with few samples do not end it."""
    sorted_ = np.sort(counts.support())
    return min(int(sorted_[int((1 - SHARE_WITH_TOP) * (len(counts) - 1))]), counts.k_most)


def judge_tail(counts: Counts) -> TailVerdict:
    """The answer for the tail alone."""
    top = _top(counts)
    if lacking := _lacking(counts):
        return TailVerdict(None, lacking)
    model = TailModel(Tally.of(counts), top)
    start = np.zeros(FLOOR + 1)
    start[A] = 0.3
    straight = model.fit((), start, {}, bound=True)
    floor = model.fit((FLOOR,), straight.at, {}, bound=True)
    bend = model.fit((BEND,), straight.at, {}, bound=True)
    free = model.fit((), straight.at, {}, bound=False)
    late = model.fit((), straight.at, {B: ONSET[1]}, bound=False)
    p_values = adjusted(
        floor=np.sign(floor[FLOOR]) * _root(floor, straight),
        bend=np.sign(bend[BEND]) * _root(bend, straight),
        onset=np.sign(free[B] - ONSET[1]) * _root(free, late),
    )
    if min(p_values.values()) <= LEVEL:
        found = {"floor": floor[FLOOR], "onset": free[B]}
        reasons = tuple(_against(n, p, found.get(n)) for n, p in p_values.items() if p <= LEVEL)
        return TailVerdict(False, reasons, p_values)
    ends = [(floor, FLOOR, END), (bend, BEND, END), (bend, BEND, -END)]
    changes = [
        _change(model, end, top) if (end := model.bound_of(fit, parameter, z)) else np.inf
        for fit, parameter, z in ends
    ]
    largest = max(changes)
    shown = None if np.isinf(largest) else largest
    if short := _short_of_support(counts):
        return TailVerdict(None, short, p_values, shown)
    if largest <= MARGIN:
        return TailVerdict(True, (_equivalent(largest, top),), p_values, shown)
    return TailVerdict(None, (_open(changes, top),), p_values, shown)


def _short_of_support(counts: Counts) -> tuple[str, ...]:
    """What the counts lack for a power law to be supported, though nothing speaks against it."""
    top, unsolved, lacking = _top(counts), int((counts.c == 0).sum()), []
    decades = np.log10(top / TAIL_FROM)
    if decades < DECADES_TO_SUPPORT:
        lacking.append(
            f"no test rejects it, but k = {TAIL_FROM} to {top} are {decades:.1f} decades, under "
            f"{DECADES_TO_SUPPORT}: a floor or a steady steepening may look straight there"
        )
    if unsolved < LEAST_UNSOLVED:
        lacking.append(
            f"unsolved problems: {unsolved}, under {LEAST_UNSOLVED}: the tail rests on too few"
        )
    return tuple(lacking)


def _lacking(counts: Counts) -> tuple[str, ...]:
    """What the counts lack for any verdict on the tail."""
    top, lacking = _top(counts), []
    decades = np.log10(top / TAIL_FROM)
    if decades < LEAST_DECADES:
        lacking.append(
            f"k ends at {top}: {max(0.0, decades):.1f} decades from k = {TAIL_FROM} on, under "
            f"{LEAST_DECADES}"
        )
    hard = int(((counts.c > 0) & (counts.c < EDGE * counts.n)).sum())
    if hard < LEAST_TAIL:
        lacking.append(
            f"problems with a pass in under 1 of {TAIL_FROM} samples: {hard}, under {LEAST_TAIL}; "
            "these show the tail"
        )
    return tuple(lacking)


def _root(fit: TailFit, straight: TailFit) -> float:
    return float(np.sqrt(max(0.0, 2 * (fit.log_lik - straight.log_lik))))


def adjusted(*, floor: float, bend: float, onset: float) -> dict[str, float]:
    """p-values of the three tests from their signed roots, with Holm's correction.

    An early onset (`EARLY`) is not among the tests that are corrected for; its p-value is then 1.
    """
    roots = {"floor": floor, "bend": bend} | ({"onset": onset} if onset >= EARLY else {})
    p_values = holm({name: float(special.ndtr(-root)) for name, root in roots.items()})
    return p_values if "onset" in roots else p_values | {"onset": 1.0}


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Adjusted p-values: rejecting those up to a level keeps the family's error there (Holm 1979,
    "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6).
    """
    adjusted, largest = {}, 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * value))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _against(name: str, p: float, value: float | None) -> str:
    what = {
        "floor": f"the curve flattens: a floor of about {100 * (value or 0):.1f} % of the problems "
        "fits better",
        "bend": "the curve steepens up to the last k",
        "onset": f"the slope has not settled by k = {TAIL_FROM}: it is on its way until k = "
        f"{value or 0:.0f} and beyond",
    }[name]
    return f"{what} (p = {p:.2g}, with Holm's correction)"


def _equivalent(largest: float, top: int) -> str:
    return (
        f"from k = {TAIL_FROM} to {top}, every floor and bend that the counts do not reject "
        f"changes the slopes of the decades by at most {largest:.0%} of their mean "
        f"(bound: {MARGIN:.0%})"
    )


def _open(changes: Sequence[float], top: int) -> str:
    floor, steeper, flatter = changes
    named = {"a floor": floor, "a steepening": steeper, "a flattening": flatter}
    name, most = max(named.items(), key=lambda item: item[1])
    size = "without bound" if np.isinf(most) else f"by {most:.0%} of their mean"
    return (
        f"no test rejects it, but the counts do not reject {name} either that changes the slopes "
        f"of the decades {size} from k = {TAIL_FROM} to {top} (bound: {MARGIN:.0%})"
    )


def _change(model: TailModel, fit: TailFit, top: int) -> float:
    """Range of the decades' slopes from `TAIL_FROM` to `top`, as a share of their mean.

    Half a decade or more that remains at the end counts as a decade.
    """
    k = [TAIL_FROM**j for j in range(1, len(str(top)))]
    if top > k[-1] * 10**0.5:
        k.append(top)
    logs = np.log(np.maximum(model.fail_at_k(fit, np.array(k)), 1e-300))
    slopes = np.diff(logs) / np.diff(np.log(k))
    return float(np.ptp(slopes) / abs(slopes.mean()))


def _slope_range(
    problems: int, grid: Ints, fail: Floats, means: Floats, start: int
) -> Interval | None:
    """Range of the slopes of the decades from `start` on; None under two decades.

    A decade counts while 5 problems or more are expected unsolved at its end. The interval is
    simultaneous over all pairs of decades: where it begins over 0, some slopes differ.
    """
    column = {int(k): j for j, k in enumerate(grid)}
    ends = [k for k in column if str(k).rstrip("0") == "1" and k >= start]
    ends = [k for k in ends if problems * fail[column[k]] >= LEAST_UNSOLVED]
    if len(ends) < 3:
        return None
    columns = [column[k] for k in ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.diff(np.log(means[:, columns]), axis=1) / np.log(10)
        whole = np.diff(np.log(fail[columns])) / np.log(10)
    pairs = np.array(list(itertools.combinations(range(len(whole)), 2)))
    change = whole[pairs[:, 1]] - whole[pairs[:, 0]]
    drawn = each[:, pairs[:, 1]] - each[:, pairs[:, 0]]
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    spread = drawn.std(axis=0)
    if len(drawn) < 2 or not (spread > 0).all():
        return None
    critical = float(np.quantile(np.abs((drawn - change) / spread).max(axis=1), 0.95))
    low = float(np.maximum(np.abs(change) - critical * spread, 0).max())
    return Interval(float(np.ptp(whole)), low, float((np.abs(change) + critical * spread).max()))


def _judge_all(
    found: Interval | None, tail: bool | None, grid: Ints, fail: Floats
) -> tuple[bool | None, str]:
    """Straight from k = 1? What is not straight in its tail is not."""
    if found and found.lo > 0:
        return False, (
            f"the slopes of the decades differ: their range is {found.estimate:.3f} (95 %, "
            f"simultaneous: {found.lo:.3f} to {found.hi:.3f})"
        )
    if tail is False:
        return False, "it is not straight in the tail"
    if found is None:
        return None, "fewer than two decades of k have 5 problems unsolved at their end"
    used = [j for j, k in enumerate(grid) if fail[j] > 0]
    mean = float(np.log(fail[used[0]] / fail[used[-1]]) / np.log(grid[used[-1]] / grid[used[0]]))
    if tail and found.hi <= MARGIN * mean:
        return True, f"the slopes of the decades differ by at most {found.hi:.3f}"
    return None, (
        f"no slopes of decades differ significantly, but their range may be up to {found.hi:.3f}"
    )
