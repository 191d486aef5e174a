"""The stages of a round in their order, the step from round to round, and what a launcher is.

sample the missing slices -> evaluate -> fit, or for adaptive sampling the next round

With --evaluate-alongside a further stage works while `sample` does. Little is left to `evaluate`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from toolkit.config import Config
from toolkit.launch.prepare import (
    LaunchPlan,
    freeze_launch,
    plan_next_round,
    record_launch,
    tasks_of,
)
from toolkit.launch.tasks import alongside_task, evaluation_task, fit_task, sampling_task
from toolkit.runs.history import new_launch
from toolkit.runs.run import Run
from toolkit.verifiers.judges import harness_of


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a round: each array task of it calls `task` with one tuple of `arguments`.

    beside: a stage that begins when this one has begun, and ends by itself soon after it. launch:
    the id of the launch that it works in; "" where nothing can work beside its array.
    """

    name: str
    task: Callable[..., Any]
    arguments: list[tuple[Any, ...]]
    beside: "Stage | None" = None
    launch: str = ""


class Launcher(Protocol):
    """Does the work of a planned and frozen launch; one each for slurm, local and inline."""

    def __call__(
        self, plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool
    ) -> bool | None:
        """Run the stages, and the rounds that follow; True when nothing planned is missing.

        `show` is called now and then while the work goes on. None: the work goes on by itself,
        because the launcher can leave it to a cluster and `wait` is False.
        """


def stages_of(plan: LaunchPlan, run: Run, evaluations: int = 1, launch: str = "") -> list[Stage]:
    """The stages of a round that ends the run, with evaluation in so many array tasks.

    launch: the id of the launch, "" where nothing can work beside the array. `sample` comes first,
    without array tasks where nothing is missing; `fit` comes last.
    """
    path, config = run.path.resolve(), plan.config
    sampling: list[tuple[Any, ...]] = [(path, names, config) for names in tasks_of(plan)]
    beside = None
    if launch and alongside(plan):
        further: tuple[int, ...] = ()
        if follows(plan):
            sampling = [(*values, launch, task) for task, values in enumerate(sampling)]
            together = min(len(sampling), config.resources.max_parallel or len(sampling))
            further = (together * config.resources.engines_per_task,)
        shares = [
            (path, part, evaluations, config, launch, *further) for part in range(evaluations)
        ]
        beside = Stage("alongside", alongside_task, shares)
    return [
        Stage("sample", sampling_task, sampling, beside, launch),
        Stage(
            "evaluate",
            evaluation_task,
            [(path, part, evaluations, config) for part in range(evaluations)],
        ),
        Stage("fit", fit_task, [(path, config)]),
    ]


def alongside(plan: LaunchPlan) -> bool:
    """Whether shards of this launch are to be judged while others are sampled."""
    asked = plan.config.resources.evaluate_alongside
    return asked and bool(tasks_of(plan)) and not harness_of(plan.judge)


def follows(plan: LaunchPlan) -> bool:
    """Whether rounds of this launch are planned while its array samples."""
    return plan.rule is not None and alongside(plan)


def next_round(
    run: Run, config: Config, rounds: int | None = None, done: int | None = None
) -> LaunchPlan | None:
    """Plan and freeze the round that follows an evaluated one; None where the run is to be fitted.

    A fixed number of samples has no next round, and a budget that is spent ends the rounds. An
    adaptive run ends where nothing new is planned: slices whose sampling fails again and again do
    not keep it going. `launch.py --adaptive` goes on with those.

    rounds: how many there were before. If there are more, an attempt to go on was cut short after
    it had frozen the next one; that one is then what follows.

    done: how many slices had a shard before, if rounds were planned while the array sampled. What
    that array has left is then what follows, as long as each array brings something.
    """
    if not config.stopping.adaptive:
        return None
    plan = plan_next_round(run, config)
    old = rounds is None or run.round_count() == rounds
    goes_on = not old if done is None else len(run.done()) > done
    if plan.out_of_budget or not (plan.new or (plan.missing and goes_on)):
        return None
    freeze_launch(plan)
    return plan


def run_rounds(
    plan: LaunchPlan, run: Run, launcher: str, run_stage: Callable[[Stage], list[Any]]
) -> bool:
    """This round and those that follow, stage after stage, for a launcher that stays with them.

    run_stage: runs a stage to its end and gives the results of the array tasks that succeeded.
    True when nothing planned is missing.
    """
    following: LaunchPlan | None = plan
    while following is not None:
        launch = new_launch()
        record_launch(run, following, launcher, launch)
        beside = launcher != "inline"
        done = len(run.done()) if beside and follows(following) else None
        *work, fit = stages_of(following, run, launch=launch if beside else "")
        for stage in work:
            run_stage(stage)
        following = next_round(run, plan.config, done=done)
    return run_stage(fit) == [True]
