"""The figures of the curve: pass@k and fail@k against k, and pass@k against output tokens.

Where samples end and a forecast begins there is a line, with both names above it. Two estimands
have two looks: a band for such problems, thin bars with caps for these problems.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from toolkit.problems.humaneval import GPT4O_PASS_AT_1
from toolkit.report.document import FitDocument
from toolkit.report.findings import Band, Bracket, ForecastPoint, OutputTokens
from toolkit.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    error_bars,
    legend_below,
    log_k_axis,
    log_percent_axis,
    new_figure,
)
from toolkit.stats.arrays import Floats

SMALLEST = 1e-9
"""What a logarithmic axis shows of a zero."""


def pass_figure(document: FitDocument) -> Figure:
    """pass@k against k, with its forecast."""
    figure, axes = new_figure("tries per problem k", "pass@k (coverage)")
    figure.suptitle(document.title, fontsize=10)
    _such_problems(document, axes, fail=False)
    k, values = list(document.pass_at_k), list(document.pass_at_k.values())
    axes.plot(k, values, "o-", color=BLUE, ms=4, label="unbiased pass@k", zorder=5)
    _draw_partial(document, axes, fail=False)
    if model := document.law:
        ks, top = _grid(document), document.k_max
        inside = ks[ks <= top]
        axes.plot(inside, 1 - model.fail_at_k(inside), color=INK, lw=1, label="beta-binomial (MAP)")
    if ahead := _ahead(document):
        line = [1 - f.estimate for f in ahead.values()]
        axes.plot(list(ahead), line, color=BLUE, lw=1.4, ls="--", label="forecast")
    _these_problems(document, axes, fail=False)
    _gpt4o(document, axes, GPT4O_PASS_AT_1)
    log_k_axis(axes)
    axes.set_ylim(-0.02, 1.02)  # whole markers at 0 and at 1
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _mark_the_change(document, axes)
    legend_below(figure, axes)
    return figure


def fail_figure(document: FitDocument) -> Figure:
    """fail@k against k on logarithmic axes, with the models and the forecast."""
    figure, axes = new_figure("tries per problem k", "fail@k = 1 - pass@k", size=(6.4, 5.0))
    figure.suptitle(document.title, fontsize=10)
    _such_problems(document, axes, fail=True)
    seen = {k: document.fail_at_k[k] for k in document.band if document.fail_at_k[k] > 0}
    points, label = (list(seen), list(seen.values())), "unbiased fail@k"
    axes.plot(*points, "o", color=BLUE, ms=5, label=label, zorder=5)
    _draw_partial(document, axes, fail=True)
    _draw_models(document, axes)
    if ahead := _ahead(document):
        line = [f.estimate or np.nan for f in ahead.values()]
        axes.plot(list(ahead), line, color=BLUE, lw=1.6, ls="--", label="forecast")
    _these_problems(document, axes, fail=True)
    _draw_bracket(document, axes)
    _gpt4o(document, axes, 1 - GPT4O_PASS_AT_1)
    log_k_axis(axes)
    axes.set_ylim(max(_lowest(document, seen), 1e-5), 1.15)
    log_percent_axis(axes)
    _mark_the_change(document, axes)
    legend_below(figure, axes)
    return figure


def _lowest(document: FitDocument, seen: Mapping[int, float]) -> float:
    """Where the axis of fail@k ends: below all values and intervals, but for 0 and far below."""
    values = [*seen.values(), *(f.estimate for f in document.forecast.values())]
    lowest = min((value for value in values if value > 0), default=0.1)
    intervals = (document.band, _ahead(document), document.same_problems_band or {})
    ends = [each.lo for found in intervals for each in found.values()]
    return min(0.4 * lowest, 0.8 * min((lo for lo in ends if lo > 0.1 * lowest), default=lowest))


def tokens_figure(document: FitDocument, tokens: OutputTokens) -> Figure:
    """Coverage against what it costs; above, the k of each point."""
    figure, axes = new_figure("expected output tokens per problem", "pass@k (coverage)")
    low, high = _ends(document.band)
    cost = [tokens.at_k[k] for k in document.band]
    axes.fill_between(cost, 1 - high, 1 - low, label="95 %, such problems", **_BAND)
    cost, passed = list(tokens.at_k.values()), [document.pass_at_k[k] for k in tokens.at_k]
    axes.plot(cost, passed, "o-", color=BLUE, ms=4, label="unbiased pass@k")
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    shown = {k: cost for k, cost in tokens.at_k.items() if str(k).rstrip("0") in ("1", "2", "5")}
    tries = axes.twiny()
    in_words = EngFormatter(sep="")  # 1.2M, since 1,200,000 would run into its neighbour
    for axis, numbers in ((axes, shown.values()), (tries, shown)):
        axis.set_xscale("log")
        labels = [in_words(float(f"{number:.3g}")) for number in numbers]
        axis.set_xticks(list(shown.values()), labels, fontsize=8)
        axis.minorticks_off()
    tries.set_xlim(axes.get_xlim())
    tries.spines["top"].set_visible(True)
    tries.grid(visible=False)
    tries.set_xlabel("tries per problem k")
    legend_below(figure, axes)
    return figure


_BAND: dict[str, Any] = {"color": BLUE, "alpha": 0.18, "lw": 0}
_AHEAD: dict[str, Any] = {"facecolor": "none", "edgecolor": GREY, "lw": 0, "hatch": "///"}


def _such_problems(document: FitDocument, axes: Axes, *, fail: bool) -> None:
    """The bands of such problems: of what was measured, and hatched of the forecast."""
    bands = (
        (document.band, "95 %, such problems", _BAND),
        (_ahead(document), "forecast, 95 %, such problems", _AHEAD),
    )
    for intervals, label, look in bands:
        if intervals:
            low, high = _drawn_ends(intervals, fail=fail)
            axes.fill_between(list(intervals), low, high, label=label, **look)
            if look is _AHEAD:  # apart from its hatch, which SVG would make as pale as the fill
                axes.fill_between(list(intervals), low, high, color=GREY, alpha=0.2, lw=0)


def _these_problems(document: FitDocument, axes: Axes, *, fail: bool) -> None:
    """The intervals of these problems as bars; nothing in older results."""
    found = document.same_problems_band or {}
    if not found:
        return
    error_bars(axes, list(found), _drawn_ends(found, fail=fail), INK, "95 %, these problems")


def _mark_the_change(document: FitDocument, axes: Axes) -> None:
    """A line where the samples end, with what is on either side of it; nothing without the one."""
    top = document.k_max
    _, last = axes.get_xlim()
    if last <= 1.3 * top:
        return
    axes.axvline(top, color=GREY, lw=0.9, ls=":")
    look: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    look |= {"fontsize": 8, "color": INK, "va": "bottom"}
    ahead = "forecast" if _ahead(document) else "no samples"
    axes.annotate("measured", (top, 1.0), (-5, 2), ha="right", **look)
    axes.annotate(ahead, (top, 1.0), (5, 2), ha="left", **look)


def _draw_models(document: FitDocument, axes: Axes) -> None:
    """The straight line, exp(a k^b) and the beta-binomial; dashed beyond the samples."""
    ks, top = _grid(document), document.k_max
    drawn = (
        (document.fits.log_log_line, "straight line, as in the blog", ORANGE, "x"),
        (document.fits.exp_power, r"$\exp(a\,k^b)$", GREEN, "^"),
        (document.law, "beta-binomial (MAP)", INK, ""),
    )
    for model, label, color, marker in drawn:
        if model is None:
            continue
        for part, line, name in ((ks[ks <= top], "-", label), (ks[ks >= top], "--", None)):
            fail = model.fail_at_k(part)
            axes.plot(
                part,
                np.where(fail > 0, fail, np.nan),
                color=color,
                lw=1.2,
                ls=line,
                marker=marker,
                ms=4.5,
                markevery=(6, 13),
                label=name,
            )


def _draw_partial(document: FitDocument, axes: Axes, *, fail: bool) -> None:
    """The curve beyond k_max, of the problems that have the samples: hollow, with their number."""
    values = {
        k: 1 - point.pass_at_k if fail else point.pass_at_k for k, point in document.partial.items()
    }
    shown = {k: value for k, value in values.items() if value > 0}
    if not shown:
        return
    hollow: dict[str, Any] = {"color": BLUE, "mfc": "white", "ms": 5, "zorder": 5}
    numbers = sorted({document.partial[k].problems for k in shown})
    few = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    label = f"of {few} of {document.problems} problems"
    axes.plot(list(shown), list(shown.values()), "D", label=label, **hollow)


def _draw_bracket(document: FitDocument, axes: Axes) -> None:
    if not document.bracket:
        return
    last = document.fail_at_k[document.k_max]
    bracket = {document.k_max: Bracket(last, last)} | document.bracket
    upper = [b.upper for b in bracket.values()]
    lower = [max(b.lower, SMALLEST) for b in bracket.values()]
    for values, label in ((upper, "model-free bracket"), (lower, None)):
        if max(values) > 0:
            axes.plot(list(bracket), values, color=GREY, lw=0.9, ls="-.", label=label)


def _ahead(document: FitDocument) -> dict[int, ForecastPoint]:
    """The forecast, from the last measured k on; nothing without one."""
    top = document.k_max
    beyond = {k: f for k, f in document.forecast.items() if k > top}
    last = ForecastPoint(document.fail_at_k[top], document.band[top].lo, document.band[top].hi, "")
    return {top: last} | beyond if beyond else {}


def _ends(intervals: Mapping[int, Band | ForecastPoint]) -> tuple[Floats, Floats]:
    low, high = (np.array([getattr(i, end) for i in intervals.values()]) for end in ("lo", "hi"))
    return low, high


def _drawn_ends(
    intervals: Mapping[int, Band | ForecastPoint], *, fail: bool
) -> tuple[Floats, Floats]:
    """Both ends of fail@k, on an axis that has no 0, or of pass@k."""
    low, high = _ends(intervals)
    if fail:
        return np.maximum(low, SMALLEST), np.maximum(high, SMALLEST)
    return 1 - high, 1 - low


def _grid(document: FitDocument) -> Floats:
    top = document.k_max
    return np.unique(np.concatenate([np.geomspace(1, top, 80), np.geomspace(top, 10 * top, 40)]))


def _gpt4o(document: FitDocument, axes: Axes, level: float) -> None:
    """The reference means something only where the problems are all of HumanEval."""
    if document.full_humaneval:
        axes.axhline(level, color=ORANGE, lw=1, ls=(0, (1, 1.5)), label="GPT-4o, one try (90.2 %)")
        found = document.overtakes
        if found and found.pass_at_1_lo is not None and found.pass_at_1_hi is not None:
            ends = found.pass_at_1_lo, found.pass_at_1_hi
            low, high = ends if level > 0.5 else (1 - ends[1], 1 - ends[0])
            axes.axhspan(low, high, color=ORANGE, alpha=0.1, lw=0, label="GPT-4o, 95 %")
