"""Slurm: stages as chained jobs, and the questions that a launch asks a cluster.

The stages are chained by `afterany`: a stage checks plan against shards itself and runs on what is
there, so nothing hangs on a failed array task and nothing relies on why the stage before it ended.

A round of an adaptive run ends with a job that plans the next round from the verdicts and submits
it, so that the array of each round is as large as its work, and a GPU is never asked for nothing.
"""

import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from toolkit.cli import configure_log
from toolkit.config import Config, Resources
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.prepare import (
    LaunchPlan,
    freeze_launch,
    plan_next_round,
    record_cancellation,
    record_launch,
    tasks_of,
)
from toolkit.launch.tasks import evaluation_task, fit_task, sampling_task
from toolkit.runs.run import Run, launches, open_run

log = logging.getLogger(__name__)

SIGNAL_SECONDS = 90
"""Before its time limit a task is told to stop; Slurm may do so up to a minute earlier. It is a
quarter of a short limit, so that a task of some minutes gets anything done.
"""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The jobs of a launch on Slurm, in their order: stage -> Slurm job id."""

    run: Run
    jobs: dict[str, str]
    tasks: int

    def describe(self) -> str:
        """The job ids and what to type next."""
        listed = ", ".join(f"{stage} {job}" for stage, job in self.jobs.items())
        return (
            f"submitted  {listed}\n"
            f"follow     python jobs/status.py {self.run.path}\n"
            f"cancel     python jobs/cancel.py {self.run.path}"
        )


def cluster_answers() -> bool:
    """Whether a Slurm controller answers; having Slurm's programs installed is not enough."""
    if not (shutil.which("sinfo") and shutil.which("sbatch")):
        return False
    try:
        subprocess.run(["sinfo", "--noheader"], check=True, capture_output=True, timeout=15)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def cluster_has_gpus() -> bool:
    """Whether any node has one, as sinfo says."""
    command = ["sinfo", "--noheader", "--format=%G"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    return "gpu" in answer.stdout


def submit_slurm(plan: LaunchPlan, run: Run) -> Submitted:
    """Submit sampling (if anything is missing), evaluation, and fit or next round; returns at
    once. Where a job is refused, those before it are cancelled: all of them, or none.
    """
    jobs: dict[str, str] = {}
    tasks = tasks_of(plan)
    try:
        _submit_stages(plan, run, tasks, jobs)
    except ToolkitError:
        if jobs:
            subprocess.run(["scancel", *jobs.values()], timeout=60)
        raise
    record_launch(run, plan, "slurm", jobs)
    return Submitted(run, jobs, len(tasks))


def _submit_stages(
    plan: LaunchPlan, run: Run, tasks: list[list[str]], jobs: dict[str, str]
) -> None:
    """Submit stage after stage; `jobs` gets their ids as they are known.

    More sampling tasks than the cluster allows in an array become several arrays.
    """
    config, path = plan.config, run.path
    arrays = split_arrays(tasks, _max_array_size()) if tasks else []
    for i, array in enumerate(arrays):
        executor = slurm_executor(run.slurm_dir, config, "sample", len(array), arrays=len(arrays))
        stage = "sample" if i == 0 else f"sample-{i + 1}"
        jobs[stage] = _submit(executor, sampling_task, [(path, t, config) for t in array])
    parts = config.resources.eval_array
    after = ":".join(jobs.values()) or None
    executor = slurm_executor(run.slurm_dir, config, "evaluate", parts, after=after)
    shares = [(path, part, parts, config) for part in range(parts)]
    jobs["evaluate"] = _submit(executor, evaluation_task, shares)
    last, task = ("next", next_round_task) if plan.rule else ("fit", fit_task)
    executor = slurm_executor(run.slurm_dir, config, last, 1, after=jobs["evaluate"])
    jobs[last] = _submit(executor, task, [(path, config)])


def split_arrays(tasks: list[list[str]], limit: int) -> list[list[list[str]]]:
    """The tasks as arrays of nearly equal length, none longer than `limit`."""
    count = -(-len(tasks) // limit)
    return [tasks[i::count] for i in range(count)]


def jobs_in_queue(run: Run) -> dict[str, str]:
    """The run's own jobs that Slurm still holds, id -> stage.

    Ids are used again after a while, so a job counts only if its script lies in the run. Raises
    `ToolkitError` when no cluster answers.
    """
    stages = {job: stage for entry in launches(run) for stage, job in entry["jobs"].items()}
    command = ["squeue", "--noheader", "--me", "--format=%F|%o"]
    try:
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolkitError(f"the cluster does not answer: {error}") from None
    pairs = (line.split("|", 1) for line in answer.stdout.splitlines())
    return {
        job: stages[job]
        for job, script in pairs
        if job in stages and Path(script.split()[0]).parent == run.slurm_dir
    }


def cancel_jobs(run: Run) -> dict[str, str]:
    """Cancel the run's jobs in the queue, the last stage first, and record it; id -> stage."""
    found = jobs_in_queue(run)
    ids = sorted(found, key=int, reverse=True)
    if ids:
        try:
            subprocess.run(["scancel", *ids], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise ToolkitError(f"scancel failed: {error}") from None
        record_cancellation(run, ids)
    return found


def next_round_task(path: Path, config: Config) -> bool:
    """Submit the next round of an adaptive run; at its end, fit. True when nothing is missing.

    A round in which nothing new is planned ends the run, so that slices whose sampling fails
    again and again do not keep it going: `launch.py --adaptive` goes on with them.
    """
    configure_log()
    run = open_run(path)
    plan = plan_next_round(run, config)
    if not plan.new:
        return fit_task(path, config)
    freeze_launch(plan)
    # The new jobs are no part of this one: its limits and its restarts are not theirs.
    for name in [n for n in os.environ if n.startswith("SLURM_") and n != "SLURM_CONF"]:
        del os.environ[name]
    log.info("round %d: %s", plan.round_index, submit_slurm(plan, run).describe())
    return False


def slurm_executor(
    folder: Path,
    config: Config,
    stage: str,
    tasks: int,
    after: str | None = None,
    arrays: int = 1,
) -> submitit.SlurmExecutor:
    """The executor of a stage ("sample", "evaluate", "next" or "fit") of so many tasks, dependent
    on the jobs `after` (ids with colons between), as one of `arrays` that share --max-parallel.
    """
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**slurm_parameters(config.resources, stage, tasks, after, arrays))
    return executor


def slurm_parameters(
    r: Resources, stage: str, tasks: int, after: str | None, arrays: int
) -> dict[str, Any]:
    """submitit's parameters of a stage; `--slurm key=value` has the last word."""
    together = max(1, r.max_parallel // arrays) if r.max_parallel else tasks
    sampling = stage == "sample"
    minutes = r.minutes if sampling else r.eval_minutes
    extra: dict[str, Any] = {"requeue": True}
    extra |= dict(_key_value(item) for item in r.slurm or ())
    parameters: dict[str, Any] = {
        "job_name": f"{stage}",
        "time": minutes,
        "partition": r.partition if sampling else r.cpu_partition,
        "account": r.account,
        "qos": r.qos if sampling else None,
        "constraint": r.constraint if sampling else None,
        "gres": (r.gres or None) if sampling else None,
        "cpus_per_task": r.cpus if sampling else r.eval_cpus,
        "mem": f"{r.mem_gib if sampling else r.eval_mem_gib}G",
        "array_parallelism": together if sampling else tasks,
        "signal_delay_s": min(SIGNAL_SECONDS, minutes * 15),
        "setup": [*(r.setup or ()), "export SLURM_BITSTR_LEN=0"],
        "dependency": f"afterany:{after}" if after else None,
        "stderr_to_stdout": True,
        "additional_parameters": extra,
    }
    return {key: value for key, value in parameters.items() if value is not None}


def sbatch_script(config: Config, folder: Path, stage: str, tasks: int) -> str:
    """The script that Slurm would get, for a dry run."""
    executor = slurm_executor(folder, config, stage, tasks)
    if tasks > 1:
        executor.parameters["map_count"] = tasks
    return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))


def wait_slurm(submitted: Submitted, show: Callable[[], None], seconds: float = 5.0) -> None:
    """Call `show` every few seconds until the launch's jobs, and those of the rounds that they
    submit, have left the queue.

    One squeue call each time: accounting is not asked, so it need not exist.
    """
    while True:
        jobs = ",".join(_jobs_since(submitted))
        command = ["squeue", "--noheader", "--format=%A", f"--jobs={jobs}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        show()
        if not answer.stdout.strip():
            # squeue refuses jobs that the controller has forgotten: gone, too.
            if answer.returncode == 0 or "Invalid job id" in answer.stderr:
                if jobs == ",".join(_jobs_since(submitted)):
                    return
                continue
            log.warning("squeue: %s", answer.stderr.strip())
        time.sleep(seconds)


def _jobs_since(submitted: Submitted) -> list[str]:
    """The ids of a launch and of all that came after it."""
    first = min(map(int, submitted.jobs.values()))
    ids = [job for entry in launches(submitted.run) for job in entry["jobs"].values()]
    return [job for job in ids if int(job) >= first]


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


def _max_array_size() -> int:
    config = subprocess.run(
        ["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, check=True
    )
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", config.stdout)
    return int(found[1]) - 1 if found else 1000


def _key_value(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not (key and equals):
        raise UsageError(f"--slurm {item}: write it as key=value")
    return key.lstrip("-"), value
