"""The samples of each problem as ballots: which answer, whether it passed, and its score.

Samples vote for the same answer if the canonical forms of their answers are equal. The form of an
answer does not depend on the reference. Where a verdict has none, it is the answer's own text.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from toolkit.cli import job_command
from toolkit.errors import ToolkitError, UsageError
from toolkit.records import Judge
from toolkit.runs.damage import naming_damage
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import Run
from toolkit.runs.scores import read_scores
from toolkit.stats.selection import NO_ANSWER, Ballot


@dataclass(frozen=True, slots=True)
class Ballots:
    """of: task_id -> its ballot. unjudged, unscored: samples without a verdict, without a score.

    Samples without a verdict are left out.
    """

    of: dict[str, Ballot]
    unjudged: int
    unscored: int


@naming_damage
def read_ballots(run: Run, judge: Judge, score: str = "") -> Ballots:
    """The ballots of a run under a judge. score: the name of a scorer, "" for none.

    Raises `UsageError` for an adaptive run, whose samples stopped at passes, and for a scorer that
    the run does not have; `ToolkitError` if nothing is evaluated.
    """
    if run.stopping_rule():
        raise UsageError(
            f"{run.path}: sampling stopped at passes, so that votes of it are biased; sample "
            "without --adaptive"
        )
    samples = sample_outcomes(run, judge)
    judged = samples.filter(pl.col("outcome").is_not_null())
    if judged.is_empty():
        raise ToolkitError(
            f"{run.path}: no sample has a verdict; `{job_command('evaluate')} {run.path}` judges "
            "them"
        )
    form = (
        pl.when(pl.col("answer").is_null())
        .then(None)
        .when(pl.col("canonical") != "")
        .then("=" + pl.col("canonical"))
        .otherwise("#" + pl.col("answer").cast(pl.String))
    )
    table = judged.select(
        "task_id",
        "seed",
        form.rank("dense").over("task_id").cast(pl.Int64).fill_null(NO_ANSWER).alias("group"),
        pl.col("passed").cast(pl.Float64),
    )
    unscored = 0
    if score:
        table = table.join(read_scores(run, score), on=["task_id", "seed"], how="left")
        unscored = table["score"].null_count()
    of = {
        str(name): _ballot(rows)
        for (name,), rows in table.partition_by("task_id", as_dict=True).items()
    }
    return Ballots(of, samples.height - judged.height, unscored)


def _ballot(rows: pl.DataFrame) -> Ballot:
    scores = rows["score"].fill_null(np.nan).to_numpy() if "score" in rows.columns else None
    return Ballot(rows["group"].to_numpy(), rows["passed"].to_numpy(), scores)
