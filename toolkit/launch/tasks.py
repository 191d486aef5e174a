"""What a job of a launch runs: a stage, its log, and putting itself back in the queue.

Module-level functions of plain arguments, so that a pickled job names them by reference.
"""

import contextlib
import functools
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import ParamSpec, TypeVar

from toolkit.cli import configure_log, how_many, job_command
from toolkit.config import Config
from toolkit.cores import available_cores
from toolkit.errors import ToolkitError
from toolkit.launch.accounting import read_cost
from toolkit.launch.alongside import sampling_over
from toolkit.launch.causes import BEGINS
from toolkit.launch.following import Planner, rounds_follow
from toolkit.launch.gpus import engine_devices
from toolkit.launch.queue import requeue
from toolkit.runs.partials import brought_samples
from toolkit.runs.run import Run, open_run
from toolkit.runs.shares import Share
from toolkit.stages.alongside import evaluate_alongside
from toolkit.stages.evaluate import EvaluationSummary, evaluate_run
from toolkit.stages.sample import provenance, run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.judges import judge_of_run

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

REQUEUE_SECONDS = 120.0
"""How long Slurm may take to end an array task that it has put back in the queue."""


def stage_task(stage: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A task of this stage, whose log says how it began and how it failed.

    Its first line names the stage. If it fails, its last line is `<time> <host> failed: <class>:
    <message>`, after Python's traceback. `toolkit.launch.causes` looks for both.
    """

    def logged(task: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(task)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            configure_log()
            log.info("%s%s", BEGINS, stage)
            try:
                return task(*args, **kwargs)
            except Exception:
                # Only where nobody catches it: an inline launch has its own last word.
                sys.excepthook = _last_words
                raise

        return told

    return logged


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    sys.__excepthook__(kind, error, trace)
    log.error("failed: %s: %s", kind.__name__, " ".join(str(error).split()))


@stage_task("sample")
def sampling_task(
    path: Path, names: Sequence[str], config: Config, launch: str = "", task: int = 0
) -> None:
    """Sample slices to the end; on Slurm's signal before the time limit, requeue and go on.

    launch: the id of the launch, if rounds follow while its array samples; task: the index in that
    array. Raises `ToolkitError` when stopped without a requeue: what is missing waits for a launch.
    """
    stop, run = StopRequest(), open_run(path)
    share = Share(run, launch, task) if launch else None
    if run_sampling(run, names, config, stop, engine_devices(config, os.environ), share):
        stop.release()
        return
    if stop.near_time_limit:
        _refuse_fruitless_restart(run, [*names, *(s.name for s in (share.taken if share else ()))])
        if _requeue(config.resources.max_requeues):
            # Slurm ends this process; returning would let the array task count as completed.
            time.sleep(REQUEUE_SECONDS)
    raise ToolkitError("stopped before the end: finished samples are kept, launch again to go on")


def _refuse_fruitless_restart(run: Run, names: Sequence[str]) -> None:
    """Raise `ToolkitError` if this restart and the one before brought no sample of these slices.

    The shards and partial files tell: each names the restart that drew its samples.
    """
    task = provenance()
    this = task.slurm_restarts or 0
    if this >= 2 and not brought_samples(run, names, task, {this - 1, this}):
        raise ToolkitError(
            f"two restarts brought no new sample: start-up and one sample need more than the time "
            f"limit, or could not be written (see the log); make room, or give more time: "
            f"`{job_command('launch')} --resume --run {shlex.quote(str(run.path))} --time TIME`"
        )


@stage_task("evaluate")
def evaluation_task(path: Path, part: int, parts: int, config: Config) -> EvaluationSummary:
    """Evaluate this array task's share; an incomplete one is reported, and fit sees it for itself.

    On Slurm's signal before the time limit or a preemption: requeue, and go on from the verdicts
    that are written.
    """
    workers = config.evaluation.workers or available_cores()
    with _until_time_limit(config):
        summary = evaluate_run(
            open_run(path), config.evaluation, part=part, parts=parts, workers=workers
        )
    log.info("%s", summary.line())
    return summary


@stage_task("alongside")
def alongside_task(
    path: Path, part: int, parts: int, config: Config, launch: str, following: int = 0
) -> None:
    """Evaluate this array task's share of each shard that comes, until the launch has sampled.

    following: so many engines share the rounds that the first array task of this stage plans; 0 if
    none follow while the array samples.

    Whatever ends it, the evaluation that follows judges what is missing. On Slurm's signal: as
    `evaluation_task`.
    """
    run = open_run(path)
    workers = config.evaluation.workers or available_cores()
    with _until_time_limit(config):
        evaluate = partial(
            evaluate_alongside,
            run,
            config.evaluation,
            sampling_over(run, launch),
            part=part,
            parts=parts,
            workers=workers,
        )
        if following:
            planner = Planner(run, config, launch, following, alone=parts == 1)
            plan = partial(rounds_follow, run, launch) if part else planner.plan
            evaluate(plan=plan, hungry=planner.hungry)
        else:
            evaluate()


@stage_task("fit")
def fit_task(path: Path, config: Config) -> bool:
    """Fit and report; True when nothing planned is missing."""
    # Only here: a launch and its other array tasks need neither SciPy nor matplotlib.
    from toolkit.stages.fit import fit_run

    run = open_run(path)
    return fit_run(
        run,
        judge=judge_of_run(run),
        replicates=config.fit.replicates,
        cost=read_cost(run),
        browse=config.fit.browse,
    ).complete


@contextlib.contextmanager
def _until_time_limit(config: Config) -> Iterator[None]:
    """A context of an evaluation that Slurm's signal ends: then the array task is requeued."""
    signal.signal(signal.SIGUSR2, _stop_evaluation)
    try:
        yield
    except _NearTimeLimit:
        if _requeue(config.resources.max_requeues):
            time.sleep(REQUEUE_SECONDS)
        raise ToolkitError("stopped before the end: verdicts are kept, evaluate again") from None


class _NearTimeLimit(Exception):
    """Raised out of an evaluation by Slurm's signal."""


def _stop_evaluation(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise _NearTimeLimit


def _requeue(most: int) -> bool:
    job, restarts = _own_job(), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if job is None:
        return False
    if restarts >= most:
        log.error("requeued %s already (--max-requeues): not again", how_many(restarts, "time"))
        return False
    requeue(job)
    log.info("requeued, for the %d. time", restarts + 1)
    return True


def _own_job() -> str | None:
    """The id of this job, of an array task such as 12_3; None outside Slurm.

    The job id of an array's last task is that of the whole array: by it, all would be requeued.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
