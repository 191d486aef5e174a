"""Read what version 0.1.0 wrote (a run of format 1) as if this version had written it.

0.1.0 knew one kind of problem: Python functions with unit tests, judged under a time limit. Its
problems, its maps of programs and its verdicts keep their meaning. A verdict under a time limit is
one of the verifier python_tests, version 1, with that limit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from toolkit.problems.humaneval import KIND, python_problem
from toolkit.records import OUTCOMES, JudgeChoice, Problem, judge_digest, judge_line

FORMAT = 1
DEFAULT_TIMEOUT = 3.0
PROBLEM_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "prompt": pl.String(),
        "test": pl.String(),
        "entry_point": pl.String(),
        "canonical_solution": pl.String(),
    }
)
ANSWERS_DIRECTORY = "programs"
ANSWER_COLUMN = "program"
VERDICT_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "program": pl.UInt64(),
        "outcome": pl.Enum(OUTCOMES),
        "detail": pl.String(),
        "seconds": pl.Float32(),
        "timeout": pl.Float32(),
    }
)


def problem_of(row: Mapping[str, str]) -> Problem:
    """The problem in a row of problems.parquet."""
    return python_problem(
        row["task_id"], row["prompt"], row["test"], row["entry_point"], row["canonical_solution"]
    )


def choice_of(config: Mapping[str, Mapping[str, Any]]) -> JudgeChoice:
    """How a run was judged, from the configuration of its last launch."""
    return _choice(float(config["evaluation"]["timeout"]))


def verdicts_of(frame: pl.DataFrame) -> pl.DataFrame:
    """A file of verdicts, with `answer` and `judge` in place of `program` and `timeout`."""
    judges = {t: judge_digest(_choice(_shortest(t)), 1) for t in frame["timeout"].unique()}
    judge = pl.Series("judge", [judges[t] for t in frame["timeout"]], dtype=pl.UInt64)
    return frame.rename({"program": "answer"}).drop("timeout").insert_column(2, judge)


def judge_line_of(timeout: float) -> str:
    """The judge of a verdict as one line for people, from the verdict's time limit."""
    return judge_line(KIND, 1, {"timeout": _shortest(timeout)})


def _choice(timeout: float) -> JudgeChoice:
    return JudgeChoice.of(KIND, {"timeout": timeout}, {"timeout": DEFAULT_TIMEOUT})


def _shortest(timeout: float) -> float:
    """The time limit as the user typed it: 0.1, not 0.10000000149 as 32 bits hold it."""
    return float(str(np.float32(timeout)))
