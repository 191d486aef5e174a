"""Samples joined with their verdicts, and the counts n and c of every problem."""

from dataclasses import dataclass

import polars as pl

from toolkit.evaluate import decided, scan_programs
from toolkit.records import Slice
from toolkit.store import Run, read_verdicts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in samples and slices, as its files say."""

    planned: int
    sampled: int
    evaluated: int
    slices: int
    slices_missing: int

    @property
    def complete(self) -> bool:
        """Nothing planned is missing."""
        return self.planned == self.evaluated


def sample_outcomes(run: Run, timeout: float) -> pl.DataFrame:
    """One row a sample that has a program map: task_id, seed, program, outcome, passed, detail.

    outcome, passed and detail are null where the program has no verdict under this timeout.
    """
    return (
        scan_programs(run, mapped_slices(run))
        .join(_verdicts(run, timeout), on=["task_id", "program"], how="left")
        .select(
            "task_id",
            "seed",
            "program",
            "outcome",
            (pl.col("outcome") == "passed").alias("passed"),
            "detail",
        )
        .sort("task_id", "seed")
        .collect()
    )


def count_outcomes(run: Run, timeout: float) -> pl.DataFrame:
    """One row a problem, in the run's order: task_id, n, c, distinct, tokens, unjudged.

    n: samples with a verdict; c: those that passed; distinct: programs among the n;
    tokens: output tokens of the sampled completions; unjudged: samples without a verdict.
    """
    order = pl.DataFrame({"task_id": [p.task_id for p in run.problems()]})
    present = mapped_slices(run)
    if not present:
        zeros = [pl.lit(0, pl.UInt32).alias(c) for c in ("n", "c", "distinct")]
        return order.with_columns(
            *zeros, tokens=pl.lit(0, pl.UInt64), unjudged=pl.lit(0, pl.UInt32)
        )
    programs = (
        scan_programs(run, present)
        .group_by("task_id", "program")
        .agg(pl.len().cast(pl.UInt32).alias("samples"))
        .join(_verdicts(run, timeout), on=["task_id", "program"], how="left")
    )
    judged, samples = pl.col("outcome").is_not_null(), pl.col("samples")
    counts = programs.group_by("task_id").agg(
        samples.filter(judged).sum().alias("n"),
        samples.filter(pl.col("outcome") == "passed").sum().alias("c"),
        judged.sum().cast(pl.UInt32).alias("distinct"),
        samples.filter(~judged).sum().alias("unjudged"),
    )
    tokens = (
        pl.scan_parquet([run.shard_path(s.name) for s in present])
        .group_by("task_id")
        .agg(pl.col("n_tokens").sum().cast(pl.UInt64).alias("tokens"))
    )
    joined = counts.join(tokens, on="task_id").collect()
    columns = ["n", "c", "distinct", "tokens", "unjudged"]
    return order.join(joined, on="task_id", how="left", maintain_order="left").select(
        "task_id", pl.col(columns).fill_null(0)
    )


def progress(run: Run, counts: pl.DataFrame) -> Progress:
    """What is planned, sampled and evaluated; `counts` as from `count_outcomes`."""
    slices, done = run.slices(), run.done()
    return Progress(
        planned=sum(map(len, slices)),
        sampled=sum(len(s) for s in slices if s.name in done),
        evaluated=int(counts["n"].sum()),
        slices=len(slices),
        slices_missing=sum(s.name not in done for s in slices),
    )


def mapped_slices(run: Run) -> list[Slice]:
    """The planned slices that have a shard and a program map."""
    mapped = {p.stem for p in run.programs_dir.glob("*.parquet")} & run.done()
    return [s for s in run.slices() if s.name in mapped]


def _verdicts(run: Run, timeout: float) -> pl.LazyFrame:
    verdicts = decided(read_verdicts(run, timeout))
    return verdicts.select("task_id", "program", "outcome", "detail").lazy()
