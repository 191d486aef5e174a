"""Launching: sampling, then evaluation, then fit; on Slurm, in local processes, or right here."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import submitit

from toolkit.cores import divided_cores
from toolkit.errors import UsageError
from toolkit.launch.prepare import (
    LaunchPlan,
    freeze_launch,
    plan_next_round,
    record_launch,
    tasks_of,
)
from toolkit.launch.slurm import cluster_answers, cluster_has_gpus
from toolkit.launch.tasks import evaluation_task, fit_task, sampling_task
from toolkit.runs.run import Run

log = logging.getLogger(__name__)

LOCAL_DAYS = 7
"""A local process has no time limit worth the name (submitit insists on one)."""


def choose_launcher(asked: str) -> str:
    """`asked`, or for "auto" slurm where a cluster answers and local where none does.

    Raises `UsageError` when slurm is asked for and no cluster answers.
    """
    if asked not in ("auto", "slurm"):
        return asked
    if cluster_answers():
        return "slurm"
    if asked == "slurm":
        raise UsageError(
            "--launcher slurm: no cluster answers (`sinfo` fails here): log in to a submit node, "
            "or use --launcher local"
        )
    return "local"


def gpus_at_hand(launcher: str) -> bool:
    """Whether sampling tasks of this launcher could have a GPU."""
    return cluster_has_gpus() if launcher == "slurm" else Path("/dev/nvidiactl").exists()


def run_local(plan: LaunchPlan, run: Run, show: Callable[[], None]) -> bool:
    """Run the stages one after the other in processes of this machine, to the end.

    `show` is called every few seconds. True when nothing planned is missing. A failed task does
    not keep the later stages from running on what is there.
    """
    path = run.path
    for each in _rounds(plan, run):
        record_launch(run, each, "local", {})
        tasks = [(path, names, each.config) for names in tasks_of(each)]
        _finish("sample", _local(run, sampling_task, tasks), show)
        share = (path, 0, 1, each.config)
        _finish("evaluate", _local(run, evaluation_task, [share]), show)
    results = _finish("fit", _local(run, fit_task, [(path, plan.config)]), show)
    return results == [True]


def run_inline(plan: LaunchPlan, run: Run) -> bool:
    """Run the stages in this process; True when nothing planned is missing."""
    for each in _rounds(plan, run):
        record_launch(run, each, "inline", {})
        for names in tasks_of(each):
            sampling_task(run.path, names, each.config)
        evaluation_task(run.path, 0, 1, each.config)
    return fit_task(run.path, plan.config)


def _rounds(plan: LaunchPlan, run: Run) -> Iterator[LaunchPlan]:
    """This round, and while the stopping rule asks for more samples, the next ones."""
    yield plan
    while plan.rule:
        plan = plan_next_round(run, plan.config)
        if not plan.new:
            return
        freeze_launch(plan)
        yield plan


def _local(
    run: Run, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[submitit.Job[Any]]:
    executor = submitit.LocalExecutor(folder=run.slurm_dir)
    executor.update_parameters(timeout_min=LOCAL_DAYS * 24 * 60, stderr_to_stdout=True)
    with divided_cores(len(arguments)):
        return [executor.submit(task, *values) for values in arguments]


def _finish(stage: str, jobs: list[submitit.Job[Any]], show: Callable[[], None]) -> list[Any]:
    """Wait for local jobs; the results of those that succeeded."""
    try:
        while not all(job.done() for job in jobs):
            show()
            time.sleep(1.0)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel(check=False)
        raise
    results = []
    for job in jobs:
        if error := job.exception():
            log.error("%s: %s (log: %s)", stage, _last_line(error), job.paths.stdout)
        else:
            results.append(job.result())
    return results


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Failure|Shard|Exception): ", line)]
    return (named or lines or [type(error).__name__])[-1]
