"""The report's section on single problems: the table, hardest first, and who is unsolved."""

from collections.abc import Iterator
from urllib.parse import quote

import polars as pl

from toolkit.report.blocks import Block, Heading, Paragraph, Picture, Table, percent, plain
from toolkit.report.document import FitDocument

MOST_NAMED = 40
"""Unsolved problems that are named one by one."""
MOST_LISTED = 200
"""Rows of the table; `counts.parquet` has all."""


def problem_blocks(
    document: FitDocument, counts: pl.DataFrame, browser: str | None
) -> Iterator[Block]:
    """Figure, unsolved problems, table. browser: the page of samples, to which each row links."""
    yield Heading("The problems")
    if document.samples_differ:
        yield Picture("difficulty", "Each problem's share of passing samples.")
    yield from _unsolved(counts)
    judged = counts.filter(pl.col("n") > 0).with_columns(rate=pl.col("c") / pl.col("n"))
    shown = judged.sort("rate", "task_id").head(MOST_LISTED)
    columns = _columns(judged)
    rows = [[_linked(row["task_id"], browser), *_cells(row, columns)] for row in shown.to_dicts()]
    yield Table(["problem", *columns], rows)
    if judged.height > MOST_LISTED:
        yield Paragraph(
            f"These are the {MOST_LISTED} hardest of {judged.height:,} problems. All are in "
            "`counts.parquet`."
        )


def _columns(judged: pl.DataFrame) -> list[str]:
    """What is known of each problem."""
    names = ["passed", "samples", "share"]
    if "distinct" in judged.columns:
        names.append("distinct answers")
    if {"tokens", "samples"} <= set(judged.columns) and not judged["tokens"].has_nulls():
        names.append("tokens a sample")
    return names


def _cells(row: dict[str, int], columns: list[str]) -> list[str]:
    values = {
        "passed": f"{row['c']:,}",
        "samples": f"{row['n']:,}",
        "share": percent(row["c"] / row["n"]),
        "distinct answers": f"{row.get('distinct', 0):,}",
        "tokens a sample": f"{(row.get('tokens') or 0) / max(1, row.get('samples') or 0):,.0f}",
    }
    return [values[name] for name in columns]


def _linked(task_id: str, browser: str | None) -> str:
    return f"[{plain(task_id)}]({browser}#{quote(task_id)})" if browser else plain(task_id)


def _unsolved(counts: pl.DataFrame) -> Iterator[Block]:
    names = counts.filter((pl.col("n") > 0) & (pl.col("c") == 0))["task_id"].to_list()
    shown = ", ".join(map(plain, names[:MOST_NAMED]))
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    if names:
        yield Paragraph(f"Unsolved: {shown}{rest}.")
    else:
        yield Paragraph("Every problem with samples is solved at least once.")
    if empty := counts.filter(pl.col("n") == 0)["task_id"].to_list():
        named = ", ".join(map(plain, empty))
        yield Paragraph(f"Without any sample, and left out: {named}.", warning=True)
