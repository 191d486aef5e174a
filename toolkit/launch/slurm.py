"""The launcher on Slurm: the stages of a round as chained jobs.

The stages are chained by `afterany`. A stage checks plan against shards itself and runs on what is
there. So nothing hangs on a failed array task, and nothing relies on why the stage before it ended.

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

import submitit

from toolkit.cli import configure_log
from toolkit.config import Config
from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch.chain import Stage, next_round, stages_of
from toolkit.launch.parameters import slurm_executor
from toolkit.launch.prepare import LaunchPlan, record_launch
from toolkit.launch.queue import cancel, jobs_in_queue, max_array_size
from toolkit.launch.tasks import fit_task
from toolkit.report.terminal import results_complete
from toolkit.runs.history import submitted_stages
from toolkit.runs.run import Run, open_run

log = logging.getLogger(__name__)


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
            f"follow     python jobs/status.py {run}\n"
            f"cancel     python jobs/cancel.py {run}"
        )


def launch_slurm(
    plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool
) -> bool | None:
    """See `Launcher`: stages become chained jobs; without `wait` their submission is the end."""
    submitted = submit_slurm(plan, run)
    print(submitted.describe())
    if not wait:
        return None
    wait_slurm(submitted, show)
    return results_complete(run)


def submit_slurm(plan: LaunchPlan, run: Run) -> Submitted:
    """Submit sampling (if anything is missing), evaluation, and fit or next round; returns at once.

    Where a job is refused, those before it are cancelled: all of them, or none.
    """
    jobs: dict[str, str] = {}
    try:
        _submit_stages(plan, run, jobs)
        record_launch(run, plan, "slurm", jobs)
    except ToolkitError:
        _withdraw(list(jobs.values()))
        raise
    return Submitted(run, jobs)


def _submit_stages(plan: LaunchPlan, run: Run, jobs: dict[str, str]) -> None:
    """Submit stage after stage, each after the one before; `jobs` gets their ids as they are known.

    A stage of more array tasks than the cluster allows in an array becomes several arrays.
    """
    config = plan.config
    *work, fit = stages_of(plan, run, config.resources.eval_array)
    last = Stage("next", next_round_task, fit.arguments) if plan.rule else fit
    stages = [*work, last]
    limit = max_array_size() if any(len(s.arguments) > 1 for s in stages) else 1
    after: str | None = None
    for stage in stages:
        arrays = split_arrays(stage.arguments, limit)
        ids = []
        for i, array in enumerate(arrays, start=1):
            executor = slurm_executor(
                run.slurm_dir, config, stage.name, len(array), after, len(arrays)
            )
            ids.append(_submit(executor, stage.task, array))
            jobs[stage.name if i == 1 else f"{stage.name}-{i}"] = ids[-1]
        after = ":".join(ids) or None


def _withdraw(ids: list[str]) -> None:
    """Cancel the jobs of a launch that failed; where that fails too, say what is left."""
    try:
        if ids:
            cancel(ids)
    except SlurmFailure as error:
        log.error("%s; still in the queue: `scancel %s`", error, " ".join(ids))


def split_arrays(arguments: list[tuple[Any, ...]], limit: int) -> list[list[tuple[Any, ...]]]:
    """The array tasks of a stage as arrays of nearly equal length, none longer than `limit`."""
    count = -(-len(arguments) // limit)
    return [arguments[i::count] for i in range(count)]


def next_round_task(path: Path, config: Config) -> bool:
    """Submit the next round of an adaptive run; at its end, fit. True when nothing is missing."""
    configure_log()
    run = open_run(path)
    plan = next_round(run, config)
    if plan is None:
        return fit_task(path, config)
    # The new jobs are no part of this one: its limits and its restarts are not theirs.
    for name in [n for n in os.environ if n.startswith("SLURM_") and n != "SLURM_CONF"]:
        del os.environ[name]
    log.info("round %d: %s", plan.round_index, submit_slurm(plan, run).describe())
    return False


def wait_slurm(submitted: Submitted, show: Callable[[], None], seconds: float = 5.0) -> None:
    """Call `show` every few seconds until the launch's jobs, and those of the rounds that they
    submit, have left the queue.

    One squeue call each time: accounting is not asked, so it need not exist. A cluster that does
    not answer is asked again.
    """
    while True:
        known = _jobs_since(submitted)
        try:
            left = known & jobs_in_queue(submitted.run).keys()
        except SlurmFailure as error:
            log.warning("%s", error)
            left = known
        show()
        # A job that has left the queue may have submitted the next round before.
        if not left and known == _jobs_since(submitted):
            return
        time.sleep(seconds if left else 0.0)


def _jobs_since(submitted: Submitted) -> set[str]:
    """The ids of a launch and of all that came after it."""
    first = min(map(int, submitted.jobs.values()))
    return {job for job in submitted_stages(submitted.run) if int(job) >= first}


def _submit(
    executor: submitit.SlurmExecutor, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> str:
    try:
        jobs = executor.map_array(task, *zip(*arguments, strict=True))
    except submitit.core.utils.FailedJobError as error:
        reason = [line for line in str(error).splitlines() if "error" in line.lower()]
        raise ToolkitError(
            f"sbatch refused the job: {(reason or [str(error)])[0].strip()}"
        ) from None
    return str(jobs[0].job_id).split("_")[0]
