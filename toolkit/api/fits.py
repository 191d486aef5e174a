"""Fits of counts in memory: what `fit` finds, without files."""

import polars as pl

from toolkit.errors import UsageError
from toolkit.report.document import FitContext, FitDocument
from toolkit.stages.fit_document import fit_document
from toolkit.stats.curve import Counts
from toolkit.stats.forecast import Forecast
from toolkit.stats.forecast import forecast as forecast_counts
from toolkit.stats.stopping import StoppingRule


def fit(
    counts: pl.DataFrame,
    *,
    rule: StoppingRule | None = None,
    replicates: int = 1000,
    forecasts: bool = True,
    title: str = "counts",
) -> FitDocument:
    """What counts say: curve, intervals, fits, forecast and verdict, as fit.json has them.

    counts: one row for each problem, with the columns task_id, n, c. rule: by which sampling
    stopped, if n depends on the passes (`run.stopping_rule()`). replicates: of the bootstrap.
    Raises `UsageError` for counts that cannot be, and `ToolkitError` where every n is 0.
    """
    context = FitContext(title=title)
    return fit_document(_checked(counts), context, rule, replicates=replicates, forecasts=forecasts)


def forecast(
    counts: pl.DataFrame, *, rule: StoppingRule | None = None, replicates: int = 1000
) -> Forecast:
    """fail@k of such problems, measured and beyond; counts and rule as in `fit`.

    `.at(k)` is fail@k with its 95 % interval, `.reaches(coverage)` the smallest k with so much
    pass@k, and `.limit(k)` why there is no forecast at k, or None.
    """
    table = _checked(counts).filter(pl.col("n") > 0)
    if table.is_empty():
        raise UsageError("counts: no problem has a sample with a verdict (n > 0)")
    judged = Counts.of(table["n"].to_numpy(), table["c"].to_numpy(), rule)
    return forecast_counts(judged, replicates=replicates)


def _checked(counts: pl.DataFrame) -> pl.DataFrame:
    if missing := [name for name in ("task_id", "n", "c") if name not in counts.columns]:
        raise UsageError(f"counts: has no column {missing[0]!r}; needed are task_id, n and c")
    wrong = counts.filter((pl.col("c") > pl.col("n")) | (pl.col("c") < 0))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise UsageError(
            f"counts: {row['task_id']}: n = {row['n']}, c = {row['c']}: need 0 <= c <= n"
        )
    return counts
