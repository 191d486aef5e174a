"""The evaluation stage: from samples to distinct answers, and from answers to verdicts.

Each shard gets a map: which answer each of its samples gives. The map is a cache, made by the
current extraction of the verifier. Each distinct answer to a problem is judged once in a run.
Several array tasks divide the answers by digest. So their shares are equal and do not overlap. A
later evaluation judges only what has no verdict yet.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from toolkit.config import Evaluation
from toolkit.errors import CorruptShard, UsageError
from toolkit.progress_bar import progress_bar, time_left
from toolkit.records import (
    THOUGHT,
    Answer,
    Judge,
    Problem,
    PromptStyle,
    Slice,
    Verdict,
    answer_digest,
)
from toolkit.runs.answers import distinct_answers, map_is_current, map_path, write_map
from toolkit.runs.damage import damaged_maps, damaged_verdicts, set_aside
from toolkit.runs.judge import judge_choice
from toolkit.runs.run import UNREADABLE, Run
from toolkit.runs.second_judge import (
    SecondJudge,
    freeze_second_judge,
    second_judge,
    second_judges,
)
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.shards import read_shard
from toolkit.runs.verdicts import decided_verdicts, write_verdicts
from toolkit.stages.pace import Pace
from toolkit.stages.task import load_task
from toolkit.verifiers.base import Verifier, open_verifier
from toolkit.verifiers.judges import harness_of, judge_of_run

log = logging.getLogger(__name__)

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
            f"{self.samples} samples are {self.distinct} distinct answers",
            f"{self.waiting} wait for the verdicts of {self.harness}"
            if self.harness
            else f"{self.judged} judged in {self.seconds:.1f} s ({rate:.0f}/s)",
        ]
        if self.errors:
            parts.append(f"{self.errors} undecided (not the model's fault): evaluate again")
        if self.missing_slices:
            parts.append(f"{self.missing_slices} slices are not sampled yet: launch again")
        if self.corrupt:
            parts.append(f"{self.corrupt} files are damaged: the log says what to do about each")
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
    taking = Taking.of(run, _taker(run, verifier))
    judged = {p.task_id: p for p in references or run.problems()}
    slices, done = run.slices(), run.done()
    present = [s for s in slices if s.name in done]
    missing = len(slices) - len(present)
    if among is not None:
        present = [s for s in present if s.name in among]
    corrupt: set[str] = set()
    # Own shards first. So array tasks that start together make different maps. When they come to
    # the other shards, those maps are there.
    others = (s for i, s in enumerate(present) if i % parts != part)
    for each in (*present[part::parts], *others):
        try:
            taking.map_answers(each)
        except CorruptShard as error:
            log.error("%s", error)
            corrupt.add(each.name)
    present = [s for s in present if s.name not in corrupt]
    answers = taking.distinct(present).filter(pl.col("answer") % parts == part)
    decided = _readable_verdicts(run, judge)
    todo = answers.join(decided, on=["task_id", "answer"], how="anti")
    log.info("judge: %s", judge.line())
    log.info("%d distinct answers, %d to judge", answers.height, todo.height)
    started = time.monotonic()
    errors = 0
    harness = harness_of(judge)
    if todo.height and not harness:
        with verifier.judging(
            list(judged.values()), judge, workers=workers, isolation=settings.isolation
        ) as judging:
            run.record_isolation(platform.node(), judging.isolation)
            facts = {"host": platform.node(), "isolation": json.dumps(dict(judging.isolation))}
            found = taking.answers(present, todo, corrupt)
            verdicts = judging.judge((judged[each.task_id], each) for each in found)
            write = partial(write_verdicts, run, judge=judge, facts=facts)
            course = _Course(todo.height, judging.slow, Pace(time.monotonic()))
            errors = _write_in_batches(write, verdicts, course, batch_seconds)
    return EvaluationSummary(
        samples=int(answers["samples"].sum()),
        distinct=answers.height,
        judged=0 if harness else todo.height,
        errors=errors,
        seconds=time.monotonic() - started,
        missing_slices=missing,
        corrupt=len(corrupt),
        waiting=todo.height if harness else 0,
        harness=harness,
    )


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


def _taker(run: Run, verifier: Verifier) -> Verifier:
    """The verifier that takes the run's answers: its own.

    Raises `UsageError` if the one that judges them takes other answers.
    """
    own = open_verifier(judge_choice(run))
    if own.extraction != verifier.extraction:
        raise UsageError(
            f"the judge takes answers by {verifier.extraction!r}, the run by {own.extraction!r}; "
            "give a task that takes the same answers"
        )
    return own


def _readable_verdicts(run: Run, judge: Judge) -> pl.DataFrame:
    """The decided verdicts. Files that cannot be read are moved to quarantine/ first."""
    try:
        return decided_verdicts(run, judge)
    except CorruptShard:
        for path, error in damaged_verdicts(run):
            log.warning("%s", str(error).partition(";")[0])
            log.warning("moved to %s: its answers are judged again", set_aside(run, path))
        return decided_verdicts(run, judge)


@dataclass(frozen=True, slots=True)
class Taking:
    """Takes the answers from a run's completions, with the run's verifier."""

    run: Run
    verifier: Verifier
    problems: Mapping[str, Problem]
    style: PromptStyle

    @classmethod
    def of(cls, run: Run, verifier: Verifier) -> "Taking":
        """By this verifier, which is the run's own."""
        problems = {p.task_id: p for p in run.problems()}
        return cls(run, verifier, problems, run.prompt_style())

    def map_answers(self, each: Slice) -> None:
        """Write the map of a shard, unless there is a current one.

        A map names the shard and the extraction that it was made from. If the shard has been
        replaced, or the extraction is older, the map is made again.
        """
        if map_is_current(self.run, each.name, self.verifier.extraction):
            return
        samples = read_shard(self.run, each)
        thinking = self._begins_in_thought(each)
        digests: dict[tuple[str, str], int | None] = {}
        for key in samples.select("task_id", "completion").iter_rows():
            if key not in digests:
                text = self._extract(*key, thinking=thinking)
                digests[key] = None if text is None else answer_digest(text)
        keys = samples.select("task_id", "completion").iter_rows()
        column = pl.Series("answer", [digests[key] for key in keys], dtype=pl.UInt64)
        write_map(self.run, each.name, samples.with_columns(column), self.verifier.extraction)

    def distinct(self, present: Sequence[Slice]) -> pl.DataFrame:
        """The distinct answers of these slices. Maps that cannot be read are made anew."""
        try:
            return distinct_answers(self.run, present)
        except UNREADABLE:
            broken = {path.stem for path, _ in damaged_maps(self.run)}
            for each in present:
                if each.name in broken:
                    path = map_path(self.run, each.name)
                    log.warning("%s: cannot be read, so it is made anew", path)
                    path.unlink(missing_ok=True)
                    self.map_answers(each)
            return distinct_answers(self.run, present)

    def answers(
        self, present: Sequence[Slice], todo: pl.DataFrame, corrupt: set[str]
    ) -> Iterator[Answer]:
        """Yield the answers to judge, shard by shard. Each is extracted when the judge asks for it.

        A damaged shard is named in the log, added to `corrupt`, and left out.
        """
        by_name = {s.name: s for s in present}
        for (name,), rows in todo.group_by("slice", maintain_order=True):
            try:
                shard = read_shard(self.run, by_name[str(name)])
            except CorruptShard as error:
                log.error("%s", error)
                corrupt.add(str(name))
                continue
            samples = shard.join(rows, on=["task_id", "seed"])
            thinking = self._begins_in_thought(by_name[str(name)])
            for row in samples.select("task_id", "answer", "completion").iter_rows():
                task_id, digest, completion = row
                text = self._extract(task_id, completion, thinking=thinking)
                if text is not None:
                    yield Answer(task_id, digest, text)

    def _begins_in_thought(self, each: Slice) -> bool:
        """Whether the completions of a shard begin in a thought that their prompts have opened."""
        return bool(read_facts(self.run.shard_path(each.name)).engine.opens_thought)

    def _extract(self, task_id: str, completion: str, *, thinking: bool) -> str | None:
        completion = THOUGHT + completion if thinking else completion
        return self.verifier.extract(self.problems[task_id], completion, self.style)


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
