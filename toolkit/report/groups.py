"""Curves of groups of problems, by a column of their data, and of runs by a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from toolkit.errors import UsageError
from toolkit.problems.rows import read_rows
from toolkit.problems.task import read_task
from toolkit.report.document import read_fit
from toolkit.runs.run import open_run, result_file
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.bayes import mean_intervals
from toolkit.stats.curve import Counts
from toolkit.stats.passk import k_grid

REPLICATES = 1000
MOST_GROUPS = 12
"""Numbers with more different values are cut into quarters."""
SETTINGS = ("temperature", "top_p", "max_tokens")


@dataclass(frozen=True, slots=True)
class GroupCurve:
    """pass@k of a group with its 95 % interval, of such problems; arrays have the shape of `k`."""

    label: str
    problems: int
    k: Ints
    passed: Floats
    lo: Floats
    hi: Floats


def group_curve(label: str, counts: Counts) -> GroupCurve:
    """The curve of these problems, up to the largest k that all of them support."""
    k = k_grid(counts.k_max)
    values = 1 - counts.fail_at_k(k)
    lo, hi = mean_intervals(values, REPLICATES, np.random.default_rng(0))
    return GroupCurve(label, len(counts), k, values.mean(axis=0), lo, hi)


def curves_by(path: Path, column: str, values: Mapping[str, str]) -> list[GroupCurve]:
    """A curve for each value. values: task_id -> its value, in which a group is one value.

    Raises `UsageError` where a problem of the run has no value.
    """
    table = _counts(path)
    missing = [name for name in table["task_id"] if name not in values]
    if missing:
        raise UsageError(
            f"--by {column}: problems of {path} without a value: {len(missing)}, such as "
            f"{missing[0]}"
        )
    fit = read_fit(open_run(path).results_dir)
    labels = [values[name] for name in table["task_id"]]
    found = []
    for label in dict.fromkeys(v for v in values.values() if v in set(labels)):
        rows = table.filter(pl.Series([each == label for each in labels]))
        found.append(group_curve(label, Counts.of(rows["n"], rows["c"], fit.stopping)))
    return found


def _counts(path: Path) -> pl.DataFrame:
    table = pl.read_parquet(result_file(open_run(path), "counts.parquet"))
    return table.filter(pl.col("n") > 0).select("task_id", "n", "c")


def column_of_file(source: Path, column: str, task: str = "") -> dict[str, str]:
    """task_id -> group, from a column of a table of problems; groups in ascending order.

    source: JSONL (or .gz) or parquet. Its rows have `task_id`, or they are a task's data as
    published, and `task` names it. Raises `UsageError` for a column or an id that is missing.
    """
    if not source.is_file():
        raise UsageError(f"--of {source}: no such file; give a table of problems with {column!r}")
    rows = list(read_rows(source))
    for where, row in rows:
        if row.get(column) is None:
            known = ", ".join(sorted(row))
            raise UsageError(f"{where}: no field {column!r}; there is: {known}")
    if task:
        ids = [problem.task_id for problem in read_task(task).problems(source)]
    else:
        for where, row in rows:
            if not isinstance(row.get("task_id"), str):
                raise UsageError(
                    f"{where}: no field 'task_id'; if these are a task's data as published, name "
                    "it with --task"
                )
        ids = [row["task_id"] for _, row in rows]
    return _grouped(ids, [row[column] for _, row in rows], column)


def rate_in_run(path: Path) -> dict[str, str]:
    """task_id -> the quarter of its pass rate in another run, hardest first.

    Of another run, since the luck of a run's own samples would be taken for easiness.
    """
    table = _counts(path)
    rates = (table["c"] / table["n"]).to_list()
    return _grouped(table["task_id"].to_list(), rates, "pass rate", cut=True)


def _grouped(
    ids: Sequence[str], values: Sequence[object], column: str, *, cut: bool = False
) -> dict[str, str]:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    distinct = set(map(str, values))
    if numeric and (cut or len(distinct) > MOST_GROUPS):
        return _quarters(ids, np.array(values, dtype=np.float64), column)
    if len(distinct) > MOST_GROUPS:
        raise UsageError(
            f"--by {column}: {len(distinct)} different values; at most {MOST_GROUPS} can be shown"
        )
    order = sorted(
        zip(values, ids, strict=True),
        key=lambda each: (float(str(each[0])), "") if numeric else (0.0, str(each[0])),
    )
    return {name: f"{column} {value}" if numeric else str(value) for value, name in order}


def _quarters(ids: Sequence[str], values: Floats, column: str) -> dict[str, str]:
    """Problems of equal values stay together, so that quarters may differ in size."""
    ends = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="higher"))
    quarter = np.searchsorted(ends, values, side="left")
    found: dict[str, str] = {}
    for index in np.unique(quarter):
        here = values[quarter == index]
        label = f"{column} {here.min():.3g} to {here.max():.3g}"
        found |= {ids[i]: label for i in np.flatnonzero(quarter == index)}
    return found


def runs_over(paths: Sequence[Path], setting: str) -> dict[float, GroupCurve]:
    """Value of a sampling setting -> the curve of the run with it, on the problems in common.

    Raises `UsageError` for a run without the setting, two runs with the same value, and runs
    without a problem in common.
    """
    tables, found = {}, {}
    for path in paths:
        fit = read_fit(open_run(path).results_dir)
        value = getattr(fit.sampling, setting) if fit.sampling else None
        if value is None:
            raise UsageError(f"--over {setting}: {path} was sampled without one")
        if value in tables:
            raise UsageError(f"--over {setting}: {path} has {value:g} as another run has")
        tables[float(value)] = (_counts(path), fit.stopping)
    common = set.intersection(*(set(table["task_id"]) for table, _ in tables.values()))
    if not common:
        raise UsageError(f"--over {setting}: the runs have no problem in common")
    for value in sorted(tables):
        table, rule = tables[value]
        rows = table.filter(pl.col("task_id").is_in(list(common)))
        found[value] = group_curve(f"{setting} {value:g}", Counts.of(rows["n"], rows["c"], rule))
    return found
