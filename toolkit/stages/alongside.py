"""Evaluation while sampling goes on: the shards that are there are judged, again and again.

What it leaves is what any evaluation leaves: maps and verdicts. So it may end at any moment, and
the evaluation after it judges what is missing. It is a guest on a shared file system: it lists one
directory each time it looks, and it looks and judges the more rarely, the longer sampling takes.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from toolkit.cli import how_many
from toolkit.config import Evaluation
from toolkit.runs.run import Run
from toolkit.stages.evaluate import evaluate_run

log = logging.getLogger(__name__)

LOOK_SECONDS = (3.0, 30.0)
"""The shortest and the longest time between two looks."""
JUDGE_SECONDS = (6.0, 300.0)
"""The same between the starts of two evaluations."""
SHARE_OF_LISTING = 0.05
"""Looking may take this share of the time: a directory that lists slowly is listed more rarely."""
BATCH_SECONDS = 5.0
"""So often verdicts are written: the curve's first point is not to wait for a whole batch."""


def look_seconds(elapsed: float, listing: float) -> float:
    """The time until the next look: a thousandth of the time since the first shard, in bounds.

    elapsed: since the first shard. listing: what the last listing took. Both in seconds.
    """
    shortest, longest = LOOK_SECONDS
    return max(min(max(shortest, elapsed / 1000), longest), listing / SHARE_OF_LISTING)


def judge_seconds(elapsed: float) -> float:
    """The time between two evaluations: a hundredth of the time since the first shard, in bounds.

    So what is left to judge at the end is some hundredth of the whole. And there are few files of
    verdicts: their number grows with the logarithm of the time, later by 12 an hour.
    """
    shortest, longest = JUDGE_SECONDS
    return min(max(shortest, elapsed / 100), longest)


@dataclass(slots=True)
class Alongside:
    """Judges shards as they come.

    - done: gives the names of the slices that have a shard. planned: those that will have one.
    - judge: judges the shards of these slices.
    - over: whether no further shard will come, though some may be missing.
    - plan: plans further slices from the verdicts, where that is possible; True while more may
      follow. It is given the names of the slices that are judged. It is called after each
      evaluation, and now and then where the array is hungry.
    - hungry: whether the array runs short of the slices that are missing, so that it is urgent.
    - clock, sleep: seconds; a simulation has its own.
    """

    done: Callable[[], set[str]]
    planned: Callable[[], set[str]]
    judge: Callable[[Sequence[str]], None]
    over: Callable[[], bool]
    plan: Callable[[Collection[str]], bool] = lambda judged: False
    hungry: Callable[[int], bool] = lambda missing: False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _seen: set[str] = field(default_factory=set)
    _first: float | None = None
    _judged: float | None = None

    def work(self) -> None:
        """Until sampling is over, or has done all that is planned, and every shard is judged."""
        more = True
        while True:
            # Asked before the listing: then a shard that was written before is listed.
            over = self.over()
            before = self.clock()
            done = self.done()
            now = self.clock()
            fresh = done - self._seen
            if fresh and self._first is None:
                self._first = now
            missing = self.planned() - done
            ended = over or not (missing or more)
            elapsed = 0.0 if self._first is None else now - self._first
            due = self._judged is None or now - self._judged >= judge_seconds(elapsed)
            hungry = more and self.hungry(len(missing))
            if fresh and (ended or due or hungry):
                self._judged = now
                self.judge(sorted(fresh))
                self._seen |= fresh
            elif ended:
                return
            else:
                self.sleep(look_seconds(0.0 if hungry else elapsed, now - before))
                if not hungry:
                    continue
            # Of an array that is over, nobody would take what is planned.
            more = not over and self.plan(self._seen)


@dataclass(slots=True)
class Plan:
    """The names of a run's planned slices. They are read again when there is another round."""

    run: Run
    _rounds: int = -1
    _names: set[str] = field(default_factory=set)

    def names(self) -> set[str]:
        """All of them, of all rounds."""
        if (rounds := self.run.round_count()) != self._rounds:
            self._rounds, self._names = rounds, {s.name for s in self.run.slices()}
        return self._names


def evaluate_alongside(
    run: Run,
    settings: Evaluation,
    over: Callable[[], bool],
    *,
    plan: Callable[[Collection[str]], bool] = lambda judged: False,
    hungry: Callable[[int], bool] = lambda missing: False,
    part: int = 0,
    parts: int = 1,
    workers: int,
) -> None:
    """Judge the answers with `digest % parts == part` of a run's shards, while they come.

    Ends as soon as every planned slice is judged, or `over()` says that no more will come. plan,
    hungry: see `Alongside`. Raises what `evaluate_run` and `plan` raise.
    """

    def judge(names: Sequence[str]) -> None:
        summary = evaluate_run(
            run,
            settings,
            part=part,
            parts=parts,
            workers=workers,
            among=names,
            batch_seconds=BATCH_SECONDS,
        )
        log.info(
            "%s: %s judged, %d undecided, in %.1f s",
            how_many(len(names), "new shard"),
            how_many(summary.judged, "answer"),
            summary.errors,
            summary.seconds,
        )

    Alongside(run.done, Plan(run).names, judge, over, plan, hungry).work()
