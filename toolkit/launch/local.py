"""Launchers of one machine: in processes of their own, or in this process."""

import contextlib
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import submitit

from toolkit.cores import divided_cores
from toolkit.launch.alongside import sampling_here
from toolkit.launch.chain import Stage, run_rounds
from toolkit.launch.gpus import Gpus, places, visible_gpus
from toolkit.launch.prepare import LaunchPlan
from toolkit.runs.run import Run
from toolkit.stages.sample import VISIBLE

log = logging.getLogger(__name__)

STAGE_SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
"""The signals that stages handle."""
STOP_SECONDS = 20.0
"""How long array tasks may take to stop, once they are asked to."""


def launch_local(
    plan: LaunchPlan, run: Run, show: Callable[[], None], *, wait: bool = True
) -> bool:
    """See `Launcher`: each array task is a process of this machine; it always waits.

    A failed array task does not keep the later stages from running on what is there.
    """
    gpus = visible_gpus(os.environ)

    def run_stage(stage: Stage) -> list[Any]:
        found = places(plan.config, stage.name, len(stage.arguments), gpus)
        with _beside(run, stage, show):
            return run_processes(run, stage, found, show)

    return run_rounds(plan, run, "local", run_stage)


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


def run_processes(
    run: Run, stage: Stage, free: Sequence[Gpus], show: Callable[[], None]
) -> list[Any]:
    """Run the array tasks of a stage, as many at once as there are places for.

    free: the GPUs of each place. Gives the results of the array tasks that succeeded. Whatever ends
    this call ends the array tasks too.
    """
    executor = _Executor(run, signal.SIGTERM if stage.name == "sample" else signal.SIGINT)
    jobs: list[submitit.LocalJob[Any]] = []
    places, waiting = list(free), list(stage.arguments)
    running: list[tuple[submitit.LocalJob[Any], Gpus]] = []
    if 0 < len(places) < len(waiting):
        log.info("%d array tasks, %d at a time", len(waiting), len(places))
    try:
        with divided_cores(len(places)):
            while waiting or running:
                while waiting and places:
                    executor.gpus = places.pop(0)
                    jobs.append(executor.submit(stage.task, *waiting.pop(0)))
                    running.append((jobs[-1], executor.gpus))
                show()
                time.sleep(1.0)
                places += [gpus for job, gpus in running if job.done()]
                running = [(job, gpus) for job, gpus in running if not job.done()]
    except BaseException:
        executor.stop()
        raise
    return list(_results(stage, jobs))


@contextlib.contextmanager
def _beside(run: Run, stage: Stage, show: Callable[[], None]) -> Iterator[None]:
    """A context in which the stage beside this one works, if there is one.

    At its end that stage is waited for. Whatever ends the context by an error ends it at once.
    """
    if stage.beside is None:
        yield
        return
    executor, jobs = _Executor(run, signal.SIGINT), []
    try:
        with sampling_here(stage.launch):
            jobs += [executor.submit(stage.beside.task, *x) for x in stage.beside.arguments]
            yield
        while not all(job.done() for job in jobs):
            show()
            time.sleep(1.0)
    except BaseException:
        executor.stop()
        raise
    list(_results(stage.beside, jobs))


def _results(stage: Stage, jobs: Sequence[submitit.LocalJob[Any]]) -> list[Any]:
    results = []
    for job in jobs:
        if error := job.exception():
            log.error("%s: %s (log: %s)", stage.name, _last_line(error), job.paths.stdout)
        else:
            results.append(job.result())
    return results


class _Executor(submitit.LocalExecutor):  # type: ignore[misc]
    """Starts array tasks, each in a session of its own, with the GPUs that `gpus` names then.

    submitit's own start hides all GPUs. And there, the terminal's Ctrl-C reaches each task beside
    us, which then has one second to save its work.
    """

    def __init__(self, run: Run, stop_signal: signal.Signals) -> None:
        super().__init__(folder=run.slurm_dir)
        self.gpus: Gpus = ()
        self._stop_signal = stop_signal
        self._processes: list[subprocess.Popen[bytes]] = []

    def _submit_command(self, command: str) -> submitit.LocalJob[Any]:
        job_id = str(10**9 + secrets.randbelow(10**9))
        paths = submitit.core.utils.JobPaths(self.folder, job_id, task_id=0)
        environment = os.environ | {
            VISIBLE: ",".join(self.gpus),
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_JOB_ID": job_id,
            "SUBMITIT_LOCAL_GLOBALID": "0",
            "SUBMITIT_LOCAL_LOCALID": "0",
        }
        task = (sys.executable, "-u", "-m", "toolkit.launch.local_task", str(self.folder))
        with paths.stdout.open("ab") as output:
            process = subprocess.Popen(
                (*task, str(int(self._stop_signal)), str(os.getpid())),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return submitit.LocalJob(self.folder, job_id, process=process)

    def stop(self) -> None:
        """Ask the array tasks to stop, kill those that do not; a second Ctrl-C kills at once."""
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for process in self._alive():
                process.send_signal(self._stop_signal)
            while self._alive() and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            for process in self._alive():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process.poll() is None]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Failure|Shard|Exception): ", line)]
    return (named or lines or [type(error).__name__])[-1]
