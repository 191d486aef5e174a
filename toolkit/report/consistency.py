"""The report's section on how reliably problems are solved: its figure and its blocks."""

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from toolkit.report.blocks import Block, Heading, Paragraph, Picture, Table, percent
from toolkit.report.document import FitDocument
from toolkit.report.style import k_axis, new_figure, series_styles
from toolkit.stats.consistency import Consistency, Measured


def consistency_figure(document: FitDocument) -> Figure:
    """pass@k, G-Pass@k and pass^k against k, with the 95 % bands of such problems."""
    found = document.consistency
    assert found is not None  # whoever draws it has looked
    figure, axes = new_figure("tries per problem k", "share of the problems")
    curves = {f"at least {tau:.0%} of k pass": each for tau, each in found.g_pass_at_k.items()}
    curves["all k pass (pass^k)"] = found.pass_hat_k
    ks = list(found.pass_hat_k)
    first, *others = series_styles()
    passed = [document.pass_at_k[k] for k in ks if k in document.pass_at_k]
    axes.plot(ks[: len(passed)], passed, label="one of k passes (pass@k)", **first)
    for (label, points), style in zip(curves.items(), others, strict=False):
        low, high = ([getattr(p, end) for p in points.values()] for end in ("lo", "hi"))
        axes.fill_between(list(points), low, high, color=style["color"], alpha=0.13, lw=0)
        axes.plot(list(points), [p.estimate for p in points.values()], label=label, **style)
    k_axis(axes, ks)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=8)
    return figure


def consistency_blocks(document: FitDocument) -> Iterator[Block]:
    """What the measures are, and their values; nothing in results that have none."""
    found = document.consistency
    if found is None:
        return
    yield Heading("How reliably problems are solved")
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
