"""The figures of a report, drawn from the document of a fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter, PercentFormatter

from toolkit.files import make_directory
from toolkit.problems.humaneval import GPT4O_PASS_AT_1
from toolkit.report.consistency import consistency_figure
from toolkit.report.document import FitDocument
from toolkit.report.findings import Band, Bracket, ForecastPoint, OutputTokens
from toolkit.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    STYLE,
    log_log,
    new_figure,
    save,
)
from toolkit.report.weak_tests import figure_name, weak_tests_figure
from toolkit.runs.taxonomy import PASSED, Taxonomy
from toolkit.stats.arrays import Floats

SMALLEST = 1e-9
"""What a logarithmic axis shows of a zero."""


def draw_figures(document: FitDocument, counts: pl.DataFrame, folder: Path) -> None:
    """Write the figures as SVG and PNG.

    pass_at_k, fail_at_k, slope, difficulty and consistency; of a run, outcomes; where tokens are
    known, coverage_by_tokens.
    """
    make_directory(folder)
    judged = counts.filter(pl.col("n") > 0)
    with mpl.rc_context(STYLE):
        save(_pass_figure(document), folder / "pass_at_k")
        save(_fail_figure(document), folder / "fail_at_k")
        save(_slope_figure(document), folder / "slope")
        save(_difficulty_figure(judged), folder / "difficulty")
        if document.output_tokens:
            save(_tokens_figure(document, document.output_tokens), folder / "coverage_by_tokens")
        if document.consistency:
            save(consistency_figure(document), folder / "consistency")
        for judge, found in (document.weak_tests or {}).items():
            save(weak_tests_figure(found, judge), folder / figure_name(judge))
        if document.taxonomy:
            save(_outcomes_figure(document.taxonomy), folder / "outcomes")


def _pass_figure(document: FitDocument) -> Figure:
    figure, axes = new_figure("tries per problem k", "pass@k (coverage)")
    axes.set_title(document.title, fontsize=10)
    low, high = _ends(document.band)
    _fill(axes, list(document.band), 1 - high, 1 - low)
    k, values = list(document.pass_at_k), list(document.pass_at_k.values())
    axes.plot(k, values, "o-", color=BLUE, ms=4, label="unbiased pass@k")
    _draw_partial(document, axes, fail=False)
    if model := document.law:
        ks, top = _grid(document), document.k_max
        inside = ks[ks <= top]
        axes.plot(inside, 1 - model.fail_at_k(inside), color=INK, lw=1, label="beta-binomial (MAP)")
    if ahead := _ahead(document):
        low, high = _ends(ahead)
        _fill_forecast(axes, list(ahead), 1 - high, 1 - low)
        line = [1 - f.estimate for f in ahead.values()]
        axes.plot(list(ahead), line, color=BLUE, lw=1.4, ls="--", label="forecast")
    _gpt4o(document, axes, GPT4O_PASS_AT_1)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)  # whole markers at 0 and at 1
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    # Not loc="best", which is slow, and warns of it on a busy machine.
    high_up = document.pass_at_k[document.k_max] > 0.5
    axes.legend(loc="lower right" if high_up else "upper left", fontsize=8)
    return figure


def _tokens_figure(document: FitDocument, tokens: OutputTokens) -> Figure:
    """Coverage against what it costs; above, the k of each point."""
    figure, axes = new_figure("expected output tokens per problem", "pass@k (coverage)")
    low, high = _ends(document.band)
    _fill(axes, [tokens.at_k[k] for k in document.band], 1 - high, 1 - low)
    cost, passed = list(tokens.at_k.values()), [document.pass_at_k[k] for k in tokens.at_k]
    axes.plot(cost, passed, "o-", color=BLUE, ms=4, label="unbiased pass@k")
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
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
    axes.legend(loc="best", fontsize=8)
    return figure


def _fail_figure(document: FitDocument) -> Figure:
    figure, axes = new_figure("tries per problem k", "fail@k = 1 - pass@k", size=(6.4, 4.6))
    axes.set_title(document.title, fontsize=10)
    low, high = _ends(document.band)
    _fill(axes, list(document.band), np.maximum(low, SMALLEST), high)
    seen = {k: document.fail_at_k[k] for k in document.band if document.fail_at_k[k] > 0}
    points, label = (list(seen), list(seen.values())), "unbiased fail@k"
    axes.plot(*points, "o", color=BLUE, ms=5, label=label, zorder=5)
    _draw_partial(document, axes, fail=True)
    _draw_models(document, axes)
    if ahead := _ahead(document):
        low, high = (np.maximum(end, SMALLEST) for end in _ends(ahead))
        _fill_forecast(axes, list(ahead), low, high)
        line = [f.estimate or np.nan for f in ahead.values()]
        axes.plot(list(ahead), line, color=BLUE, lw=1.6, ls="--", label="forecast")
    axes.axvline(document.k_max, color=GREY, lw=0.8, ls=":")
    _draw_bracket(document, axes)
    _gpt4o(document, axes, 1 - GPT4O_PASS_AT_1)
    log_log(axes)
    floor = min(seen.values(), default=0.1)
    lowest = min((f.estimate for f in document.forecast.values()), default=floor)
    axes.set_ylim(max(0.4 * min(floor, lowest), 1e-5), 1.15)
    axes.legend(loc="lower left", fontsize=8)
    return figure


def _draw_models(document: FitDocument, axes: Axes) -> None:
    """The straight line, exp(a k^b) and the beta-binomial; dashed beyond the samples."""
    ks, top = _grid(document), document.k_max
    drawn = (
        (document.fits.log_log_line, "straight line, as in the blog", ORANGE, "x"),
        (document.fits.exp_power, "exp(a k^b)", GREEN, "^"),
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


def _slope_figure(document: FitDocument) -> Figure:
    name = "local slope d log fail@k / d log k"
    figure, axes = new_figure("tries per problem k", name, (6.4, 3.4))
    for i, slope in enumerate(document.slopes):
        ends, level = [slope.from_, slope.to], slope.estimate
        band, line = (None, None) if i else ("95 %", "a decade of k")
        axes.fill_between(ends, slope.lo, slope.hi, color=BLUE, alpha=0.18, lw=0, label=band)
        axes.plot(ends, [level, level], color=BLUE, lw=2, label=line)
        middle = float(np.sqrt(slope.from_ * slope.to))
        above: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        above["bbox"] = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.5}
        axes.annotate(f"{level:.3f}", (middle, level), fontsize=8, **above)
    if model := document.law:
        ks = np.geomspace(1, 10 * document.k_max, 60)
        step = 1.01
        local = np.log(model.fail_at_k(ks * step) / model.fail_at_k(ks)) / np.log(step)
        axes.plot(ks, local, color=INK, lw=1, ls="--", label="beta-binomial (MAP)")
    axes.set_xscale("log")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    else:
        axes.set_xlim(1, 10 * document.k_max)
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no slope can be estimated", ha="center", transform=axes.transAxes)
    return figure


def _difficulty_figure(judged: pl.DataFrame) -> Figure:
    name = "share of samples that pass, c/n"
    figure, axes = new_figure("problems, easiest first", name, (6.4, 3.4))
    rate = np.sort((judged["c"] / judged["n"]).to_numpy())[::-1]
    rank = np.arange(1, len(rate) + 1)
    floor = 0.3 / float(judged["n"].cast(pl.Int64).max() or 1)  # type: ignore[arg-type]
    solved = rate > 0
    if solved.any():
        axes.plot(rank[solved], rate[solved], "o", color=BLUE, ms=3.5, label="solved")
    if len(unsolved := rank[~solved]):
        label = f"unsolved: {len(unsolved)}"
        axes.plot(unsolved, np.full(len(unsolved), floor), "x", color=ORANGE, ms=4, label=label)
    axes.set_xlim(0, len(rate) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    # The limits first: a log scale warns where all points lie at the same height.
    axes.set_ylim(floor * 0.6, 1.3)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8)
    return figure


def _outcomes_figure(found: Taxonomy) -> Figure:
    """A bar for each kind; within it what was cut, and of the passes what is suspect."""
    kinds = list(found.kinds)
    figure, axes = new_figure("share of the samples", "", (6.4, 1.2 + 0.32 * len(kinds)))
    shares = np.array(list(found.kinds.values())) / found.samples
    cut = np.array([found.cut.get(kind, 0) for kind in kinds]) / found.samples
    colors = [BLUE if kind == PASSED else PALE for kind in kinds]
    axes.barh(kinds, shares, color=colors, height=0.65)
    if found.suspect_passes:
        suspect = found.suspect_passes / found.samples
        left = found.kinds[PASSED] / found.samples - suspect
        axes.barh([PASSED], suspect, left=left, color=ORANGE, height=0.65, label="suspect passes")
    if found.cut:
        hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "lw": 0, "hatch": "////"}
        axes.barh(kinds, cut, height=0.65, label="cut at max_tokens", **hatched)
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    for row, (kind, number) in enumerate(found.kinds.items()):
        text = f"{number:,} ({found.share(kind)})"
        axes.annotate(text, (shares[row], row), (4, 0), **beside)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1.25 * shares.max())
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="y")
    if found.suspect_passes or found.cut:
        axes.legend(loc="lower right", fontsize=8)
    return figure


def _ahead(document: FitDocument) -> dict[int, ForecastPoint]:
    """The forecast, from the last measured k on; nothing without one."""
    top = document.k_max
    beyond = {k: f for k, f in document.forecast.items() if k > top}
    last = ForecastPoint(document.fail_at_k[top], document.band[top].lo, document.band[top].hi, "")
    return {top: last} | beyond if beyond else {}


def _ends(intervals: Mapping[int, Band | ForecastPoint]) -> tuple[Floats, Floats]:
    low, high = (np.array([getattr(i, end) for i in intervals.values()]) for end in ("lo", "hi"))
    return low, high


def _fill(axes: Axes, k: Sequence[float], low: Floats, high: Floats) -> None:
    axes.fill_between(k, low, high, color=BLUE, alpha=0.18, label="95 %, such problems")


def _fill_forecast(axes: Axes, k: Sequence[int], low: Floats, high: Floats) -> None:
    hatched: dict[str, Any] = {"color": GREY, "alpha": 0.2, "lw": 0, "hatch": "///"}
    axes.fill_between(k, low, high, label="forecast, 95 %", **hatched)


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
            axes.axhspan(low, high, color=ORANGE, alpha=0.1, lw=0, label="its 95 %")
