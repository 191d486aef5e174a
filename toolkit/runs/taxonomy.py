"""What became of a run's samples: how many passed, and how the others failed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from toolkit.records import Judge
from toolkit.runs.answers import mapped_slices
from toolkit.runs.damage import naming_damage
from toolkit.runs.outcomes import IS_SUSPECT, judged_groups
from toolkit.runs.run import Run

PASSED = "passed"
MOST_EXCEPTIONS = 5
"""Types of exceptions that are counted one by one, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Numbers of samples that have a verdict; in each dictionary the most frequent comes first.

    - kinds: "passed", which comes before all others, or a kind of failure -> samples.
    - cut: the same for the samples that ended at max_tokens (finish_reason `length`).
    - exceptions: type -> samples of the kind `exception`.
    - suspect_passes: passes with a suspicion. suspect: reason -> passes; one may have several.
    - suspect_problems: task_id -> suspect passes.
    """

    kinds: dict[str, int]
    cut: dict[str, int]
    exceptions: dict[str, int]
    suspect_passes: int
    suspect: dict[str, int]
    suspect_problems: dict[str, int]

    @property
    def samples(self) -> int:
        """All samples that have a verdict."""
        return sum(self.kinds.values())

    def share(self, kind: str) -> str:
        """For people: `22.0 %` of the samples."""
        percent = 100 * self.kinds[kind] / self.samples
        return "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"

    def suspect_line(self) -> str:
        """For people: `12 passes are suspect: frames 7, equality 5`; "" if none is."""
        if not self.suspect_passes:
            return ""
        passes = "1 pass is" if self.suspect_passes == 1 else f"{self.suspect_passes} passes are"
        return f"{passes} suspect: {counted(self.suspect)}"


def in_words(kind: str) -> str:
    """For people: `wrong answer` of `wrong_answer`."""
    return kind.replace("_", " ")


def counted(numbers: dict[str, int]) -> str:
    """For people: `frames 7, equality 5`."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


@naming_damage
def read_taxonomy(run: Run, judge: Judge) -> Taxonomy:
    """What became of the samples that have a verdict of this judge."""
    groups = judged_groups(run, judge, mapped_slices(run))
    return taxonomy_of([endings_of(each.answers) for each in groups])


def endings_of(answers: pl.DataFrame) -> pl.DataFrame:
    """A small table of what `judged_answers` became. The taxonomy is over all rows of such tables.

    - end: the kind of failure, or the outcome. exception: its type, where that is the end.
    - problem, reasons: of suspect passes.
    - samples, cut: numbers of samples of which all this is so.
    """
    told = pl.col("kind") != ""
    word = pl.col("detail").str.extract(r"^(\w+)")
    return (
        answers.filter(pl.col("outcome").is_not_null())
        .group_by(
            pl.when(told).then(pl.col("kind").cast(pl.String)).otherwise("outcome").alias("end"),
            pl.when(pl.col("kind") == "exception").then(word).alias("exception"),
            pl.when(IS_SUSPECT).then("task_id").alias("problem"),
            pl.when(IS_SUSPECT).then(pl.col("suspect").list.join(",")).alias("reasons"),
        )
        .agg(pl.col("samples").sum(), pl.col("cut").sum())
    )


def taxonomy_of(endings: Sequence[pl.DataFrame]) -> Taxonomy:
    """The taxonomy of all samples of such tables: see `endings_of`."""
    kinds, cut, exceptions = Counter[str](), Counter[str](), Counter[str]()
    suspect, problems = Counter[str](), Counter[str]()
    for end, exception, problem, reasons, samples, ended in _rows(endings):
        kinds[end] += samples
        cut[end] += ended
        if exception is not None:
            exceptions[exception] += samples
        if reasons is not None:
            problems[problem] += samples
            for reason in reasons.split(","):
                suspect[reason] += samples
    return Taxonomy(
        kinds={PASSED: 0} | _largest_first(kinds),
        cut=_largest_first(cut),
        exceptions=dict(list(_largest_first(exceptions).items())[:MOST_EXCEPTIONS]),
        suspect_passes=problems.total(),
        suspect=_largest_first(suspect),
        suspect_problems=_largest_first(problems),
    )


def _rows(endings: Sequence[pl.DataFrame]) -> Iterator[tuple[Any, ...]]:
    """The rows of all tables. A run has few: a loop over them costs less than queries do."""
    for table in endings:
        columns = ("end", "exception", "problem", "reasons", "samples", "cut")
        yield from table.select(columns).iter_rows()


def _largest_first(sums: Counter[str]) -> dict[str, int]:
    """Without zeros; equal ones by name."""
    found = sorted(sums.items(), key=lambda each: (-each[1], each[0]))
    return {name: count for name, count in found if count}
