"""The report's section on what lies beyond the samples: the forecast, and how it was judged."""

from collections.abc import Iterator, Sequence

from toolkit.cli import how_many
from toolkit.report.blocks import Block, Paragraph, Table, number, percent, span
from toolkit.report.document import FitDocument
from toolkit.report.findings import FamilyStanding
from toolkit.stats.ensemble import REJECTED
from toolkit.stats.measured import CELLS, REPETITIONS, mean_coverage, nearest_cells


def forecast_blocks(document: FitDocument) -> Iterator[Block]:
    """Why there is none, or the table, the families behind it, and how such intervals did."""
    if reason := document.no_forecast:
        yield Paragraph(f"No forecast beyond k = {document.k_max}: {reason}.", warning=True)
    yield _forecast_table(document)
    if document.families:
        yield from _families(document.families)
    if not document.no_forecast:
        yield from _measured_for_such(document)
    yield Paragraph(
        "*Model-free* is a 95 % interval for such problems over all laws of p that the counts do "
        "not reject (Ignatiadis and Wager 2022). It is wide, and it is what remains without a "
        "family. The bracket needs no law either. It holds for these problems, and does not allow "
        "for sampling error."
    )


def _forecast_table(document: FitDocument) -> Table:
    rows = []
    these, free = document.same_problems_band or {}, document.model_free or {}
    for k in sorted({*document.forecast, *document.bracket, *free}):
        if k < document.k_max:
            continue
        ahead, bracket = document.forecast.get(k), document.bracket.get(k)
        same = number(document.same_problems.get(k))
        if k in these:
            same += f" ({span(these[k].lo, these[k].hi)})"
        rows.append(
            [
                str(k),
                number(ahead.estimate) if ahead else "-",
                span(ahead.lo, ahead.hi) if ahead else "-",
                same,
                span(free[k].lo, free[k].hi) if k in free else "-",
                span(bracket.lower, bracket.upper) if bracket else "-",
            ]
        )
    header = "k|fail@k|95 %, such problems|these problems (95 %)|model-free|bracket"
    return Table(header.split("|"), rows)


def _families(families: Sequence[FamilyStanding]) -> Iterator[Block]:
    yield Paragraph(
        "A forecast goes on from the measured fail@k without a jump, by an ensemble of families. "
        "Each was fitted to a part of every problem's samples, and forecast what all samples show. "
        "By these held-out errors the families are weighted. One whose error is over "
        f"{REJECTED:g} standard errors is rejected and has no say."
    )
    rows = [
        [
            family.name,
            "rejected" if family.rejected else f"{family.weight:.2f}",
            number(family.error),
            f"{family.z:.1f}",
        ]
        for family in families
    ]
    yield Table(
        ["family", "weight", "error of log fail@k, from half of the samples", "standard errors"],
        rows,
    )


def _measured_for_such(document: FitDocument) -> Iterator[Block]:
    """How the interval did in simulations that resemble the case."""
    cells = nearest_cells(document.problems, document.k_max)
    rows = [[c.source, str(c.problems), str(c.n), f"{c.k / c.n:g}", f"{c.held:.2f}"] for c in cells]
    yield Paragraph(
        f"The interval was judged in {len(CELLS)} cases of {len({c.source for c in CELLS})} sets "
        f"and laws, with problems drawn anew and {REPETITIONS} repetitions each "
        f"(docs/forecasts.md). It held the truth in {percent(mean_coverage())} on average. The "
        "most similar cases:"
    )
    yield Table(["set or law", "problems", "n", "K / n", "held"], rows)
    if document.stopping:
        yield Paragraph(
            "In all of these cases n was fixed. Here it was not: the cases were chosen by the cap."
        )
    yield Paragraph(_tested(document))


def _tested(document: FitDocument) -> str:
    """Up to where the interval was tested, and whether this case is within."""
    problems, n = [c.problems for c in CELLS], [c.n for c in CELLS]
    farthest = max(c.k / c.n for c in CELLS)
    said = (
        f"Tested were {min(problems)} to {max(problems)} problems with n = {min(n)} to {max(n)}, "
        f"and K up to {farthest:g} n; beyond that nothing is forecast. Nothing is promised for a "
        "law that is unlike all of them."
    )
    outside = []
    if not min(problems) <= document.problems <= max(problems):
        outside.append(how_many(document.problems, "problem"))
    if not min(n) <= document.k_max <= max(n):
        outside.append(f"n = {document.k_max:,}")
    if outside:
        said += f" This case ({', '.join(outside)}) lies outside of what was tested."
    return said
