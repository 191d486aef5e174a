"""A study worked through on this machine, and the job that compares its runs on a cluster."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.campaigns.compare import compare_study
from toolkit.campaigns.plan import PlannedRun
from toolkit.campaigns.record import RunRecord, asked, read_record, write_record
from toolkit.campaigns.study import Study
from toolkit.campaigns.submit import own_jobs, own_name, read_queue, spent_gpu_hours, submit_own
from toolkit.config import Config
from toolkit.errors import ToolkitError
from toolkit.launch.exclusive import Hold, hold
from toolkit.launch.local import launch_inline, launch_local
from toolkit.launch.prepare import create_run, freeze_launch
from toolkit.launch.queue import cancel, refuse_second_launch
from toolkit.launch.submission import forget_own_job
from toolkit.launch.tasks import stage_task
from toolkit.launch.ticker import Ticker

log = logging.getLogger(__name__)


def work_through(study: Study, todo: Sequence[PlannedRun], held: Hold) -> bool:
    """Do the runs here, one after the other, whatever becomes of one; True when all are complete.

    The bound on parallel tasks is that of each run. No run begins once the GPU-hours are spent.
    """
    complete = True
    for planned in todo:
        held.touch()
        record = read_record(study.directory)
        most = study.settings.max_gpu_hours
        if most is not None and (spent := spent_gpu_hours(record)) >= most:
            print(f"{planned.name}: not begun: {spent:.2f} of {most:g} GPU-hours are spent")
            return False
        known = RunRecord(str(planned.plan.path.resolve()), asked(planned.asked))
        write_record(study.directory, record.with_run(planned.name, known))
        print(f"\n{planned.name}: {planned.plan.path}", flush=True)
        try:
            complete &= _work(study, planned, held)
        except ToolkitError as error:
            print(f"{planned.name}: {error}", file=sys.stderr, flush=True)
            complete = False
    return complete


def _work(study: Study, planned: PlannedRun, held: Hold) -> bool:
    run = create_run(planned.plan)
    with hold(run, planned.launcher) as own:
        refuse_second_launch(run)
        plan = planned.again(_parallel(study, planned))
        run = freeze_launch(plan)
        with Ticker(run, sys.stderr) as ticker:

            def show() -> None:
                own.touch()
                held.touch()
                ticker.show()

            launch = launch_inline if planned.launcher == "inline" else launch_local
            return launch(plan, run, show)


def _parallel(study: Study, planned: PlannedRun) -> int | None:
    bounds = (study.settings.max_parallel, planned.plan.config.resources.max_parallel)
    return min((bound for bound in bounds if bound), default=None)


def submit_comparison(
    directory: Path, config: Config, usd_per_gpu_hour: float, after: Sequence[str]
) -> str:
    """Submit the job that compares the runs after these jobs have ended; its id.

    One that waits in the queue already is replaced: it knows nothing of the new runs.
    """
    record = read_record(directory)
    name = own_name("compare", directory, record)
    waiting = (job for job in own_jobs(directory, record) if job.state == "PENDING")
    if old := [job.job for job in waiting if job.stage == name]:
        cancel(old)
    values = (directory.resolve(), config, usd_per_gpu_hour)
    return submit_own("compare", directory, record, config, (comparison_task, values), after)


@stage_task("compare")
def comparison_task(directory: Path, config: Config, usd_per_gpu_hour: float) -> None:
    """Compare the runs of a study; where some have begun another round, after that."""
    if last := read_queue(read_record(directory), None).last:
        forget_own_job()
        job = submit_comparison(directory, config, usd_per_gpu_hour, last)
        log.info("runs go on, so the comparison is job %s", job)
        return
    log.info("%s", compare_study(directory, usd_per_gpu_hour))
