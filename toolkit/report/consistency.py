"""The report's section on how reliably problems are solved: its figure and its blocks."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from toolkit.report.blocks import Block, Heading, Paragraph, Picture, Table, percent
from toolkit.report.document import FitDocument
from toolkit.report.style import (
    APART,
    error_bars,
    k_axis,
    legend_below,
    new_figure,
    series_styles,
)
from toolkit.stats.consistency import Consistency, Measured


def consistency_figure(document: FitDocument) -> Figure:
    """pass@k, G-Pass@k and pass^k against k, with the 95 % intervals of such problems.

    Intervals are bars side by side: four bands would hide one another.
    """
    found = document.consistency
    assert found is not None  # whoever draws it has looked
    figure, axes = new_figure("tries per problem k", "share of the problems")
    ks = list(found.pass_hat_k)
    passed = {k: document.pass_at_k[k] for k in ks if k in document.pass_at_k}
    bands = [document.band[k] for k in passed]
    ends = np.array([[1 - b.hi for b in bands], [1 - b.lo for b in bands]])
    curves = [("one of k passes (pass@k)", list(passed), list(passed.values()), ends)]
    others = {f"at least {tau:.0%} of k pass": each for tau, each in found.g_pass_at_k.items()}
    for label, points in (others | {r"all k pass (pass$^k$)": found.pass_hat_k}).items():
        values = [p.estimate for p in points.values()]
        ends = np.array([[p.lo for p in points.values()], [p.hi for p in points.values()]])
        curves.append((label, list(points), values, ends))
    for i, ((label, k, values, ends), style) in enumerate(
        zip(curves, series_styles(), strict=False)
    ):
        beside = np.array(k) * APART ** (i - (len(curves) - 1) / 2)
        error_bars(axes, beside.tolist(), (ends[0], ends[1]), style["color"], None)
        axes.plot(beside, values, label=label, **style)
    k_axis(axes, ks)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend_below(figure, axes, columns=2)
    return figure


def consistency_blocks(document: FitDocument) -> Iterator[Block]:
    """What the measures are, and their values; nothing in results that have none."""
    found = document.consistency
    if found is None:
        return
    yield Heading("How reliably problems are solved")
    if document.samples_differ:
        yield Picture("consistency", "One of k tries passes, at least a share of them, or all.")
    yield Paragraph(
        "pass@k asks whether one of k tries passes. *pass^k* asks whether all do, *G-Pass@k* "
        "whether at least a share of them does (arXiv 2412.13147). *mG-Pass@k* is the mean of "
        "G-Pass@k over shares from one half to one; at an odd k it is at most (k - 1)/k."
    )
    halves = {f"G-Pass@k, {tau:g}": each for tau, each in found.g_pass_at_k.items()}
    columns = {"pass^k": found.pass_hat_k} | halves | {"mG-Pass@k": found.mean_g_pass_at_k}
    rows = [
        [
            str(k),
            *(_with_interval(column[k]) if k in column else "-" for column in columns.values()),
        ]
        for k in found.pass_hat_k
    ]
    yield Table(["k", *columns], rows)
    yield Paragraph(
        "*Cover@tau* is the share of the problems of which at least a share tau of the samples "
        "passes (arXiv 2510.08325). A problem near tau may fall on either side by chance."
    )
    yield Table(["tau", "Cover@tau", "95 %, such problems", "95 %, these problems"], _cover(found))
    yield Paragraph(
        "In the first table the intervals speak of such problems. They add half a problem at "
        "either end, those of the curve a whole one: so for pass@1 these are a little shorter. In "
        "fit.json each value also has a credible interval for these problems. Its prior is the "
        "Beta that fits these counts."
    )


def _cover(found: Consistency) -> list[list[str]]:
    return [
        [
            f"{tau:g}",
            percent(each.estimate),
            _percents(each.lo, each.hi),
            _percents(each.credible_lo, each.credible_hi),
        ]
        for tau, each in found.cover_at.items()
    ]


def _with_interval(found: Measured | None) -> str:
    if found is None:
        return "-"
    return f"{percent(found.estimate)} ({100 * found.lo:.1f} to {100 * found.hi:.1f})"


def _percents(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"
