"""Every question to Slurm: does a cluster answer, what has it, what does its queue hold?

One function runs Slurm's commands and has one way of failing: `SlurmFailure`. The callers decide
whether they can go on without an answer. What submits jobs is in `toolkit.launch.slurm`.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import SlurmFailure, UsageError
from toolkit.runs.history import record_cancellation, submitted_stages
from toolkit.runs.run import Run

ANSWER_SECONDS = 60.0
"""A controller under load takes long; one that needs longer than this is as good as down."""
PROBE_SECONDS = 15.0
"""For the question whether there is a cluster at all."""
QUEUE_COLUMNS = ("JobArrayID", "State", "NodeList", "Reason", "RestartCnt", "Command")


def run_slurm(*command: str, seconds: float = ANSWER_SECONDS) -> str:
    """Run a command of Slurm and give what it prints.

    Raises `SlurmFailure` when it is not installed, fails, or takes longer than `seconds`.
    """
    name = command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise SlurmFailure(
            f"`{name}` gave no answer in {seconds:.0f} s: the cluster's controller is down or "
            "busy; try again later"
        ) from None
    except OSError as error:
        raise SlurmFailure(
            f"`{name}` cannot be run: {error.strerror}; log in to a submit node of the cluster"
        ) from None
    if done.returncode != 0:
        said = done.stderr.strip()
        reason = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        raise SlurmFailure(
            f"`{name}` failed: {reason}; see whether `sinfo` answers here, then try again", said
        )
    return done.stdout


def cluster_answers() -> bool:
    """Whether a Slurm controller answers; having Slurm's programs installed is not enough."""
    if not (shutil.which("sinfo") and shutil.which("sbatch")):
        return False
    try:
        run_slurm("sinfo", "--noheader", seconds=PROBE_SECONDS)
    except SlurmFailure:
        return False
    return True


def cluster_has_gpus() -> bool:
    """Whether any node has one, as sinfo says. Raises `SlurmFailure`."""
    return "gpu" in run_slurm("sinfo", "--noheader", "--format=%G", seconds=PROBE_SECONDS)


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
    """Whether the sampling tasks of this launcher could have a GPU. Raises `SlurmFailure`."""
    return cluster_has_gpus() if launcher == "slurm" else Path("/dev/nvidiactl").exists()


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in Slurm's queue, or one array task of it, as squeue shows it.

    job: its id, of an array task with the index: "12_3". stage: as the launch named it.
    node: where it runs; reason: why it waits.
    """

    job: str
    stage: str
    state: str
    node: str
    reason: str
    restarts: int

    @property
    def submission(self) -> str:
        """The id that sbatch gave: the array's, where this is an array task."""
        return self.job.partition("_")[0]


def queued_jobs(run: Run) -> list[QueuedJob]:
    """The run's jobs that Slurm still holds, an array as one entry for each array task.

    Slurm uses job ids again after a while. So a job counts only if a launch of this run recorded
    its id and its script lies in the run. Raises `SlurmFailure`.
    """
    stages = submitted_stages(run)
    if not stages:
        return []
    columns = ",".join(f"{column}:|" for column in QUEUE_COLUMNS)
    try:
        answer = run_slurm(
            "squeue", "--noheader", "--array", f"--jobs={','.join(stages)}", f"--Format={columns}"
        )
    except SlurmFailure as error:
        # So squeue speaks of a single job that the controller has forgotten.
        if "Invalid job id" in error.said:
            return []
        raise
    # The script is the last column: its path may hold any character.
    rows = [line.split("|", len(QUEUE_COLUMNS) - 1) for line in answer.splitlines()]
    folders = {script.rpartition("/")[0] for *_, script in rows} - {""}
    # A run may be launched by one path and looked at by another.
    ours = {f for f in folders if Path(f).resolve() == run.slurm_dir.resolve()}
    found = []
    for job, state, node, reason, restarts, script in rows:
        stage = stages.get(job.partition("_")[0])
        if stage is not None and script.rpartition("/")[0] in ours:
            found.append(QueuedJob(job, stage, state, node, reason, int(restarts or 0)))
    return found


def jobs_in_queue(run: Run) -> dict[str, str]:
    """The run's jobs that Slurm still holds: job id -> stage. Raises `SlurmFailure`."""
    return {job.submission: job.stage for job in queued_jobs(run)}


def refuse_second_launch(run: Run) -> None:
    """Raise `UsageError` while jobs of the run are in the queue: they do the same work."""
    if jobs := jobs_in_queue(run):
        listed = ", ".join(f"{stage} {job}" for job, stage in jobs.items())
        raise UsageError(
            f"{run.path}: in the queue already: {listed}; wait for them, or end them by "
            f"`python jobs/cancel.py {shlex.quote(str(run.path))}`"
        )


def cancel_jobs(run: Run) -> dict[str, str]:
    """Cancel the run's jobs in the queue, the last stage first, and record it; id -> stage.

    Raises `SlurmFailure`; then nothing is recorded.
    """
    found = jobs_in_queue(run)
    ids = sorted(found, key=int, reverse=True)
    if ids:
        cancel(ids)
        record_cancellation(run, ids)
    return found


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs by their ids. Raises `SlurmFailure`."""
    run_slurm("scancel", *ids)


def requeue(job: str) -> None:
    """Put a running job back in the queue; Slurm ends it soon after. Raises `SlurmFailure`."""
    run_slurm("scontrol", "requeue", job)


def max_array_size() -> int:
    """The most array tasks of a job. Raises `SlurmFailure`."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", run_slurm("scontrol", "show", "config"))
    return int(found[1]) - 1 if found else 1000


def partitions() -> dict[str, dict[str, str]]:
    """Partition -> what scontrol shows of it: State, MaxTime, Default ... Raises `SlurmFailure`."""
    found = {}
    for line in run_slurm("scontrol", "--oneliner", "show", "partition").splitlines():
        facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in facts:
            found[facts["PartitionName"]] = facts
    return found


@dataclass(frozen=True, slots=True)
class Node:
    """What a node of a partition has; memory in MiB, gres in Slurm's words."""

    cores: int
    memory: int
    gres: str


def nodes_of(partition: str) -> list[Node]:
    """One entry for each node of the partition. Raises `SlurmFailure`."""
    answer = run_slurm("sinfo", "-h", "-N", "-p", partition, "-o", "%c|%m|%G")
    rows = (line.split("|", 2) for line in answer.splitlines())
    return [Node(int(cores), int(memory), gres) for cores, memory, gres in rows]


def accounts_of(user: str) -> list[str]:
    """The Slurm accounts of a user. Raises `SlurmFailure`, also where there is no accounting."""
    answer = run_slurm("sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account")
    return sorted(set(answer.split()))
