"""What Slurm is told of each job: the parameters of a stage, and the script they become."""

from pathlib import Path
from typing import Any

import submitit

from toolkit.config import Config, Resources
from toolkit.errors import UsageError

SIGNAL_SECONDS = 90
"""So long before its time limit an array task is told to stop; Slurm may do so a minute earlier.

Of a short limit it is a quarter, so that some minutes are enough to get anything done.
"""


def slurm_executor(
    folder: Path,
    config: Config,
    stage: str,
    tasks: int,
    after: str | None = None,
    arrays: int = 1,
    name: str = "",
) -> submitit.SlurmExecutor:
    """The executor of a stage ("sample", "evaluate", "next" or "fit") of so many array tasks.

    after: the jobs that it waits for, ids with colons between. arrays: how many such arrays share
    --max-parallel. name: the job's, as squeue shows it; not given, that of the stage.
    """
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(
        **slurm_parameters(config.resources, stage, tasks, after, arrays, name)
    )
    return executor


def slurm_parameters(
    r: Resources, stage: str, tasks: int, after: str | None, arrays: int, name: str = ""
) -> dict[str, Any]:
    """submitit's parameters of a stage, as a job of this name; `--slurm` has the last word."""
    together = max(1, r.max_parallel // arrays) if r.max_parallel else tasks
    sampling = stage == "sample"
    minutes = r.minutes if sampling else r.eval_minutes
    extra: dict[str, Any] = {"requeue": True}
    extra |= dict(_key_value(item) for item in r.slurm or ())
    parameters: dict[str, Any] = {
        "job_name": name or stage,
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


class _Script(submitit.SlurmExecutor):  # type: ignore[misc]
    """Only writes the script, so it works without Slurm on this machine."""

    @classmethod
    def affinity(cls) -> int:
        """submitit asks this whether srun is installed: over 0 means yes."""
        return 1


def sbatch_script(config: Config, folder: Path, stage: str, tasks: int) -> str:
    """The script that Slurm would get, for a dry run; `folder` is the run's slurm/."""
    executor = _Script(folder=folder)
    executor.update_parameters(**slurm_parameters(config.resources, stage, tasks, None, 1))
    if tasks > 1:
        executor.parameters["map_count"] = tasks
    return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))


def _key_value(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not (key and equals):
        raise UsageError(f"--slurm {item}: write it as key=value")
    return key.lstrip("-"), value
