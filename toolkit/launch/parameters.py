"""What Slurm is told of each job: the parameters of a stage, and the script they become."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit

from toolkit.config import Config
from toolkit.launch.amounts import minutes_of
from toolkit.launch.sbatch_options import job_options

SIGNAL_SECONDS = 90
"""So long before its time limit an array task is told to stop; Slurm may do so a minute earlier.

Of a short limit it is a quarter, so that some minutes are enough to get anything done.
"""
NO_LIMIT_MINUTES = 365 * 24 * 60
"""What submitit is told where there is no time limit: it insists on a number."""
SRUN = ("--ntasks=1", "--export=ALL")
"""One process also in a job that has its node for itself; and the job's environment, of which
`--export=NONE` of sbatch would leave the step nothing."""
SETUP = """\
setup_end() {
    code=$?
    if [ -n "$setup_line" ]; then
        echo "setup line failed: ${setup_line%%$'\\n'*} (exit code $code)"
        exit $((code ? code : 1))
    fi
}
trap setup_end EXIT"""
"""What ends a job whose setup failed, also by an `exit`: this stays the last line of its log."""


def slurm_executor(
    folder: Path,
    config: Config,
    stage: str,
    tasks: int,
    after: str | None = None,
    arrays: int = 1,
    name: str = "",
) -> submitit.SlurmExecutor:
    """The executor of a stage (a key of `sbatch_options.STAGES`) of so many array tasks.

    after: the jobs whose end it waits for, ids with colons between; of "alongside", their start.
    arrays: how many such arrays share --max-parallel. name: the job's, as squeue shows it; not
    given, that of the stage.
    """
    executor = submitit.SlurmExecutor(folder=folder, python=_python(config, stage))
    executor.update_parameters(**slurm_parameters(config, stage, tasks, after, arrays, name))
    return executor


def slurm_parameters(
    config: Config, stage: str, tasks: int, after: str | None, arrays: int, name: str = ""
) -> dict[str, Any]:
    """submitit's parameters of a stage, as a job of this name."""
    r, sampling = config.resources, stage == "sample"
    together = max(1, r.max_parallel // arrays) if r.max_parallel else tasks
    options = job_options(config, stage)
    minutes = minutes_of(str(options["time"])) or NO_LIMIT_MINUTES
    parameters: dict[str, Any] = {
        "job_name": name or stage,
        "time": minutes,
        "array_parallelism": together if sampling else tasks,
        "signal_delay_s": min(SIGNAL_SECONDS, minutes * 15),
        "setup": setup_lines(r.setup or (), "cpus-per-task" in options),
        "srun_args": SRUN,
        "dependency": f"{'after' if stage == 'alongside' else 'afterany'}:{after}"
        if after
        else None,
        "stderr_to_stdout": True,
        "additional_parameters": options,
    }
    return {key: value for key, value in parameters.items() if value is not None}


def setup_lines(lines: Sequence[str], cores: bool) -> list[str]:
    """The script before srun: the user's lines, each of which must succeed, then the toolkit's.

    A line is a command of its own, in the shell that goes on to srun. cores: whether the job asks
    for cores. From Slurm 22.05 on, a step does not inherit their number.
    """
    found = []
    if lines:
        found.append(SETUP)
        for line in lines:
            found += [f"setup_line={shlex.quote(line)}", 'eval "$setup_line" || exit']
        found.append("setup_line=")
    name = "SRUN_CPUS_PER_TASK"
    found.append(f"export {name}=$SLURM_CPUS_PER_TASK" if cores else f"unset {name}")
    return [*found, "export SLURM_BITSTR_LEN=0"]


def _python(config: Config, stage: str) -> str | None:
    """What stands between srun and its Python's arguments; None for the Python that runs now."""
    r = config.resources
    container = r.container if stage == "sample" else r.cpu_container
    return f"{container} {shlex.quote(r.container_python)}" if container else None


class _Script(submitit.SlurmExecutor):  # type: ignore[misc]
    """Only writes the script, so it works without Slurm on this machine."""

    @classmethod
    def affinity(cls) -> int:
        """submitit asks this whether srun is installed: over 0 means yes."""
        return 1


def sbatch_script(config: Config, folder: Path, stage: str, tasks: int) -> str:
    """The script that Slurm would get, for a dry run; `folder` is the run's slurm/."""
    executor = _Script(folder=folder, python=_python(config, stage))
    executor.update_parameters(**slurm_parameters(config, stage, tasks, None, 1))
    if tasks > 1:
        executor.parameters["map_count"] = tasks
    return str(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))
