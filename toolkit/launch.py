"""Launching: sampling, then evaluation, then fit; on Slurm, in local processes, or right here.

The only module that imports submitit. On Slurm the stages are chained by `afterany`: a stage
checks plan against shards itself and runs on what is there, so nothing hangs on a failed array
task and nothing relies on why the stage before it ended.
"""

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import submitit

from toolkit.config import Config, Resources
from toolkit.errors import ToolkitError, UsageError
from toolkit.identity import describe_config
from toolkit.plan import deal
from toolkit.prepare import LaunchPlan, versions
from toolkit.store import Run, append_launch
from toolkit.tasks import evaluation_task, fit_task, sampling_task

log = logging.getLogger(__name__)

SIGNAL_SECONDS = 90
"""Before its time limit a task is told to stop; Slurm may do so up to a minute earlier."""
LOCAL_DAYS = 7
"""A local process has no time limit worth the name (submitit insists on one)."""


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
            f"cancel     scancel {' '.join(self.jobs.values())}"
        )


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


def cluster_answers() -> bool:
    """Whether a Slurm controller answers; having Slurm's programs installed is not enough."""
    if not (shutil.which("sinfo") and shutil.which("sbatch")):
        return False
    try:
        subprocess.run(["sinfo", "--noheader"], check=True, capture_output=True, timeout=15)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def gpus_at_hand(launcher: str) -> bool:
    """Whether sampling tasks of this launcher could have a GPU."""
    if launcher != "slurm":
        return Path("/dev/nvidiactl").exists()
    command = ["sinfo", "--noheader", "--format=%G"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    return "gpu" in answer.stdout


def tasks_of(plan: LaunchPlan) -> list[list[str]]:
    """The missing slices dealt to the sampling tasks of this launch."""
    return deal(plan.missing, plan.config.resources.array)


def submit_slurm(plan: LaunchPlan, run: Run) -> Submitted:
    """Submit sampling (if anything is missing), evaluation and fit; returns at once."""
    config, path = plan.config, run.path
    tasks = tasks_of(plan)
    jobs: dict[str, str] = {}
    if tasks:
        limit = _max_array_size()
        if len(tasks) > limit:
            raise UsageError(f"--array {len(tasks)}: this cluster allows arrays of {limit} tasks")
        executor = slurm_executor(run.slurm_dir, config, "sample", len(tasks))
        jobs["sample"] = _submit(executor, sampling_task, [(path, t, config) for t in tasks])
    parts = config.resources.eval_array
    executor = slurm_executor(run.slurm_dir, config, "evaluate", parts, after=jobs.get("sample"))
    shares = [(path, part, parts, config) for part in range(parts)]
    jobs["evaluate"] = _submit(executor, evaluation_task, shares)
    executor = slurm_executor(run.slurm_dir, config, "fit", 1, after=jobs["evaluate"])
    jobs["fit"] = _submit(executor, fit_task, [(path, config)])
    _record(run, plan, "slurm", jobs)
    return Submitted(run, jobs, len(tasks))


def slurm_executor(
    folder: Path, config: Config, stage: str, tasks: int, after: str | None = None
) -> submitit.SlurmExecutor:
    """The executor of a stage ("sample", "evaluate" or "fit"), dependent on job `after`."""
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**slurm_parameters(config.resources, stage, tasks, after))
    return executor


def slurm_parameters(r: Resources, stage: str, tasks: int, after: str | None) -> dict[str, Any]:
    """submitit's parameters of a stage; `--slurm key=value` has the last word."""
    sampling = stage == "sample"
    extra: dict[str, Any] = {"requeue": True}
    extra |= dict(_key_value(item) for item in r.slurm or ())
    parameters: dict[str, Any] = {
        "job_name": f"{stage}",
        "time": r.minutes if sampling else r.eval_minutes,
        "partition": r.partition if sampling else r.cpu_partition,
        "account": r.account,
        "qos": r.qos if sampling else None,
        "constraint": r.constraint if sampling else None,
        "gres": (r.gres or None) if sampling else None,
        "cpus_per_task": r.cpus if sampling else r.eval_cpus,
        "mem": f"{r.mem_gib if sampling else r.eval_mem_gib}G",
        "array_parallelism": (r.max_parallel or tasks) if sampling else tasks,
        "signal_delay_s": SIGNAL_SECONDS,
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


def run_local(plan: LaunchPlan, run: Run, show: Callable[[], None]) -> bool:
    """Run the stages one after the other in processes of this machine, to the end.

    `show` is called every few seconds. True when nothing planned is missing. A failed task does
    not keep the later stages from running on what is there.
    """
    config, path = plan.config, run.path
    tasks = tasks_of(plan)
    _record(run, plan, "local", {})
    _finish("sample", _local(run, sampling_task, [(path, t, config) for t in tasks]), show)
    _finish("evaluate", _local(run, evaluation_task, [(path, 0, 1, config)]), show)
    results = _finish("fit", _local(run, fit_task, [(path, config)]), show)
    return results == [True]


def run_inline(plan: LaunchPlan, run: Run) -> bool:
    """Run the stages in this process; True when nothing planned is missing."""
    _record(run, plan, "inline", {})
    for names in tasks_of(plan):
        sampling_task(run.path, names, plan.config)
    evaluation_task(run.path, 0, 1, plan.config)
    return fit_task(run.path, plan.config)


def wait_slurm(submitted: Submitted, show: Callable[[], None], seconds: float = 5.0) -> None:
    """Call `show` every few seconds until the launch's jobs have left the queue.

    One squeue call a round: accounting is not asked, so it need not exist.
    """
    jobs = ",".join(submitted.jobs.values())
    while True:
        command = ["squeue", "--noheader", "--format=%A", f"--jobs={jobs}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        show()
        if not answer.stdout.strip():
            # squeue refuses jobs that the controller has forgotten: gone, too.
            if answer.returncode == 0 or "Invalid job id" in answer.stderr:
                return
            log.warning("squeue: %s", answer.stderr.strip())
        time.sleep(seconds)


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


def _local(
    run: Run, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[submitit.Job[Any]]:
    executor = submitit.LocalExecutor(folder=run.slurm_dir)
    executor.update_parameters(timeout_min=LOCAL_DAYS * 24 * 60, stderr_to_stdout=True)
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


def _record(run: Run, plan: LaunchPlan, launcher: str, jobs: dict[str, str]) -> None:
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "launcher": launcher,
        "jobs": jobs,
        "samples": plan.config.quantity.samples,
        "slices_missing": len(plan.missing),
        "config": describe_config(plan.config),
        "versions": versions(),
    }
    append_launch(run, entry)


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
