"""A study on Slurm: its runs submitted one after the other, within one bound, and cancelled.

Each run is an ordinary launch. What binds them are dependencies between jobs: a run's sampling
waits for that of the runs that had its slots before (see `toolkit.campaigns.slots`). So the bound
holds whatever happens to this process, and nothing has to stay alive.

With a bound on GPU-hours, a small job stands before each run that waits. It reads what has been
spent, and withdraws the run where the bound is reached. Runs that have begun are not stopped.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.campaigns.plan import PlannedRun
from toolkit.campaigns.record import (
    Record,
    RunRecord,
    asked,
    launched_runs,
    read_record,
    write_record,
)
from toolkit.campaigns.slots import Place, places
from toolkit.campaigns.study import Study
from toolkit.config import Config
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.accounting import accounts_of_runs
from toolkit.launch.exclusive import Hold, hold, holder_of
from toolkit.launch.model import TOKENS, with_model
from toolkit.launch.parameters import slurm_executor
from toolkit.launch.prepare import create_run, freeze_launch
from toolkit.launch.queue import QueuedJob, cancel, jobs_named, jobs_of_launch, queues_of
from toolkit.launch.slurm import submit_slurm
from toolkit.launch.submission import noticed_signals, submit_job
from toolkit.launch.tasks import stage_task
from toolkit.runs.history import record_cancellation, standing_launches
from toolkit.runs.run import Run
from toolkit.runs.usage import facts_of_work

log = logging.getLogger(__name__)

SUBMISSION_SECONDS = 300.0
"""A launch takes seconds; one that takes longer is as good as dead."""
LAST_STAGES = ("fit", "next")
Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""What a job of the study itself calls, and with what."""


@dataclass(slots=True)
class Queue:
    """What Slurm holds of a study's runs: run -> its jobs. held: slot -> the jobs that hold it.

    unbounded: sampling jobs that stand in no slot of the present bound. endless: slots that are
    held until all jobs of a run have ended. last: the jobs after which a run has ended.
    """

    jobs: dict[str, list[QueuedJob]]
    held: dict[int, set[str]] = field(default_factory=dict)
    unbounded: set[str] = field(default_factory=set)
    endless: set[int] = field(default_factory=set)
    last: list[str] = field(default_factory=list)


def read_queue(record: Record, bound: int | None) -> Queue:
    """Ask squeue once for all runs that a study has launched. Raises `SlurmFailure`."""
    runs = launched_runs(record)
    found = Queue(dict(zip(runs, queues_of(list(runs.values())), strict=True)))
    for name, jobs in found.jobs.items():
        run = record.runs[name]
        found.last += sorted({j.submission for j in jobs if j.stage.startswith(LAST_STAGES)})
        sampling = {j.submission for j in jobs if j.stage.startswith("sample")}
        holds = sampling or ({j.submission for j in jobs} if run.until_end else set())
        if run.slots is None or any(slot >= (bound or 0) for slot in run.slots):
            found.unbounded |= holds
            continue
        for slot in run.slots if holds else ():
            found.held[slot] = holds
            if run.until_end:
                found.endless.add(slot)
    return found


def with_launched(record: Record, planned: Sequence[PlannedRun]) -> Record:
    """The record with all runs of the study that exist, also those that were launched by hand.

    What is known of others stays, under a name of its own where another run has their name now.
    """
    for run in planned:
        path = str(run.plan.path.resolve())
        known = record.runs.get(run.name)
        if known.path != path if known else run.plan.exists:
            record = record.with_run(run.name, RunRecord(path, asked(run.asked)))
    return record.of_study([run.name for run in planned])


def submit_study(study: Study, todo: Sequence[PlannedRun], record: Record, held: Hold) -> list[str]:
    """Submit the runs that are not in the queue; the names of those that have no slot yet.

    The record is written before each submission: an interrupted one goes on from there. Raises
    `ToolkitError` where Slurm refuses a run; those before it stay in the queue.
    """
    bound = study.settings.max_parallel
    queue = read_queue(record, bound)
    found = _places(todo, queue, bound)
    late = [run.name for run in todo if found[run.name] is None]
    # Runs that keep their slots come last: nobody may wait for them.
    order = sorted((p for p in todo if found[p.name]), key=lambda p: p.work.endless)
    for done, planned in enumerate(order):
        held.touch()
        place = found[planned.name]
        slots = None if bound is None or place is None else list(place.slots)
        held_by = RunRecord(
            str(planned.plan.path.resolve()), asked(planned.asked), slots, planned.work.endless
        )
        record = record.with_run(planned.name, held_by)
        write_record(study.directory, record)
        try:
            _submit_run(study, planned, slots, queue, record)
        except ToolkitError as error:
            raise type(error)(
                f"run {planned.name}: {error} (submitted runs: {done} of {len(order)}; call this "
                "again for the others)"
            ) from None
    return late


def _places(todo: Sequence[PlannedRun], queue: Queue, bound: int | None) -> dict[str, Place | None]:
    if bound is None:
        return {run.name: Place((), 0.0, 0.0) for run in todo}
    # How long those in the queue still take is not known: they go first.
    longest = max((run.work.size for run in todo), default=0.0)
    until = {slot: math.inf if slot in queue.endless else longest for slot in queue.held}
    found = places([run.work for run in todo], bound, until)
    return {run.name: place for run, place in zip(todo, found, strict=True)}


def _submit_run(
    study: Study, planned: PlannedRun, slots: list[int] | None, queue: Queue, record: Record
) -> None:
    """Launch a run on Slurm, and let its jobs hold its slots from now on."""
    run = create_run(planned.plan)
    with hold(run, "slurm") as own:
        plan = planned.again(len(slots) if slots else None)
        run = freeze_launch(plan)
        after: set[str] = set()
        if slots:
            after = queue.unbounded.union(*(queue.held.get(slot, set()) for slot in slots))
        if after and study.settings.max_gpu_hours is not None:
            values = (study.directory.resolve(), planned.name, study.settings.max_gpu_hours)
            after = {
                submit_own("gate", study.directory, record, plan.config, (gate_task, values), after)
            }
        submitted = submit_slurm(plan, run, own.launch, sorted(after, key=int))
    sampling = {job for stage, job in submitted.jobs.items() if stage.startswith("sample")}
    if planned.work.endless:
        sampling = set(submitted.jobs.values())
    queue.held.update(dict.fromkeys(slots or (), sampling))
    queue.last.append(list(submitted.jobs.values())[-1])
    listed = ", ".join(f"{stage} {job}" for stage, job in submitted.jobs.items())
    print(f"submitted  {planned.name}: {listed}", flush=True)


def with_models(todo: Sequence[PlannedRun], alive: Callable[[], None]) -> list[PlannedRun]:
    """The runs with their hub models in the cache, before any of them is submitted.

    From then on this process has no token of the hub, as after any launch.
    """
    tokens = {name: os.environ[name] for name in TOKENS if name in os.environ}
    found = []
    for planned in todo:
        os.environ.update(tokens)
        found.append(replace(planned, plan=with_model(planned.plan, alive)))
    return found


def refuse_spent(study: Study, record: Record) -> None:
    """Raise `UsageError` where the GPU-hours of a study are spent: nothing may begin any more."""
    most = study.settings.max_gpu_hours
    if most is not None and (spent := spent_gpu_hours(record)) >= most:
        raise UsageError(
            f"{study.file}: {spent:.2f} GPU-hours are spent, of [study] max_gpu_hours = {most:g}; "
            "raise it to go on"
        )


def spent_gpu_hours(record: Record) -> float:
    """What all runs of a study have spent so far, by accounting and by their shards."""
    runs = launched_runs(record)
    every = zip(runs.values(), accounts_of_runs(list(runs.values())), strict=True)
    costs = [accounts.cost(run, facts_of_work(run, skip_damaged=True)) for run, accounts in every]
    return sum(cost.gpu_hours or 0.0 for cost in costs)


@stage_task("gate")
def gate_task(directory: Path, name: str, most: float) -> bool:
    """Let the run of this name begin, or withdraw it where `most` GPU-hours are spent."""
    record = read_record(directory)
    spent = spent_gpu_hours(record)
    log.info("%.2f of %g GPU-hours are spent", spent, most)
    if spent < most:
        return True
    run = launched_runs(record)[name]
    deadline = time.monotonic() + SUBMISSION_SECONDS
    # This job may begin before the last of those that it guards is submitted.
    while holder_of(run) and time.monotonic() < deadline:
        time.sleep(0.5)
    launch = standing_launches(run)[-1].launch
    ids = sorted({job.submission for job in jobs_of_launch(run, launch or "")}, key=int)
    cancel(ids[::-1])
    reason = f"the bound of {most:g} GPU-hours of the study was reached"
    record_cancellation(run, ids, withdrawn=launch, reason=reason)
    log.info("%s: withdrawn: %s", name, reason)
    return False


def own_name(kind: str, directory: Path, record: Record) -> str:
    """The name of a job of the study itself: a gate, or the comparison."""
    return f"{kind}-{directory.name[:60]}-{record.id}"


def submit_own(
    kind: str, directory: Path, record: Record, config: Config, task: Task, after: Iterable[str]
) -> str:
    """Submit a job of the study itself, as the fit of a run would be; its id."""
    folder = (directory / "slurm").resolve()
    name = own_name(kind, directory, record)
    waits = ":".join(sorted(after, key=int)) or None
    executor = slurm_executor(folder, config, "fit", 1, after=waits, name=name)
    call, values = task
    with noticed_signals() as stop:
        job, put_in_place = submit_job(executor, name, call, [values], stop)
        put_in_place()
    return job


def own_jobs(directory: Path, record: Record) -> list[QueuedJob]:
    """The study's own jobs in the queue. Raises `SlurmFailure`."""
    return jobs_named(*(own_name(kind, directory, record) for kind in ("gate", "compare")))


def cancel_study(directory: Path) -> dict[str, list[str]]:
    """Cancel all jobs of a study, and record it in its runs; run -> the ids that were cancelled.

    The study's own jobs have the name "". Those that wait for others go first, so that none starts
    because what it waited for has ended. Raises `SlurmFailure`; then nothing is recorded.
    """
    if holder := holder_of(Run(directory)):
        raise ToolkitError(
            f"{directory}: is being launched by {holder.line()}: wait for its end, or end it, then "
            "cancel again"
        )
    record = read_record(directory)
    found = {
        name: sorted({job.submission for job in jobs}, key=int)
        for name, jobs in read_queue(record, None).jobs.items()
    }
    found[""] = sorted({job.submission for job in own_jobs(directory, record)}, key=int)
    ids = sorted((job for jobs in found.values() for job in jobs), key=int, reverse=True)
    if ids:
        cancel(ids)
    for name, jobs in found.items():
        if name and jobs:
            record_cancellation(Run(Path(record.runs[name].path)), jobs)
    return {name: jobs for name, jobs in found.items() if jobs}
