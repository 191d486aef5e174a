"""The report's section on weak tests: its figure, its blocks, and the warning at the report's head.

The judge is the run's own; another one beside it, by stronger tests, is taken as the truth.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from toolkit.cli import how_many
from toolkit.report.blocks import Block, Heading, Paragraph, Picture, Table, percent, plain
from toolkit.report.document import FitDocument
from toolkit.report.style import (
    APART,
    GREY,
    error_bars,
    k_axis,
    legend_below,
    new_figure,
    series_styles,
)
from toolkit.stats.forecast import Interval
from toolkit.stats.weak_tests import WeakTests

MOST_NAMED = 20
"""Problems with false positives that are named one by one."""


def figure_name(judge: str) -> str:
    """The name of the figure for this judge, without suffix."""
    return f"weak_tests-{judge}"


def weak_tests_figure(found: WeakTests, judge: str) -> Figure:
    """Claimed coverage and the accuracy of the first passing answer against k; the ceiling.

    Intervals are bars side by side: one band would hide the other.
    """
    figure, axes = new_figure("tries per problem k", "share of the problems")
    drawn = {"claimed by the run's own tests": found.claimed, f"right by {judge}": found.accuracy}
    sides = zip(drawn.items(), (1 / APART, APART), series_styles(), strict=False)
    for (label, by_k), aside, style in sides:
        low, high = (np.array([getattr(p, end) for p in by_k.values()]) for end in ("lo", "hi"))
        beside = [aside * k for k in by_k]
        error_bars(axes, beside, (low, high), style["color"], None)
        axes.plot(beside, [p.estimate for p in by_k.values()], label=label, **style)
    ceiling = found.ceiling
    axes.axhspan(ceiling.lo, ceiling.hi, facecolor="none", edgecolor=GREY, hatch="...", lw=0)
    axes.axhline(ceiling.estimate, color=GREY, ls="--", label="ceiling, with its 95 % interval")
    k_axis(axes, list(found.claimed))
    axes.set_ylim(-0.02, 1.02)  # whole markers at 0 and at 1
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend_below(figure, axes)
    return figure


def weak_tests_warnings(document: FitDocument) -> Iterator[Block]:
    """A warning for each judge beside, where the claimed coverage is above the ceiling."""
    for judge, found in (document.weak_tests or {}).items():
        k, claimed = found.largest_claim
        ceiling = found.ceiling
        if not found.false_positives or claimed <= ceiling.estimate:
            continue
        sure = (
            "above" if found.above_ceiling else "above the estimate of, but within the interval of,"
        )
        yield Paragraph(
            f"The run's own tests claim {percent(claimed)} at k = {k}. By {judge}, "
            f"{found.false_positives:,} of {found.passes:,} passes are false. So a user who takes "
            f"the first answer that passes is right on about {percent(ceiling.estimate)} "
            f"(95 %: {_ends(ceiling)}), however large k is. The claim is {sure} this ceiling.",
            warning=True,
        )


def weak_tests_blocks(document: FitDocument) -> Iterator[Block]:
    """What the weak tests are worth; nothing where no other judge has decided the samples."""
    for judge, found in (document.weak_tests or {}).items():
        yield Heading(f"What the tests are worth, by {judge}")
        yield Picture(figure_name(judge), "Claimed coverage, and what of it is right.")
        yield Paragraph(
            f"{found.samples:,} samples of {how_many(found.problems, 'problem')} have a verdict by "
            "both. Of "
            f"{found.passes:,} passes {judge} refuses {found.false_positives:,}: false positives. "
            f"It passes {found.missed:,} samples that the run's own tests refuse."
        )
        yield Paragraph(
            "*Claimed* is pass@k by the run's own tests. *Right* is the share of the problems on "
            "which the first of k samples that passes them is right (arXiv 2411.17501). "
            "*False* is the share of the claimed problems that are not. 95 % intervals, such "
            "problems."
        )
        rows = [
            [
                str(k),
                *(
                    _cell(column[k])
                    for column in (found.claimed, found.accuracy, found.false_share)
                ),
            ]
            for k in found.claimed
        ]
        yield Table(["k", "claimed", "right", "false"], rows)
        yield Paragraph(
            f"Ceiling of the true coverage: {_cell(found.ceiling)}. Problems without a pass, here "
            f"{found.unsolved}, count as 0 in the estimate and at the lower end, and as 1 at the "
            "upper end: what a pass of theirs would be worth is not known."
        )
        yield from _problems(found)


def _problems(found: WeakTests) -> Iterator[Block]:
    worst = sorted(found.by_problem.items(), key=lambda each: (each[1].estimate, each[0]))
    if not worst:
        yield Paragraph("No problem has a false positive.")
        return
    rows = [[plain(name), _cell(share)] for name, share in worst[:MOST_NAMED]]
    yield Table(["problem", "passes that are right, 95 %"], rows)
    if len(worst) > MOST_NAMED:
        yield Paragraph(f"More problems with false positives: {len(worst) - MOST_NAMED}, fit.json.")


def _cell(found: Interval) -> str:
    return f"{percent(found.estimate)} ({_ends(found)})"


def _ends(found: Interval) -> str:
    return f"{100 * found.lo:.1f} to {100 * found.hi:.1f} %"
