"""Counts of samples made elsewhere, from a CSV file."""

from pathlib import Path

import polars as pl

from toolkit.errors import UsageError
from toolkit.stats.stopping import StoppingRule


def read_counts_csv(path: Path, rule: StoppingRule | None = None) -> pl.DataFrame:
    """Counts from a CSV file with columns problem_id or task_id, n, c; others are ignored.

    Raises `UsageError` naming file, line and column, also for counts that `rule` cannot have left.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"--counts {path}: cannot be read: {str(error).splitlines()[0]}") from None
    key = next((name for name in ("task_id", "problem_id") if name in frame.columns), None)
    if key is None or not {"n", "c"} <= set(frame.columns):
        raise UsageError(f"--counts {path}: needs the columns problem_id (or task_id), n and c")
    numbers = frame.select(pl.col("n", "c").str.strip_chars().cast(pl.Int64, strict=False))
    valid = numbers.select(
        (pl.col("n") >= 0) & (pl.col("c") >= 0) & (pl.col("c") <= pl.col("n"))
    ).to_series()
    for line, holds in enumerate(valid, start=2):
        if not holds:
            row = frame.row(line - 2, named=True)
            raise UsageError(
                f"--counts {path}:{line}: n = {row['n']}, c = {row['c']}: need 0 <= c <= n"
            )
    for line, (n, c) in enumerate(numbers.iter_rows(), start=2):
        if rule and n and (n not in rule.looks or rule.before(n, c) >= rule.r):
            raise UsageError(
                f"--counts {path}:{line}: n = {n}, c = {c}: the stopping rule leaves no such "
                f"counts (it looks after {_listed(rule.looks)} samples, stops at {rule.r} passes)"
            )
    if frame[key].is_duplicated().any():
        twice = frame[key].filter(frame[key].is_duplicated())[0]
        raise UsageError(f"--counts {path}: problem {twice} has more than one row")
    return pl.DataFrame({"task_id": frame[key], "n": numbers["n"], "c": numbers["c"]})


def _listed(looks: tuple[int, ...]) -> str:
    return ", ".join(map(str, looks if len(looks) < 9 else (*looks[:3], "...", *looks[-2:])))
