"""The figures of a report, drawn from the document of a fit.

A figure that would show nothing is not drawn; the report has a sentence in its place.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter

from toolkit.files import make_directory, writing
from toolkit.report.consistency import consistency_figure
from toolkit.report.coverage_figures import fail_figure, pass_figure, tokens_figure
from toolkit.report.document import FitDocument
from toolkit.report.style import (
    BLUE,
    INK,
    ORANGE,
    PALE,
    STYLE,
    SUFFIXES,
    legend_below,
    log_k_axis,
    log_percent_axis,
    new_figure,
    save,
)
from toolkit.report.weak_tests import figure_name, weak_tests_figure
from toolkit.runs.taxonomy import PASSED, Taxonomy, in_words


def draw_figures(document: FitDocument, counts: pl.DataFrame, folder: Path) -> None:
    """Write the figures that show something, each as SVG, PNG and PDF, and remove all others.

    Raises `WriteFailure`.
    """
    make_directory(folder)
    with mpl.rc_context(STYLE):
        drawn = figures_of(document, counts)
        for name, figure in drawn.items():
            save(figure, folder / name)
    for path in folder.iterdir():  # of an earlier fit, which had more to show
        if path.suffix in SUFFIXES and path.stem not in drawn:
            with writing(path):
                path.unlink()


def figures_of(document: FitDocument, counts: pl.DataFrame | None) -> dict[str, Figure]:
    """The figures by their names: pass_at_k always, and what shows something of these.

    fail_at_k, slope, difficulty (by the counts) and consistency, where samples differ; outcomes, of
    a run; coverage_by_tokens, where tokens are known; weak_tests, for each judge beside.
    """
    drawn = {"pass_at_k": pass_figure(document)}
    if document.samples_differ:
        drawn["fail_at_k"] = fail_figure(document)
        if counts is not None:
            drawn["difficulty"] = _difficulty_figure(counts.filter(pl.col("n") > 0))
        if document.slopes:
            drawn["slope"] = _slope_figure(document)
        if document.consistency:
            drawn["consistency"] = consistency_figure(document)
    if document.output_tokens:
        drawn["coverage_by_tokens"] = tokens_figure(document, document.output_tokens)
    for judge, found in (document.weak_tests or {}).items():
        drawn[figure_name(judge)] = weak_tests_figure(found, judge)
    if document.taxonomy:
        drawn["outcomes"] = _outcomes_figure(document.taxonomy)
    return drawn


def _slope_figure(document: FitDocument) -> Figure:
    name = "local slope d log fail@k / d log k"
    figure, axes = new_figure("tries per problem k", name, (6.4, 3.8))
    for i, slope in enumerate(document.slopes):
        ends, level = [slope.from_, slope.to], slope.estimate
        band, line = (None, None) if i else ("95 %, such problems", "mean over a decade of k")
        axes.fill_between(ends, slope.lo, slope.hi, color=BLUE, alpha=0.18, lw=0, label=band)
        axes.plot(ends, [level, level], color=BLUE, lw=2, label=line)
        # Above the axes, where no line is.
        middle = float(np.sqrt(slope.from_ * slope.to))
        above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center"}
        above |= {"textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": BLUE}
        axes.annotate(f"{level:.3f}".replace("-", "\N{MINUS SIGN}"), (middle, 1.0), (0, 2), **above)
    if model := document.law:
        ks = np.geomspace(1, 10 * document.k_max, 60)
        step = 1.01
        local = np.log(model.fail_at_k(ks * step) / model.fail_at_k(ks)) / np.log(step)
        axes.plot(ks, local, color=INK, lw=1, ls="--", label="beta-binomial (MAP)")
    log_k_axis(axes)
    legend_below(figure, axes)
    return figure


def _difficulty_figure(judged: pl.DataFrame) -> Figure:
    name = "share of samples that pass, c/n"
    figure, axes = new_figure("problems, easiest first", name, (6.4, 3.8))
    rate = np.sort((judged["c"] / judged["n"]).to_numpy())[::-1]
    rank = np.arange(1, len(rate) + 1)
    floor = 0.3 / float(judged["n"].cast(pl.Int64).max() or 1)  # type: ignore[arg-type]
    solved = rate > 0
    if solved.any():
        label = f"solved: {solved.sum():,}"
        axes.plot(rank[solved], rate[solved], "o", color=BLUE, ms=3.5, label=label)
    axes.set_xlim(0, len(rate) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    # The limits first: a log scale warns where all points lie at the same height.
    axes.set_ylim(floor * 0.6, 1.3)
    log_percent_axis(axes)
    if len(unsolved := rank[~solved]):
        label = f"unsolved: {len(unsolved):,}"
        axes.plot(unsolved, np.full(len(unsolved), floor), "x", color=ORANGE, ms=4, label=label)
        _name_the_zero(axes, floor)
    legend_below(figure, axes)
    return figure


def _name_the_zero(axes: Any, floor: float) -> None:
    """A tick for the height at which a logarithmic axis shows what is 0."""
    shown = axes.yaxis.get_major_formatter()
    ticks = [t for t in axes.yaxis.get_major_locator()() if t > 1.5 * floor]
    limits = axes.get_ylim()
    axes.set_yticks([floor, *ticks])
    axes.set_ylim(limits)  # ticks beyond them would move them
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, i: "0" if v == floor else shown(v, i)))
    # From there on down the axis counts no more.
    small = [t for t in axes.yaxis.get_minorticklocs() if 1.5 * floor < t < limits[1]]
    axes.yaxis.set_minor_locator(FixedLocator(small))


def _outcomes_figure(found: Taxonomy) -> Figure:
    """A bar for each kind; within it what was cut, and of the passes what is suspect."""
    kinds = [in_words(kind) for kind in found.kinds]
    figure, axes = new_figure("share of the samples", "", (6.4, 1.5 + 0.32 * len(kinds)))
    shares = np.array(list(found.kinds.values())) / found.samples
    cut = np.array([found.cut.get(kind, 0) for kind in found.kinds]) / found.samples
    colors = [BLUE if kind == PASSED else PALE for kind in found.kinds]
    axes.barh(kinds, shares, color=colors, height=0.65)
    if found.suspect_passes:
        suspect = found.suspect_passes / found.samples
        label = f"suspect passes: {found.suspect_passes:,}"
        left = found.kinds[PASSED] / found.samples - suspect
        look: dict[str, Any] = {"color": ORANGE, "hatch": "xxx", "edgecolor": "white", "lw": 0}
        axes.barh([PASSED], suspect, left=left, height=0.65, label=label, **look)
    if found.cut:
        hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "lw": 0, "hatch": "////"}
        label = f"cut at max_tokens: {sum(found.cut.values()):,}"
        axes.barh(kinds, cut, height=0.65, label=label, **hatched)
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    for row, (kind, number) in enumerate(found.kinds.items()):
        text = f"{number:,} ({found.share(kind)})"
        axes.annotate(text, (shares[row], row), (4, 0), **beside)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * shares.max())
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 1.25 * min(shares.max(), 0.8)])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(visible=False, axis="y")
    legend_below(figure, axes)
    return figure
