"""Launchers of one machine: in processes of their own, or in this process."""

import logging
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import submitit

from toolkit.cores import divided_cores
from toolkit.launch.chain import Stage, run_rounds
from toolkit.launch.prepare import LaunchPlan
from toolkit.runs.run import Run

log = logging.getLogger(__name__)

STAGE_SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
"""The signals that stages handle."""

LOCAL_MINUTES = 7 * 24 * 60
"""A local process has no time limit worth the name (submitit insists on one)."""


def launch_local(
    plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool = True
) -> bool:
    """See `Launcher`: each array task is a process of this machine; it always waits.

    A failed array task does not keep the later stages from running on what is there.
    """
    return run_rounds(plan, run, "local", lambda stage: _run_processes(run, stage, show))


def launch_inline(
    plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool = True
) -> bool:
    """See `Launcher`: everything runs in this process, one array task after the other.

    Any error ends the launch. `show` is not called: the log is on this process's stderr.
    """
    return run_rounds(plan, run, "inline", _run_here)


def _run_here(stage: Stage) -> list[Any]:
    """In this process. The handlers of signals that a stage sets must not outlive it: a signal to
    the next stage would then ask the last one to stop, and nothing would happen.
    """
    handlers = {number: signal.getsignal(number) for number in STAGE_SIGNALS}
    try:
        return [stage.task(*values) for values in stage.arguments]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run_processes(run: Run, stage: Stage, show: Callable[[], None]) -> list[Any]:
    """Run the array tasks of a stage side by side; the results of those that succeeded."""
    executor = submitit.LocalExecutor(folder=run.slurm_dir)
    executor.update_parameters(timeout_min=LOCAL_MINUTES, stderr_to_stdout=True)
    with divided_cores(len(stage.arguments)):
        jobs = [executor.submit(stage.task, *values) for values in stage.arguments]
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
            log.error("%s: %s (log: %s)", stage.name, _last_line(error), job.paths.stdout)
        else:
            results.append(job.result())
    return results


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Failure|Shard|Exception): ", line)]
    return (named or lines or [type(error).__name__])[-1]
