"""The evaluation stage: from samples to distinct answers, and from answers to verdicts.

Each shard gets a map: which answer each of its samples gives. The map is a cache, made by the
current extraction of the verifier. Each distinct answer to a problem is judged once in a run.
Several array tasks divide the answers by digest. So their shares are equal and do not overlap. A
later evaluation judges only what has no verdict yet. A large run is worked through in groups of its
problems, so that memory does not grow with it.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from toolkit.cli import how_many
from toolkit.config import Evaluation
from toolkit.errors import CorruptShard
from toolkit.progress_bar import progress_bar, time_left
from toolkit.records import Judge, Problem, Slice, Verdict
from toolkit.runs.answers import Chosen, in_shards
from toolkit.runs.damage import damaged_verdicts, set_aside
from toolkit.runs.problem_groups import SAMPLES_AT_ONCE, ProblemGroup, group_files
from toolkit.runs.run import Run
from toolkit.runs.second_judge import (
    SecondJudge,
    freeze_second_judge,
    second_judge,
    second_judges,
)
from toolkit.runs.verdicts import decided_keys, verdict_files, write_verdicts
from toolkit.stages.pace import Pace
from toolkit.stages.taking import Taking, taker
from toolkit.stages.task import load_task
from toolkit.verifiers.base import Verifier, open_verifier
from toolkit.verifiers.judges import harness_of, judge_of_run

log = logging.getLogger(__name__)
Found = TypeVar("Found")

BATCH_VERDICTS = 2000
BATCH_SECONDS = 20.0
"""A batch of verdicts is written when it reaches either limit. A kill loses at most one batch."""


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """What one evaluation has done: counts of its share of the answers. seconds: wall clock.

    waiting: the answers without a verdict where a harness elsewhere judges; harness: its name.
    """

    samples: int
    distinct: int
    judged: int
    errors: int
    seconds: float
    missing_slices: int
    corrupt: int
    waiting: int = 0
    harness: str = ""

    @property
    def complete(self) -> bool:
        """Whether every planned sample is there and every answer of this share has a verdict."""
        return not (self.errors or self.missing_slices or self.corrupt or self.waiting)

    def line(self) -> str:
        """One line for the log and the terminal."""
        rate = self.judged / self.seconds if self.seconds else 0.0
        parts = [
            f"{how_many(self.samples, 'sample is', 'samples are')} "
            f"{how_many(self.distinct, 'distinct answer')}",
            f"{how_many(self.waiting, 'waits', 'wait')} for the verdicts of {self.harness}"
            if self.harness
            else f"{self.judged} judged in {self.seconds:.1f} s ({rate:.0f}/s)",
        ]
        if self.errors:
            parts.append(f"{self.errors} undecided (not the model's fault): evaluate again")
        if self.missing_slices:
            slices = how_many(self.missing_slices, "slice is", "slices are")
            parts.append(f"{slices} not sampled yet: launch again")
        if self.corrupt:
            files = how_many(self.corrupt, "file is", "files are")
            parts.append(f"{files} damaged: the log says what to do about each")
        return "; ".join(parts)


def evaluate_run(
    run: Run,
    settings: Evaluation,
    *,
    judge: Judge | None = None,
    references: Sequence[Problem] | None = None,
    part: int = 0,
    parts: int = 1,
    workers: int,
    among: Collection[str] | None = None,
    batch_seconds: float = BATCH_SECONDS,
) -> EvaluationSummary:
    """Judge the answers with `digest % parts == part` that have no verdict yet.

    judge: None means the run's default judge. references: the problems as another judge has them
    (`toolkit.runs.second_judge`); None: the run's own. Answers are taken from the completions as
    the run's own verifier does, so that they are the same for all judges. among: only the answers
    in the shards of these slices; None: in all shards. batch_seconds: how often verdicts are
    written.

    A damaged shard is named in the log and left out. Damaged verdicts are moved to quarantine/, and
    their answers are judged again. Where a harness elsewhere judges, nothing is judged here: the
    summary says how many answers wait.
    Raises `IsolationUnavailable` if this node cannot confine answers as `settings.isolation` asks.
    """
    judge = judge or judge_of_run(run)
    verifier = open_verifier(judge.choice)
    taking = Taking.of(run, taker(run, verifier))
    slices, done = run.slices(), run.done()
    present = [s for s in slices if s.name in done]
    looked_at = present if among is None else [s for s in present if s.name in among]
    share = _Share(
        taking=taking,
        judge=judge,
        verifier=verifier,
        judged={p.task_id: p for p in references or run.problems()},
        settings=settings,
        part=part,
        parts=parts,
        workers=workers,
        batch_seconds=batch_seconds,
        corrupt=taking.map_slices(looked_at, part, parts),
    )
    log.info("judge: %s", judge.line())
    counts, harness = share.evaluate(looked_at), harness_of(judge)
    return EvaluationSummary(
        samples=counts.samples,
        distinct=counts.distinct,
        judged=0 if harness else counts.todo,
        errors=counts.errors,
        seconds=counts.seconds,
        missing_slices=len(slices) - len(present),
        corrupt=len(share.corrupt),
        waiting=counts.todo if harness else 0,
        harness=harness,
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of some problems: numbers of samples, of answers, and seconds of judging."""

    samples: int = 0
    distinct: int = 0
    todo: int = 0
    errors: int = 0
    seconds: float = 0.0

    def __add__(self, other: "_Counts") -> "_Counts":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return _Counts(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """One evaluation's share of a run's answers, judged one group of problems after the other.

    So its memory depends on the samples of a group, not on those of the run. judged: task_id -> the
    problem as the judge has it. corrupt: names of the slices with damaged shards, as they are
    found. The other fields are those of `evaluate_run`.
    """

    taking: Taking
    judge: Judge
    verifier: Verifier
    judged: Mapping[str, Problem]
    settings: Evaluation
    part: int
    parts: int
    workers: int
    batch_seconds: float
    corrupt: set[str]

    def evaluate(self, slices: Sequence[Slice]) -> _Counts:
        """Judge what has no verdict in the shards of these slices."""
        run, whole = self.taking.run, [s for s in slices if s.name not in self.corrupt]
        # The answers of other parts are dropped as they are read: a group has room for more.
        room = self.parts * SAMPLES_AT_ONCE
        groups = _mended(run, partial(group_files, run, whole, room))
        counts = _Counts()
        for number, group in enumerate(groups, start=1):
            if len(groups) > 1:
                problems = how_many(len(group.task_ids or ()), "problem")
                log.info("group %d of %d: %s", number, len(groups), problems)
            counts += self._evaluate_group(group)
        return counts

    def _evaluate_group(self, group: ProblemGroup) -> _Counts:
        """Judge what has no verdict of these problems."""
        present = [s for s in group.slices if s.name not in self.corrupt]
        chosen = Chosen(group.task_ids, self.part, self.parts)
        answers = self.taking.distinct(present, chosen)
        decided = self._decided(group, chosen)
        todo = answers.join(decided, on=["task_id", "answer"], how="anti")
        log.info("%d distinct answers, %d to judge", answers.height, todo.height)
        started = time.monotonic()
        errors = 0
        if todo.height and not harness_of(self.judge):
            errors = self._judge_answers(present, in_shards(todo, present))
        seconds = time.monotonic() - started
        samples = int(answers["samples"].sum())
        return _Counts(samples, answers.height, todo.height, errors, seconds)

    def _decided(self, group: ProblemGroup, chosen: Chosen) -> pl.DataFrame:
        """The keys of the answers that have a verdict."""
        run = self.taking.run

        def read() -> pl.DataFrame:
            files = verdict_files(run) if group.files is None else group.files
            return decided_keys((path for path in files if path.exists()), self.judge, chosen)

        return _mended(run, read)

    def _judge_answers(self, present: Sequence[Slice], todo: pl.DataFrame) -> int:
        """Judge these answers, and write the verdicts. Returns how many are undecided."""
        run, host = self.taking.run, platform.node()
        # All problems, whatever the group: a judge may take its bounds from them.
        problems = list(self.judged.values())
        with self.verifier.judging(
            problems, self.judge, workers=self.workers, isolation=self.settings.isolation
        ) as judging:
            run.record_isolation(host, judging.isolation)
            facts = {"host": host, "isolation": json.dumps(dict(judging.isolation))}
            found = self.taking.answers(present, todo, self.corrupt)
            verdicts = judging.judge((self.judged[each.task_id], each) for each in found)
            write = partial(write_verdicts, run, judge=self.judge, facts=facts)
            course = _Course(todo.height, judging.slow, Pace(time.monotonic()))
            return _write_in_batches(write, verdicts, course, self.batch_seconds)


def second_references(run: Run, task: str, problems: str = "") -> SecondJudge:
    """The judge by a task's references, frozen in the run; they are frozen now if they are not yet.

    problems: the file of the task's data; "" for those that are frozen, else for the task's own.
    Raises `UsageError` for a task that does not ask what the run asked.
    """
    name = Path(task).name.removesuffix(".toml")
    if not problems and name in second_judges(run):
        return second_judge(run, name)
    loaded = load_task(task, problems)
    return freeze_second_judge(run, loaded.name, loaded.problems, loaded.judge)


def _mended(run: Run, read: Callable[[], Found]) -> Found:
    """What `read` gives. Files of verdicts that cannot be read are moved to quarantine/ first."""
    try:
        return read()
    except CorruptShard:
        for path, error in damaged_verdicts(run):
            log.warning("%s", str(error).partition(";")[0])
            log.warning("moved to %s: its answers are judged again", set_aside(run, path))
        return read()


@dataclass(slots=True)
class _Course:
    """How an evaluation goes on, for a terminal and for a log.

    slow: the answers in hand that take far longer than others, and the seconds all they take.
    """

    expected: int
    slow: Callable[[], tuple[int, float]]
    pace: Pace

    def note(self, now: float, count: int) -> str:
        """Rate, slow answers, and time left; `count` verdicts have come by the time `now`."""
        rate = self.pace.rate(now, count)
        slow, seconds = self.slow()
        left = max(0, self.expected - count - slow) / rate + seconds
        parts = [f"{rate:.1f}/s", f"{slow} slow" if slow else "", time_left(left)]
        return ", ".join(filter(None, parts))


def _write_in_batches(
    write: Callable[[list[Verdict]], None],
    verdicts: Iterable[Verdict],
    course: _Course,
    seconds: float,
) -> int:
    """Write verdicts as they come. Returns how many have the outcome `error`."""
    batch: list[Verdict] = []
    errors = 0
    written = time.monotonic()
    with progress_bar("judged", course.expected, "answers") as bar:
        for count, verdict in enumerate(verdicts, start=1):
            batch.append(verdict)
            errors += verdict.outcome == "error"
            if verdict.outcome == "error":
                log.error("%s, answer %016x: %s", verdict.task_id, verdict.answer, verdict.detail)
            now = time.monotonic()
            course.pace.note(now, count)
            if bar.shown:
                bar.show(count, course.note(now, count))
            if len(batch) >= BATCH_VERDICTS or now - written > seconds:
                write(batch)
                batch, written = [], now
                if not bar.shown:
                    log.info("%d/%d judged, %s", count, course.expected, course.note(now, count))
    write(batch)
    return errors
