"""A run as polars frames: samples, answers, verdicts, outcomes, counts, and any text."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from toolkit.errors import UsageError
from toolkit.records import Judge
from toolkit.runs.answers import ANSWER_SCHEMA, mapped_slices, scan_answers
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.run import Run
from toolkit.runs.run import open_run as open_directory
from toolkit.runs.shards import SAMPLE_SCHEMA, scan_samples
from toolkit.runs.verdicts import read_verdicts
from toolkit.verifiers.judges import judge_of_run

WhichJudge = Judge | str | None
"""None: the run's own judge. A text: the name of one beside it, such as "humaneval+"."""


@dataclass(frozen=True, slots=True)
class RunFrames(Run):
    """A run that gives its data as frames. docs/run-directory.md has the columns.

    A lazy frame reads nothing, or little, until it is collected. What is not there yet is no row:
    a run may be read while it samples.
    """

    def samples(self) -> pl.LazyFrame:
        """task_id, seed, completion, n_tokens, finish_reason of each sample in a finished shard."""
        done = self.done()
        return _scan(
            [self.shard_path(s.name) for s in self.slices() if s.name in done], SAMPLE_SCHEMA
        )

    def answers(self) -> pl.LazyFrame:
        """task_id, seed, answer of each sample that evaluation has looked at; null: no answer."""
        present = mapped_slices(self)
        if not present:
            return pl.LazyFrame(schema=ANSWER_SCHEMA)
        return scan_answers(self, present)

    def verdicts(self, judge: WhichJudge = None) -> pl.LazyFrame:
        """One row for each judged answer: task_id, answer, outcome, kind, detail, ..."""
        return read_verdicts(self, self.judge(judge)).lazy()

    def outcomes(self, judge: WhichJudge = None) -> pl.LazyFrame:
        """One row for each sample with its verdict; see `sample_outcomes`. Joined at this call."""
        return sample_outcomes(self, self.judge(judge)).lazy()

    def counts(self, judge: WhichJudge = None) -> pl.DataFrame:
        """One row for each problem: task_id, n, c, ...; see `count_outcomes`."""
        return count_outcomes(self, self.judge(judge))

    def completion(self, task_id: str, seed: int) -> str:
        """The model's text of one sample. Raises `UsageError` if there is no such sample yet."""
        chosen = (pl.col("task_id") == task_id) & (pl.col("seed") == seed)
        found = self.samples().filter(chosen).select("completion").collect()
        if found.is_empty():
            raise UsageError(f"{self.path}: has no sample {seed} of {task_id!r} (yet)")
        return str(found.item())

    def judge(self, which: WhichJudge = None) -> Judge:
        """The run's own judge, or the one beside it with this name."""
        return which if isinstance(which, Judge) else judge_of_run(self, name=which or "")


def open_run(path: Path | str) -> RunFrames:
    """The run at `path`. Raises `UsageError` if there is none, or if its format is unknown."""
    return RunFrames(open_directory(path).path)


def _scan(paths: Iterable[Path], schema: pl.Schema) -> pl.LazyFrame:
    found = list(paths)
    return scan_samples(found) if found else pl.LazyFrame(schema=schema)
