"""From a configuration to a planned run: which run it is, what is new, what is missing.

`plan_launch` only reads, so that a dry run changes nothing. `freeze_launch` writes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import Config, Evaluation, describe_config
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.dtype import record_dtype, with_dtype
from toolkit.launch.identity import run_identity
from toolkit.launch.slice_size import slice_size
from toolkit.problems.humaneval import is_full_humaneval
from toolkit.problems.load import problems_label, source_of
from toolkit.records import Judge, JudgeChoice, Problem, Slice
from toolkit.runs.budget import Amount, amounts, amounts_of_run, reached
from toolkit.runs.history import Launch, append_launch, now, point_latest, versions
from toolkit.runs.judge import judge_choice, judge_document, record_judge
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import Run, check_identity, create_or_open, open_run, run_name
from toolkit.runs.slices import deal, missing_slices, plan_round, planned_samples
from toolkit.runs.usage import Spent
from toolkit.stages.task import load_task, task_document
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.base import check_node, only_kind
from toolkit.verifiers.judges import judge_of, judge_of_run, with_files_of, with_settings


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What a launch would do.

    new: the slices of its round. missing: all slices to sample, the new ones included. planned:
    number of samples in all rounds. rule: of adaptive sampling, where more rounds may follow; None
    for a fixed number of samples. hub_model: commit and directory of a model of the hub, as the run
    records them; None for any other model, and before the model is fetched. budget: what the run
    has spent of each bound of its budget. kept_dtype: the number format of the run's samples, where
    this launch names none; else "".
    """

    path: Path
    exists: bool
    config: Config
    identity: Mapping[str, Any]
    problems: tuple[Problem, ...]
    round_index: int
    new: tuple[Slice, ...]
    missing: tuple[Slice, ...]
    planned: int
    judge: Judge
    rule: StoppingRule | None = None
    hub_model: Mapping[str, str] | None = None
    budget: tuple[Amount, ...] = ()
    kept_dtype: str = ""

    @property
    def out_of_budget(self) -> Amount | None:
        """The bound of the budget that is reached; None while more may be sampled."""
        return reached(self.budget)

    @property
    def samples_missing(self) -> int:
        """The number of samples that are planned, the new ones included, and not on disk."""
        return sum(map(len, self.missing))


@dataclass(frozen=True, slots=True)
class Located:
    """Which run a configuration belongs to, and whether that run exists.

    judge: of the configuration's task; None where the run's own problems were given.
    """

    path: Path
    exists: bool
    identity: Mapping[str, Any]
    problems: tuple[Problem, ...]
    judge: JudgeChoice | None = None


def locate(
    config: Config,
    runs: Path,
    path: Path | None = None,
    *,
    problems: Sequence[Problem] | None = None,
) -> Located:
    """Find the run of this configuration, in `runs`, or at `path`; see `plan_launch`."""
    chosen = config.problem_set
    held, judge = None, None
    if problems is None:
        _, problems, judge = load_task(
            chosen.task, chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids
        )
    elif path is not None:
        held = open_run(path).manifest()["identity"]
    identity = run_identity(config, problems, held)
    path = path or runs / run_name(identity, problems_label(source_of(chosen)))
    return Located(path, (path / "manifest.json").is_file(), identity, tuple(problems), judge)


def plan_launch(
    config: Config,
    runs: Path,
    path: Path | None = None,
    *,
    problems: Sequence[Problem] | None = None,
    timeout: float | None = None,
    libraries: str | None = None,
) -> LaunchPlan:
    """Find the run of this configuration (in `runs`, or at `path`) and plan what it lacks.

    A new run is judged as the configuration says. A run that exists keeps its judge. Only `timeout`
    (seconds) and `libraries` change that: what the user has named for this launch. So do the files
    of the task's judge, if they have changed.

    problems: the run's own, frozen ones, if it is resumed. Otherwise the configuration names them.
    A resumed run needs its model, or its file of completions, only if something is to be sampled.

    A launch that names no number format (--dtype) takes that of the run's samples.

    Raises `UsageError` if the problems, the model or the run cannot be used. Raises `RunMismatch`
    if the run at `path` was made with another configuration, or another number format.
    """
    found = locate(config, runs, path, problems=problems)
    run, named = open_run(found.path) if found.exists else None, config.engine.dtype
    if run:
        check_identity(run, found.identity)
        config = with_dtype(config, run)
        # The task's own files may have changed, or moved.
        judge = with_files_of(judge_of_run(run, timeout, libraries), found.judge)
    else:
        asked = config.evaluation
        choice = found.judge or JudgeChoice(only_kind(found.problems))
        judge = judge_of(with_settings(choice, asked.timeout, asked.libraries))
    if not config.resources.cpu_container:
        check_node(judge)
    config = absolute_paths(config)
    plan = _plan(config, found.path, run, found.identity, found.problems, judge)
    if config.engine.dtype != named:
        plan = dataclasses.replace(plan, kept_dtype=config.engine.dtype)
    if plan.missing and problems is not None:
        run_identity(config, problems)
    return plan


def absolute_paths(config: Config) -> Config:
    """With each path as an absolute one, so that jobs and a resume find it from any directory.

    The file of problems stays as it was named: a run holds its problems.
    """
    s, e = config.sampling, config.engine
    stage_model = e.stage_model
    if stage_model not in ("", "auto"):
        stage_model = str(Path(stage_model).absolute())
    return dataclasses.replace(
        config,
        sampling=s if s.backend != "vllm" else dataclasses.replace(s, model=_absolute(s.model)),
        engine=dataclasses.replace(
            e, stage_model=stage_model, replay_file=_absolute(e.replay_file)
        ),
    )


def _absolute(name: str) -> str:
    """The absolute path of a file or directory that is there; any other name as it is."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def plan_next_round(run: Run, config: Config) -> LaunchPlan:
    """Plan the next round of an adaptive run, once its last round is evaluated.

    `new` is empty if no problem needs more samples.
    """
    identity, problems = run.manifest()["identity"], run.problems()
    return _plan(config, run.path, run, identity, problems, judge_of_run(run))


def _plan(
    config: Config,
    path: Path,
    run: Run | None,
    identity: Mapping[str, Any],
    problems: Sequence[Problem],
    judge: Judge,
) -> LaunchPlan:
    config = dataclasses.replace(config, evaluation=_as_judged(config.evaluation, judge))
    old = run.slices() if run else []
    planned = planned_samples(old)
    rule = _stopping_rule(config, run, planned)
    if rule is None:
        wanted = {p.task_id: config.quantity.samples for p in problems}
    else:
        wanted = _adaptive_wants(judge, run, rule, problems, planned)
    count = sum(max(0, n - planned.get(task_id, 0)) for task_id, n in wanted.items())
    new = plan_round(
        run.round_count() if run else 0,
        wanted,
        planned,
        slice_samples=slice_size(config, count, run),
        slice_seeds=config.quantity.slice_seeds,
    )
    return LaunchPlan(
        path=path,
        exists=run is not None,
        config=config,
        identity=identity,
        problems=tuple(problems),
        round_index=run.round_count() if run else 0,
        new=tuple(new),
        missing=tuple(missing_slices([*old, *new], run.done() if run else set())),
        planned=sum(map(len, [*old, *new])),
        judge=judge,
        rule=rule,
        hub_model=run.manifest().get("hub_model") if run else None,
        budget=tuple(
            amounts_of_run(run, config.budget) if run else amounts(config.budget, Spent())
        ),
    )


def _as_judged(evaluation: Evaluation, judge: Judge) -> Evaluation:
    """With the judge's settings: the record of a launch holds them, wherever they came from."""
    timeout, libraries = judge.settings.get("timeout"), judge.settings.get("libraries")
    return dataclasses.replace(
        evaluation,
        timeout=None if timeout is None else float(timeout),
        libraries=None if libraries is None else str(libraries),
    )


def _stopping_rule(
    config: Config, run: Run | None, planned: Mapping[str, int]
) -> StoppingRule | None:
    """The stopping rule of this launch; None for a fixed n. It may only raise the run's cap.

    Raises `UsageError` if the existing samples do not follow the rule. No estimator would be valid
    for them.
    """
    stop, old = config.stopping, run.stopping_rule() if run else None
    if run and old and not stop.adaptive:
        raise UsageError(
            f"{run.path}: was sampled adaptively; launch with --adaptive, or for a "
            "fixed number of samples name a new directory with --run"
        )
    if not stop.adaptive:
        return None
    if old is None:
        most = max(planned.values(), default=0)
        if most > stop.stop_min:
            raise UsageError(
                f"--stop-min {stop.stop_min}: the run has {most} samples of a problem already, "
                f"which no rule chose; give --stop-min {most} or more, or a new directory as --run"
            )
        return StoppingRule.batches(stop.stop_r, stop.stop_min, stop.stop_cap, stop.stop_batch)
    if (old.r, old.looks[0]) != (stop.stop_r, stop.stop_min):
        raise UsageError(
            f"--stop-r {stop.stop_r} --stop-min {stop.stop_min}: the run samples with --stop-r "
            f"{old.r} --stop-min {old.looks[0]}; keep these, only --stop-cap may be raised"
        )
    return old.up_to(stop.stop_cap, stop.stop_batch)


def _adaptive_wants(
    judge: Judge,
    run: Run | None,
    rule: StoppingRule,
    problems: Sequence[Problem],
    planned: Mapping[str, int],
) -> dict[str, int]:
    """task_id -> number of samples wanted at the end of this round.

    A problem goes on to its next look when all its samples are evaluated. A problem that still
    lacks samples or verdicts waits for them.
    """
    if run is None:
        return {p.task_id: rule.looks[0] for p in problems}
    wanted = {p.task_id: max(rule.looks[0], planned.get(p.task_id, 0)) for p in problems}
    for task_id, n, c in count_outcomes(run, judge)["task_id", "n", "c"].rows():
        wanted[task_id] = rule.wanted(planned.get(task_id, 0), n, c)
    return wanted


def create_run(plan: LaunchPlan) -> Run:
    """Create the run if it is new; its round is not frozen yet."""
    return create_or_open(plan.path, plan.identity, problems=list(plan.problems), **run_facts(plan))


def freeze_launch(plan: LaunchPlan) -> Run:
    """Create the run if it is new, freeze the round if there is one, and point `latest` to it."""
    run = create_run(plan)
    if plan.hub_model is not None:
        _record_model(run, plan.hub_model)
    if plan.config.sampling.backend == "vllm":
        record_dtype(run)
    if judge_choice(run) != plan.judge.choice:
        record_judge(run, plan.judge.choice)
    # A raised cap is recorded even if no problem needs it: the curve then reaches that cap.
    if plan.new or plan.rule != run.stopping_rule():
        freeze_round(run.path, plan.round_index, plan.new, plan.rule)
    point_latest(run)
    return run


def _record_model(run: Run, hub_model: Mapping[str, str]) -> None:
    """Record where the hub's cache is now. The commit stays what it was at the first launch."""
    recorded = run.manifest().get("hub_model")
    if recorded is not None and recorded["commit"] != hub_model["commit"]:
        raise ToolkitError(
            f"{run.path}: another launch has just made this run, with the commit "
            f"{recorded['commit']} of the model; launch again"
        )
    if recorded != hub_model:
        run.update_manifest({"hub_model": dict(hub_model)})


def tasks_of(plan: LaunchPlan) -> list[list[str]]:
    """The slice names of each array task: the missing slices, dealt to those of this launch.

    There are no more array tasks than their engines have slices for. None where the budget is
    spent: no engine starts in vain.
    """
    if plan.out_of_budget:
        return []
    resources = plan.config.resources
    busy = -(-len(plan.missing) // resources.engines_per_task)
    return deal(plan.missing, min(resources.array, busy))


def record_launch(run: Run, plan: LaunchPlan, launcher: str, launch: str) -> None:
    """Add a line to the run's history: what is launched, where, and the id of the launch.

    Jobs come after it, each with a line of its own.
    """
    line = Launch(
        time=now(),
        launcher=launcher,
        round=plan.round_index,
        samples=plan.config.quantity.samples,
        slices_missing=len(plan.missing),
        config=describe_config(plan.config),
        versions=versions(),
        launch=launch,
        path=str(run.path.resolve()),
    )
    append_launch(run, line)


def run_facts(plan: LaunchPlan) -> dict[str, Any]:
    """What the manifest records beside the identity."""
    config = plan.config
    return {
        "created": now(),
        "problems_source": source_of(config.problem_set),
        **({} if plan.exists else {"task": task_document(config.problem_set)}),
        "full_humaneval": is_full_humaneval(plan.problems),
        "judge": judge_document(plan.judge.choice),
        "config": describe_config(config),
        "versions": versions(),
        **({"hub_model": dict(plan.hub_model)} if plan.hub_model else {}),
    }
