"""Samples that two judges have decided: weak tests, and strong ones that are taken as the truth."""

import numpy as np
import polars as pl

from toolkit.records import Judge
from toolkit.runs.answers import mapped_slices
from toolkit.runs.damage import naming_damage
from toolkit.runs.outcomes import judged_answers
from toolkit.runs.run import Run
from toolkit.stats.weak_tests import TwoVerdicts


@naming_damage
def two_verdicts(run: Run, weak: Judge, strong: Judge) -> TwoVerdicts | None:
    """The counts of each problem by both judges; None without a sample that both have decided.

    A sample that only one of them has decided is left out.
    """
    present = mapped_slices(run)
    if not present:
        return None
    first, second = (
        judged_answers(run, judge, present)
        .filter(pl.col("outcome").is_not_null())
        .select("task_id", "answer", "samples", passed=pl.col("outcome") == "passed")
        for judge in (weak, strong)
    )
    both = first.join(second, on=["task_id", "answer"], suffix="_strong", nulls_equal=True)
    samples = pl.col("samples").cast(pl.Int64)
    table = (
        both.group_by("task_id", maintain_order=True)
        .agg(
            samples.sum().alias("n"),
            samples.filter("passed").sum().alias("weak"),
            samples.filter(pl.col("passed") & pl.col("passed_strong")).sum().alias("both"),
            samples.filter(~pl.col("passed") & pl.col("passed_strong")).sum().alias("missed"),
        )
        .sort("task_id")
    )
    if table.is_empty():
        return None
    columns = (table[name].to_numpy().astype(np.int64) for name in ("n", "weak", "both", "missed"))
    return TwoVerdicts(table["task_id"].to_list(), *columns)
