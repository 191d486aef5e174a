"""The launcher on Slurm: the stages of a round as chained jobs.

The stages are chained by `afterany`. A stage checks plan against shards itself and runs on what is
there. So nothing hangs on a failed array task, and nothing relies on why the stage before it ended.

A launch is in the run's history before its first job is submitted, and each job before the next
one. The jobs' names hold the id of the launch. So a job is found even if its launch was killed
before it could write down the job's own id.

A round of an adaptive run ends with a job that plans the next round from the verdicts and submits
it. So the array of each round is as large as its work, and no GPU is asked for in vain.
"""

import logging
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.cli import job_command
from toolkit.config import Config
from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch.chain import Stage, follows, next_round, stages_of
from toolkit.launch.exclusive import Hold, hold
from toolkit.launch.parameters import slurm_executor
from toolkit.launch.prepare import LaunchPlan, record_launch
from toolkit.launch.queue import (
    cancel,
    job_name,
    jobs_in_queue,
    jobs_of_launch,
    max_array_size,
    plain_name,
    queued_jobs,
)
from toolkit.launch.submission import (
    Interrupted,
    Interruption,
    forget_own_job,
    noticed_signals,
    submit_job,
)
from toolkit.launch.tasks import fit_task, stage_task
from toolkit.report.terminal import results_complete
from toolkit.runs.history import record_cancellation, record_job, submitted_stages
from toolkit.runs.run import Run, open_run

log = logging.getLogger(__name__)

LATE_SECONDS = 3.0
"""So long after an sbatch that was killed its job may still come into the queue."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The jobs of a launch on Slurm, in their order: stage -> Slurm job id."""

    run: Run
    jobs: dict[str, str]

    def describe(self) -> str:
        """The job ids and what to type next."""
        listed = ", ".join(f"{stage} {job}" for stage, job in self.jobs.items())
        run = shlex.quote(str(self.run.path))
        return (
            f"submitted  {listed}\n"
            f"follow     {job_command('status')} {run}\n"
            f"cancel     {job_command('cancel')} {run}"
        )


def launch_slurm(
    plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool, held: Hold
) -> bool | None:
    """See `Launcher`: stages become chained jobs; without `wait` their submission is the end.

    `held` is released when they are submitted: from then on the queue keeps other launches away.
    """
    submitted = submit_slurm(plan, run, held.launch)
    held.release()
    print(submitted.describe())
    if not wait:
        return None
    wait_slurm(submitted, show)
    return results_complete(run)


def submit_slurm(plan: LaunchPlan, run: Run, launch: str, after: Sequence[str] = ()) -> Submitted:
    """Submit sampling (if anything is missing), evaluation, and fit or next round; returns at once.

    launch: its id. after: jobs of others that sampling waits for, however they end. Where a job is
    refused, or a signal asks to stop, those before it are cancelled: all of them, or none. Raises
    `ToolkitError` then, and `SlurmFailure` if Slurm does not answer.
    """
    stages = _stages_to_submit(plan, run, launch)
    jobs: dict[str, str] = {}
    with noticed_signals() as stop:
        record_launch(run, plan, "slurm", launch)
        try:
            _submit_stages(plan.config, run, launch, stages, jobs, stop, after)
            if stop.name:
                raise Interrupted(stop.name)
        except Interrupted:
            said = _withdraw(run, launch, jobs, stop, f"interrupted by {stop.name}")
            raise ToolkitError(f"{run.path}: interrupted by {stop.name}: {said}") from None
        except BaseException as error:
            _withdraw(run, launch, jobs, stop, str(error) or type(error).__name__)
            raise
    return Submitted(run, jobs)


@dataclass(frozen=True, slots=True)
class _Array:
    """A job to submit. label: in the history; waits_for: the places in the list of those before.

    A stage beside another waits only until the first array task of that one has begun.
    """

    stage: Stage
    label: str
    arguments: list[tuple[Any, ...]]
    lanes: int
    waits_for: tuple[int, ...]


def _stages_to_submit(plan: LaunchPlan, run: Run, launch: str) -> list[_Array]:
    """The jobs of a launch in their order.

    A stage of more array tasks than the cluster allows in an array becomes several arrays. With
    --max-parallel under their number some of them wait for others: there are as many lanes.
    """
    resources = plan.config.resources
    *work, fit = stages_of(plan, run, resources.eval_array, launch)
    before = (len(run.done()),) if follows(plan) else ()
    following = [(*fit.arguments[0], launch, run.round_count(), *before)]
    last = Stage("next", next_round_task, following) if plan.rule else fit
    stages = [*work, last]
    limit = max_array_size() if any(len(s.arguments) > 1 for s in stages) else 1
    found: list[_Array] = []
    waited: tuple[int, ...] = ()
    for stage in stages:
        arrays, first = split_arrays(stage.arguments, limit), len(found)
        lanes = len(arrays)
        if stage.name == "sample" and resources.max_parallel:
            lanes = min(lanes, resources.max_parallel)
        for i, array in enumerate(arrays):
            waits_for = (first + i - lanes,) if i >= lanes else waited
            found.append(_Array(stage, _label(stage, i), array, lanes, waits_for))
        if beside := stage.beside:
            for i, array in enumerate(split_arrays(beside.arguments, limit)):
                found.append(_Array(beside, _label(beside, i), array, 1, (first,)))
        waited = tuple(range(first, len(found)))
    return found


def _label(stage: Stage, i: int) -> str:
    """Of the i-th array of a stage, in the history: `sample`, `sample-2` and so on."""
    return stage.name if i == 0 else f"{stage.name}-{i + 1}"


def _submit_stages(
    config: Config,
    run: Run,
    launch: str,
    arrays: list[_Array],
    jobs: dict[str, str],
    stop: Interruption,
    after: Sequence[str],
) -> None:
    """Submit array after array; `jobs` and the history get each id as soon as it is known."""
    run_name, ids = plain_name(run), list[str]()
    for array in arrays:
        stage = array.stage.name
        name = job_name(stage, run_name, launch)
        before = [ids[i] for i in array.waits_for] or list(after if stage == "sample" else ())
        if stage == "alongside" and len(arrays[array.waits_for[0]].arguments) > 1:
            before = [f"{before[0]}_0"]  # the whole array begins when its last task does
        executor = slurm_executor(
            *(run.slurm_dir, config, stage, len(array.arguments)),
            after=":".join(before) or None,
            arrays=array.lanes,
            name=name,
        )
        try:
            job, put_in_place = submit_job(executor, name, array.stage.task, array.arguments, stop)
        except (Interrupted, SlurmFailure):
            raise
        except ToolkitError as error:
            raise ToolkitError(
                f"{run.path}: sbatch refused the stage {stage}: {error}; nothing is submitted: "
                "change the flag that this is about, then launch again"
            ) from None
        ids.append(job)
        jobs[array.label] = job
        record_job(run, launch, array.label, job)
        put_in_place()


def _withdraw(run: Run, launch: str, jobs: dict[str, str], stop: Interruption, reason: str) -> str:
    """Cancel the jobs of a launch that failed, also one whose id is not known; says what became.

    reason: why, for the history. Where that fails too, the log says what is left.
    """
    found = {job: stage for stage, job in jobs.items()}
    try:
        if stop.unsure:
            time.sleep(LATE_SECONDS)
        for job in jobs_of_launch(run, launch):
            found.setdefault(job.submission, job.stage)
    except SlurmFailure as error:
        log.error(
            "%s; more jobs may be in the queue: `%s %s`", error, job_command("cancel"), run.path
        )
    listed = ", ".join(f"{stage} {job}" for job, stage in found.items())
    try:
        if found:
            cancel(list(found))
        record_cancellation(run, list(found), withdrawn=launch, reason=reason)
    except SlurmFailure as error:
        log.error("%s; still in the queue: `scancel %s`", error, " ".join(found))
        return f"still in the queue: {listed}; end them by `{job_command('cancel')} {run.path}`"
    except ToolkitError as error:
        log.error("%s", error)
    return f"{f'cancelled {listed}' if found else 'nothing was submitted'}; launch again to go on"


def split_arrays(arguments: list[tuple[Any, ...]], limit: int) -> list[list[tuple[Any, ...]]]:
    """The array tasks of a stage as arrays of nearly equal length, none longer than `limit`."""
    count = -(-len(arguments) // limit)
    return [arguments[i::count] for i in range(count)]


@stage_task("next")
def next_round_task(
    path: Path, config: Config, launch: str, rounds: int, done: int | None = None
) -> bool:
    """Submit the next round of an adaptive run; at its end, fit. True when nothing is missing.

    launch: the id of the launch that this job belongs to. rounds: how many there were then. done:
    how many shards, if rounds are planned while the array samples (see `next_round`).
    """
    run = open_run(path)
    with hold(run, "slurm") as held:
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")) and _goes_on_already(run, launch):
            return False
        plan = next_round(run, config, rounds, done)
        if plan is not None:
            forget_own_job()
            submitted = submit_slurm(plan, run, held.launch)
            log.info("round %d: %s", plan.round_index, submitted.describe())
            return False
    return fit_task(path, config)


def _goes_on_already(run: Run, launch: str) -> bool:
    """Whether this job had submitted the next round before it was restarted.

    If it had submitted a part of it, that part is cancelled: it is submitted again as a whole.
    """
    own = {job.submission for job in jobs_of_launch(run, launch)}
    left = {job.submission: job.stage for job in queued_jobs(run) if job.submission not in own}
    if {"next", "fit"} & set(left.values()):
        log.info("the next round is in the queue already: %s", " ".join(left))
        return True
    if left:
        cancel(list(left))
        record_cancellation(run, list(left))
    return False


def wait_slurm(submitted: Submitted, show: Callable[[], None], seconds: float = 5.0) -> None:
    """Call `show` every few seconds until the launch's jobs, and those of the rounds that they
    submit, have left the queue.

    One squeue call each time: accounting is not asked, so it need not exist. A cluster that does
    not answer is asked again.
    """
    first = min(map(int, submitted.jobs.values()))
    while True:
        known = submitted_stages(submitted.run)
        try:
            left = [job for job in jobs_in_queue(submitted.run) if int(job) >= first]
        except SlurmFailure as error:
            log.warning("%s", error)
            left = list(known)
        show()
        # A job that has left the queue may have submitted the next round before.
        if not left and known == submitted_stages(submitted.run):
            return
        time.sleep(seconds if left else 0.0)
