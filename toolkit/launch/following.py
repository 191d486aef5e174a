"""Adaptive sampling without a barrier: rounds are planned while the array samples.

A problem's next batch is planned as soon as all of its own batch is judged, whatever other
problems lack. It is never planned from a part of a batch: a rule that looks between its looks is
another rule, and the estimators are those of the run's (`toolkit.stats.stopping`). A round that is
planned so is frozen like any other one. The array tasks share it (`toolkit.runs.shares`).
"""

import dataclasses
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from toolkit.cli import how_many
from toolkit.config import Config
from toolkit.launch.prepare import LaunchPlan, plan_next_round
from toolkit.records import Slice
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import Run
from toolkit.runs.shares import Follows, follows_of
from toolkit.runs.slices import plan_round, planned_samples

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Planner:
    """Plans the rounds that follow while an array samples.

    launch: the id of the array's launch. engines: how many engines work at the same time.
    alone: whether this process judges every answer, not a share of them.
    """

    run: Run
    config: Config
    launch: str
    engines: int
    alone: bool = True
    _seen: tuple[int, int, int] | None = None
    _finished: bool = False

    def plan(self, judged: Collection[str]) -> bool:
        """Freeze a round of the batches that can be planned now. True while more may follow.

        judged: the slices whose shards were judged here. What has no verdict of them gets none.
        """
        # Before the outcomes are read: a verdict that comes later changes this.
        changed = self.run.verdicts_dir.stat().st_mtime_ns
        seen = changed, len(self.run.done()), len(judged)
        if self._finished or seen == self._seen:
            return not self._finished
        self._seen = seen
        plan = plan_next_round(self.run, self.config)
        self._finished = plan.out_of_budget is not None or self._all_stopped(plan, judged)
        if plan.new or self._finished:
            new = [] if self._finished else recut(plan, self.engines)
            follows = dataclasses.asdict(Follows(self.launch, last=self._finished))
            freeze_round(self.run.path, plan.round_index, new, plan.rule, follows)
            said = "the last one" if self._finished else how_many(sum(map(len, new)), "sample")
            log.info("round %d: %s", plan.round_index, said)
        return not self._finished

    def hungry(self, missing: int) -> bool:
        """Whether there are fewer missing slices than engines."""
        return missing < self.engines

    def _all_stopped(self, plan: LaunchPlan, judged: Collection[str]) -> bool:
        """Whether no problem goes on, and none waits for samples or verdicts.

        A shard may have come a moment ago: it is not missing any more, and not judged yet.
        """
        if plan.new or plan.missing:
            return False
        if self.alone and self.run.done() <= set(judged):
            return True
        counts = count_outcomes(self.run, plan.judge)
        return counts["samples"].sum() == plan.planned and not counts["unjudged"].sum()


def rounds_follow(run: Run, launch: str, judged: Collection[str] = ()) -> bool:
    """Whether a further round may be planned while the array of this launch samples.

    It says what `Planner.plan` says, for those that do not plan.
    """
    newest = follows_of(run, run.round_count() - 1)
    return not (newest and newest.launch == launch and newest.last)


def recut(plan: LaunchPlan, engines: int) -> Sequence[Slice]:
    """The new slices of a plan, cut so that each engine gets one, if there are few samples.

    A slice is not cut smaller than a batch of the engine.
    """
    quantity, total = plan.config.quantity, sum(map(len, plan.new))
    size = max(-(-total // engines), plan.config.engine.max_num_seqs)
    if size >= max(map(len, plan.new), default=0):
        return plan.new
    starts: dict[str, int] = {}
    for seeds in (seeds for slice_ in plan.new for seeds in slice_.ranges):
        starts[seeds.task_id] = min(seeds.seed_start, starts.get(seeds.task_id, seeds.seed_start))
    return plan_round(
        plan.round_index,
        planned_samples(plan.new),
        starts,
        slice_samples=size,
        slice_seeds=quantity.slice_seeds,
    )
