"""Samples joined with their verdicts, and the counts n and c of each problem."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from toolkit.records import NO_ANSWER, Judge, Slice
from toolkit.runs.answers import mapped_slices, scan_answers
from toolkit.runs.run import Run
from toolkit.runs.verdicts import decided_verdicts, outdated_answers
from toolkit.stats.stopping import StoppingRule


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as its files say.

    planned, sampled, evaluated: numbers of samples. open_problems: number of problems that need
    more samples by the run's stopping rule.
    """

    planned: int
    sampled: int
    evaluated: int
    slices: int
    slices_missing: int
    open_problems: int

    @property
    def complete(self) -> bool:
        """Whether every planned sample is evaluated and nothing is left to plan."""
        return self.planned == self.evaluated and not self.open_problems


def sample_outcomes(run: Run, judge: Judge) -> pl.DataFrame:
    """One row for each sample that has a map: task_id, seed, answer, outcome, passed, detail.

    outcome, passed and detail are null if this judge has no verdict. A sample without an answer has
    failed, and its `answer` is null.
    """
    return (
        _judged(run, mapped_slices(run), judge)
        .select(
            "task_id",
            "seed",
            "answer",
            "outcome",
            (pl.col("outcome") == "passed").alias("passed"),
            "detail",
        )
        .sort("task_id", "seed")
        .collect()
    )


def count_outcomes(run: Run, judge: Judge) -> pl.DataFrame:
    """One row for each problem, in the run's order: task_id, n, c, distinct, tokens, unjudged.

    n: samples with a verdict of this judge. c: those of them that passed. distinct: different
    answers among the n. tokens: output tokens of all samples. unjudged: samples without a verdict.

    Under a stopping rule, n and c are those of the look at which sampling stopped. If it has not
    stopped, they are those of the last look whose samples all have verdicts
    (`StoppingRule.settle`).
    """
    order = pl.DataFrame({"task_id": [p.task_id for p in run.problems()]})
    present = mapped_slices(run)
    if not present:
        zeros = [pl.lit(0, pl.UInt32).alias(c) for c in ("n", "c", "distinct")]
        return order.with_columns(
            *zeros, tokens=pl.lit(0, pl.UInt64), unjudged=pl.lit(0, pl.UInt32)
        )
    answers = _with_verdicts(
        scan_answers(run, present)
        .group_by("task_id", "answer")
        .agg(pl.len().cast(pl.UInt32).alias("samples")),
        run,
        judge,
    )
    judged, samples = pl.col("outcome").is_not_null(), pl.col("samples")
    counts = answers.group_by("task_id").agg(
        samples.filter(judged).sum().alias("n"),
        samples.filter(pl.col("outcome") == "passed").sum().alias("c"),
        (judged & pl.col("answer").is_not_null()).sum().cast(pl.UInt32).alias("distinct"),
        samples.filter(~judged).sum().alias("unjudged"),
    )
    tokens = (
        pl.scan_parquet([run.shard_path(s.name) for s in present])
        .group_by("task_id")
        .agg(pl.col("n_tokens").sum().cast(pl.UInt64).alias("tokens"))
    )
    joined = counts.join(tokens, on="task_id").collect()
    if rule := run.stopping_rule():
        settled = _settle(run, present, judge, rule)
        joined = joined.drop("n", "c").join(settled, on="task_id")
    columns = ["n", "c", "distinct", "tokens", "unjudged"]
    return order.join(joined, on="task_id", how="left", maintain_order="left").select(
        "task_id", pl.col(columns).fill_null(0)
    )


def _settle(run: Run, present: list[Slice], judge: Judge, rule: StoppingRule) -> pl.DataFrame:
    """task_id, n and c by the rule, from the verdicts between each look and the next."""
    batch = pl.sum_horizontal(pl.col("seed") >= t for t in rule.looks)
    batches = (
        _judged(run, present, judge)
        .group_by("task_id", batch.cast(pl.Int64).alias("batch"))
        .agg(
            pl.col("outcome").is_not_null().sum().alias("judged"),
            (pl.col("outcome") == "passed").sum().alias("passed"),
        )
        .filter(pl.col("batch") < len(rule.looks))
        .collect()
    )
    names = batches["task_id"].unique(maintain_order=True)
    row = names.to_frame().with_row_index("row").join(batches, on="task_id", maintain_order="right")
    judged, passed = (np.zeros((len(names), len(rule.looks)), dtype=np.int64) for _ in range(2))
    judged[row["row"], row["batch"]] = row["judged"]
    passed[row["row"], row["batch"]] = row["passed"]
    n, c = rule.settle(judged, passed)
    schema = {"task_id": pl.String(), "n": pl.UInt32(), "c": pl.UInt32()}
    return pl.DataFrame({"task_id": names, "n": n, "c": c}, schema=schema)


def progress(run: Run, counts: pl.DataFrame) -> Progress:
    """What is planned, sampled and evaluated. `counts` is a result of `count_outcomes`."""
    slices, done, rule = run.slices(), run.done(), run.stopping_rule()
    pairs = counts.select("n", "c").iter_rows()
    return Progress(
        planned=sum(map(len, slices)),
        sampled=sum(len(s) for s in slices if s.name in done),
        evaluated=int(counts["n"].sum()),
        slices=len(slices),
        slices_missing=sum(s.name not in done for s in slices),
        open_problems=sum(rule.next_look(n, c) is not None for n, c in pairs) if rule else 0,
    )


def outdated_samples(run: Run, judge: Judge) -> int:
    """How many samples only an older version of this judge has decided. They are judged again."""
    found = outdated_answers(run, judge)
    if found.is_empty():
        return 0
    samples = scan_answers(run, mapped_slices(run))
    outdated = samples.join(found.lazy(), on=["task_id", "answer"], how="semi")
    return int(outdated.select(pl.len()).collect().item())


def _judged(run: Run, present: list[Slice], judge: Judge) -> pl.LazyFrame:
    """The samples of these slices, with outcome and detail; null if there is no verdict."""
    return _with_verdicts(scan_answers(run, present), run, judge)


def _with_verdicts(answers: pl.LazyFrame, run: Run, judge: Judge) -> pl.LazyFrame:
    """Join the verdicts. A sample without an answer needs no verdict: it has failed."""
    verdicts = decided_verdicts(run, judge).select("task_id", "answer", "outcome", "detail")
    none, kind = pl.col("answer").is_null(), verdicts.schema["outcome"]
    return answers.join(verdicts.lazy(), on=["task_id", "answer"], how="left").with_columns(
        pl.when(none).then(pl.lit("failed").cast(kind)).otherwise("outcome").alias("outcome"),
        pl.when(none).then(pl.lit(NO_ANSWER)).otherwise("detail").alias("detail"),
    )
