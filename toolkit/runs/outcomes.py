"""Samples joined with their verdicts, and the counts n and c of each problem."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from toolkit.records import NO_ANSWER, Judge, Slice
from toolkit.runs.answers import Chosen, mapped_slices, scan_answers
from toolkit.runs.damage import naming_damage
from toolkit.runs.problem_groups import ProblemGroup, group_files
from toolkit.runs.run import Run
from toolkit.runs.shards import scan_samples
from toolkit.runs.verdicts import Decided, decided_verdicts, read_decided
from toolkit.stats.stopping import StoppingRule

COUNT_COLUMNS = pl.Schema(
    {"task_id": pl.String()}
    | {name: pl.UInt32() for name in ("n", "c", "suspect", "distinct")}
    | {"tokens": pl.UInt64(), "unjudged": pl.UInt32(), "samples": pl.UInt32()}
)
IS_SUSPECT = pl.col("suspect").list.len() > 0
"""Whether a verdict, or a sample with its verdict, is a pass that is suspect."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as its files say.

    planned, sampled, evaluated: numbers of samples. open_problems: number of problems that need
    more samples by the run's stopping rule.
    """

    planned: int
    sampled: int
    evaluated: int
    open_problems: int

    @property
    def complete(self) -> bool:
        """Whether every planned sample is evaluated and nothing is left to plan."""
        return self.planned == self.evaluated and not self.open_problems


@naming_damage
def sample_outcomes(
    run: Run, judge: Judge, beside: Mapping[str, Judge] | None = None
) -> pl.DataFrame:
    """One row for each sample that has a map, sorted by task_id and seed.

    - task_id, seed: the sample. answer: digest of its answer, null if it has none.
    - outcome, kind, passed, detail, suspect: of its verdict; null if this judge has none. A sample
      without an answer has failed, with the kind `no_answer`.
    - canonical: a form that equal answers share, "" for the answer's own text.
    - finish_reason: why its completion ended, such as `length`.
    - passed_NAME: whether it passed by the judge NAME of `beside`; null if that one has no verdict.

    beside: name -> a judge that the run has besides its own (`toolkit.runs.second_judge`).
    """
    present, verdicts = mapped_slices(run), decided_verdicts(run, judge)
    key = ["task_id", "seed"]
    endings = _samples(run, present).select(*key, "finish_reason")
    passed = (pl.col("outcome") == "passed").alias("passed")
    found = (
        _with_verdicts(scan_answers(run, present), verdicts)
        .join(endings, on=key, how="left")
        .select(
            "task_id",
            "seed",
            "answer",
            "outcome",
            "kind",
            passed,
            "detail",
            "suspect",
            "canonical",
            "finish_reason",
        )
    )
    for name, other in (beside or {}).items():
        judged = _with_verdicts(scan_answers(run, present), decided_verdicts(run, other))
        found = found.join(judged.select(*key, passed.alias(f"passed_{name}")), on=key, how="left")
    return found.sort(key).collect()


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """A group of problems. answers: as `judged_answers` gives them."""

    group: ProblemGroup
    decided: Decided
    answers: pl.DataFrame

    @property
    def outdated(self) -> int:
        """How many samples only an older version of the judge has decided."""
        key = ["task_id", "answer"]
        found = self.answers.join(self.decided.outdated, on=key, how="semi")["samples"].sum()
        return int(found)


def judged_groups(run: Run, judge: Judge, present: Sequence[Slice]) -> Iterator[JudgedGroup]:
    """One group of a run's problems after the other, so that memory does not grow with the run.

    present: the slices to read, each with a shard and a map.
    """
    for group in group_files(run, present):
        decided = read_decided(run, judge, group.files, Chosen(group.task_ids))
        yield JudgedGroup(group, decided, _answers_of(run, group, decided.verdicts))


def judged_answers(run: Run, judge: Judge, present: Sequence[Slice]) -> pl.DataFrame:
    """One row for each distinct answer to a problem, and one for its samples without an answer.

    - task_id, answer: the answer, null for none.
    - samples, cut, tokens: of the samples with this answer, how many there are, how many ended at
      max_tokens (finish_reason `length`), and their output tokens, null if they are not known.
    - outcome, kind, detail, suspect: of its verdict, as in `sample_outcomes`.

    present: the slices to read, each with a shard and a map.
    """
    return pl.concat(each.answers for each in judged_groups(run, judge, present))


def _answers_of(run: Run, group: ProblemGroup, verdicts: pl.DataFrame) -> pl.DataFrame:
    samples = _of_group(_samples(run, group.slices), group).select(
        "task_id", "seed", "n_tokens", (pl.col("finish_reason") == "length").alias("cut")
    )
    answers = (
        _of_group(scan_answers(run, group.slices), group)
        .join(samples, on=["task_id", "seed"], how="left")
        .group_by("task_id", "answer")
        .agg(
            pl.len().cast(pl.UInt32).alias("samples"),
            pl.col("cut").sum().cast(pl.UInt32),
            _sum_of_known(pl.col("n_tokens").cast(pl.UInt64)).alias("tokens"),
        )
    )
    return _with_verdicts(answers, verdicts).collect()


def _of_group(rows: pl.LazyFrame, group: ProblemGroup) -> pl.LazyFrame:
    """The rows of the group's problems: its slices may hold others too."""
    if group.task_ids is None:
        return rows
    return rows.filter(pl.col("task_id").is_in(list(group.task_ids)))


def _samples(run: Run, present: Sequence[Slice]) -> pl.LazyFrame:
    return scan_samples([run.shard_path(s.name) for s in present])


@naming_damage
def count_outcomes(run: Run, judge: Judge) -> pl.DataFrame:
    """One row for each problem, in the run's order: the columns of `COUNT_COLUMNS`.

    n: samples with a verdict of this judge. c: those of them that passed. suspect: those of the c
    that are suspect. distinct: different answers among the n. tokens: output tokens of all samples,
    null if they are not known. unjudged: samples without a verdict. samples: all samples, judged or
    not.

    Under a stopping rule, n, c and suspect are those of the look at which sampling stopped. If it
    has not stopped, they are those of the last look whose samples all have verdicts
    (`StoppingRule.settle`).
    """
    groups, rule = judged_groups(run, judge, mapped_slices(run)), run.stopping_rule()
    return in_order(run, [counts_of(run, each, rule) for each in groups])


def counts_of(run: Run, judged: JudgedGroup, rule: StoppingRule | None) -> pl.DataFrame:
    """The counts of the problems of a group that have samples, in any order. See `in_order`.

    rule: the run's stopping rule.
    """
    has_verdict, samples = pl.col("outcome").is_not_null(), pl.col("samples")
    counts = judged.answers.group_by("task_id").agg(
        samples.filter(has_verdict).sum().alias("n"),
        samples.filter(pl.col("outcome") == "passed").sum().alias("c"),
        samples.filter(IS_SUSPECT).sum().alias("suspect"),
        (has_verdict & pl.col("answer").is_not_null()).sum().cast(pl.UInt32).alias("distinct"),
        _sum_of_known(pl.col("tokens")),
        samples.filter(~has_verdict).sum().alias("unjudged"),
        samples.sum(),
    )
    if rule:
        settled = _settle(run, judged, rule)
        counts = counts.drop("n", "c", "suspect").join(settled, on="task_id")
    return counts


def in_order(run: Run, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The counts of all groups as one table: see `count_outcomes`."""
    order = pl.DataFrame({"task_id": [p.task_id for p in run.problems()]})
    unsampled = pl.col("unjudged").is_null()
    # A problem without samples has 0 of everything. Unknown tokens of others stay unknown.
    found = order.join(pl.concat(counts), on="task_id", how="left", maintain_order="left")
    return found.select(
        "task_id",
        *(
            pl.when(unsampled).then(0).otherwise(pl.col(name)).cast(kind).alias(name)
            for name, kind in COUNT_COLUMNS.items()
            if name != "task_id"
        ),
    )


def _sum_of_known(numbers: pl.Expr) -> pl.Expr:
    """The sum of the numbers; null if one of them is unknown."""
    return pl.when(numbers.is_not_null().all()).then(numbers.sum())


def _settle(run: Run, judged: JudgedGroup, rule: StoppingRule) -> pl.DataFrame:
    """task_id, n, c and suspect by the rule, from the verdicts between each look and the next."""
    batch = pl.sum_horizontal(pl.col("seed") >= t for t in rule.looks)
    answers = _of_group(scan_answers(run, judged.group.slices), judged.group)
    batches = (
        _with_verdicts(answers, judged.decided.verdicts)
        .group_by("task_id", batch.cast(pl.Int64).alias("batch"))
        .agg(
            pl.col("outcome").is_not_null().sum().alias("judged"),
            (pl.col("outcome") == "passed").sum().alias("passed"),
            IS_SUSPECT.sum().alias("suspect"),
        )
        .filter(pl.col("batch") < len(rule.looks))
        .collect()
    )
    names = batches["task_id"].unique(maintain_order=True)
    row = names.to_frame().with_row_index("row").join(batches, on="task_id", maintain_order="right")
    by_batch = {}
    for name in ("judged", "passed", "suspect"):
        by_batch[name] = np.zeros((len(names), len(rule.looks)), dtype=np.int64)
        by_batch[name][row["row"], row["batch"]] = row[name]
    n, c = rule.settle(by_batch["judged"], by_batch["passed"])
    counted = np.asarray(rule.looks) <= np.maximum(n, rule.looks[0])[:, None]
    suspect = np.where(counted, by_batch["suspect"], 0).sum(axis=1)
    schema = {"task_id": pl.String()} | {name: pl.UInt32() for name in ("n", "c", "suspect")}
    return pl.DataFrame({"task_id": names, "n": n, "c": c, "suspect": suspect}, schema=schema)


def progress(run: Run, counts: pl.DataFrame) -> Progress:
    """What is planned, sampled and evaluated. `counts` is a result of `count_outcomes`."""
    slices, done = run.slices(), run.done()
    return Progress(
        planned=sum(map(len, slices)),
        sampled=sum(len(s) for s in slices if s.name in done),
        evaluated=int(counts["n"].sum()),
        open_problems=open_problems(counts, run.stopping_rule()),
    )


def open_problems(counts: pl.DataFrame, rule: StoppingRule | None) -> int:
    """How many problems need more samples by this rule; 0 for a fixed n."""
    pairs = counts.select("n", "c").iter_rows()
    return sum(rule.next_look(n, c) is not None for n, c in pairs) if rule else 0


def _with_verdicts(answers: pl.LazyFrame, decided: pl.DataFrame) -> pl.LazyFrame:
    """Join the verdicts. A sample without an answer needs no verdict: it has failed."""
    verdicts = decided.drop("seconds")
    instead = {
        "outcome": "failed",
        "kind": "no_answer",
        "detail": NO_ANSWER,
        "suspect": [],
        "canonical": "",
    }
    none = pl.col("answer").is_null()
    return answers.join(verdicts.lazy(), on=["task_id", "answer"], how="left").with_columns(
        pl.when(none).then(pl.lit(value, verdicts.schema[name])).otherwise(name).alias(name)
        for name, value in instead.items()
    )
