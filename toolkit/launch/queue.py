"""Every question to Slurm: does a cluster answer, what has it, what does its queue hold?

One function runs Slurm's commands and has one way of failing: `SlurmFailure`. The callers decide
whether they can go on without an answer. What submits jobs is in `toolkit.launch.slurm`.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.cli import job_command
from toolkit.errors import SlurmFailure, UsageError
from toolkit.problems.load import problems_label
from toolkit.runs.history import (
    Launch,
    launches,
    record_cancellation,
    recorded_launcher,
)
from toolkit.runs.run import Run, run_name

ANSWER_SECONDS = 60.0
"""A controller under load takes long; one that needs longer than this is as good as down."""
PROBE_SECONDS = 30.0
"""For the question whether there is a cluster at all."""
STAGES = ("sample", "alongside", "evaluate", "fit", "next")
"""The stages that become jobs of Slurm; the names of the jobs begin with them."""
NAME_CHARACTERS = 80
"""So much of a run's name is in the names of its jobs, beside the digest."""
NAMES_AT_ONCE = 1000
"""Of one squeue call; an argument of a command may not be longer than some 100 kB."""
QUEUE_COLUMNS = ("JobArrayID", "State", "NodeList", "Reason", "RestartCnt", "Name")


def run_slurm(*command: str, seconds: float = ANSWER_SECONDS) -> str:
    """Run a command of Slurm and give what it prints.

    Raises `SlurmFailure` when it is not installed, fails, or takes longer than `seconds`.
    """
    name = command[0]
    # What a user has set as defaults of squeue, such as SQUEUE_STATES, must not hide a job.
    hiding = ("SQUEUE_", "SCANCEL_", "SINFO_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(hiding)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=env)
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
    """Whether this machine belongs to a cluster, one whose controller answers.

    False where Slurm's programs are not installed, or know of no cluster. Raises `SlurmFailure`
    where they do and the controller is silent.
    """
    if not (shutil.which("sinfo") and shutil.which("sbatch")):
        return False
    try:
        run_slurm("sinfo", "--noheader", "--format=%P", seconds=PROBE_SECONDS)
    except SlurmFailure as error:
        # Neither a slurm.conf nor a server of it. A name server that is down is another matter.
        if "establish a configuration source" in error.said and "Unknown host" in error.said:
            return False
        raise
    return True


def cluster_has_gpus() -> bool:
    """Whether any node has one, as sinfo says. Raises `SlurmFailure`."""
    return "gpu" in run_slurm("sinfo", "--noheader", "--format=%G", seconds=PROBE_SECONDS)


def choose_launcher(asked: str, run: Run | None = None) -> str:
    """`asked`, or for "auto" slurm where this machine belongs to a cluster and local elsewhere.

    run: whose launcher `asked` is, for the message. Raises `UsageError` when Slurm is asked for and
    not there, and for both when the controller is silent: a login node is no place to sample on.
    """
    if asked not in ("auto", "slurm"):
        return asked
    whose = f"{run.path}: was launched on Slurm" if run else f"--launcher {asked}"
    try:
        if cluster_answers():
            return "slurm"
    except SlurmFailure as error:
        what = str(error).partition(";")[0]
        raise UsageError(
            f"{whose}: {what}; try again later, or use --launcher local to work on this machine"
        ) from None
    if asked == "slurm":
        raise UsageError(
            f"{whose}: Slurm is not set up on this machine; log in to a submit node, or use "
            "--launcher local to work on this machine"
        )
    return "local"


def choose_launcher_of(run: Run, asked: str) -> str:
    """The launcher for a run that exists: the one of its last launch, before any launch `asked`.

    Raises `UsageError` as `choose_launcher` does.
    """
    recorded = recorded_launcher(run)
    return choose_launcher(recorded, run) if recorded else choose_launcher(asked)


def gpus_at_hand(launcher: str) -> bool:
    """Whether the sampling tasks of this launcher could have a GPU. Raises `SlurmFailure`."""
    return cluster_has_gpus() if launcher == "slurm" else Path("/dev/nvidiactl").exists()


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in Slurm's queue, or one array task of it, as squeue shows it.

    job: its id, of an array task with the index: "12_3". stage: as the launch named it.
    node: where it runs; reason: why it waits. path: where its launch saw the run, if the run has
    been moved since: the job will not find it.
    """

    job: str
    stage: str
    state: str
    node: str
    reason: str
    restarts: int
    path: str = ""

    @property
    def submission(self) -> str:
        """The id that sbatch gave: the array's, where this is an array task."""
        return self.job.partition("_")[0]


def job_name(stage: str, run: str, launch: str) -> str:
    """The name of a job: its stage, its run as `plain_name` gives it, the id of its launch."""
    return f"{stage}-{run}-{launch}"


def plain_name(run: Run) -> str:
    """The name that its identity gives a run, wherever it is, in letters that Slurm's lists take.

    They are ASCII letters and digits, dots, dashes and underscores.
    """
    manifest = run.manifest()
    label = problems_label(str(manifest.get("problems_source", "")))
    name, _, digest = run_name(manifest["identity"], label).rpartition("-")
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name)
    return f"{plain[:NAME_CHARACTERS]}-{digest}"


def queued_jobs(run: Run) -> list[QueuedJob]:
    """The run's jobs that Slurm still holds, an array as one entry for each array task.

    A job is known by its name, which holds the id of its launch. So it is found even if its own id
    was never recorded. Raises `SlurmFailure`.
    """
    return queues_of([run])[0]


def queues_of(runs: Sequence[Run]) -> list[list[QueuedJob]]:
    """`queued_jobs` of many runs, in their order: squeue is asked for all of them together."""
    histories = [launches(run) for run in runs]
    named = _named_jobs(runs, histories)
    return [[*jobs, *_numbered_jobs(x)] for jobs, x in zip(named, histories, strict=True)]


def jobs_named(*names: str) -> list[QueuedJob]:
    """The jobs of these names, which are no stages of a run. Raises `SlurmFailure`."""
    return _squeue(f"--name={','.join(names)}")


def jobs_of_launch(run: Run, launch: str) -> list[QueuedJob]:
    """Those of one launch only, an array as one entry. Raises `SlurmFailure`."""
    name = plain_name(run)
    rows = _squeue(f"--name={','.join(job_name(stage, name, launch) for stage in STAGES)}")
    return [replace(row, stage=row.stage.partition("-")[0]) for row in rows]


def _named_jobs(
    runs: Sequence[Run], histories: Sequence[Sequence[Launch]]
) -> list[list[QueuedJob]]:
    """Of each run, the jobs of all launches that have an id."""
    names: dict[str, tuple[int, str, str]] = {}
    for i, (run, found) in enumerate(zip(runs, histories, strict=True)):
        paths = _launches_of_this_run(run, found)
        name = plain_name(run) if paths else ""
        for launch, path in paths.items():
            names |= {job_name(stage, name, launch): (i, stage, path) for stage in STAGES}
    asked, jobs = list(names), [list[QueuedJob]() for _ in runs]
    for first in range(0, len(asked), NAMES_AT_ONCE):
        for row in _squeue(f"--name={','.join(asked[first : first + NAMES_AT_ONCE])}"):
            i, stage, path = names[row.stage]
            stages = (x.jobs for x in histories[i])
            label = next(
                (s for x in stages for s, job in x.items() if job == row.submission), stage
            )
            jobs[i].append(replace(row, stage=label, path=path))
    return jobs


def _launches_of_this_run(run: Run, found: Sequence[Launch]) -> dict[str, str]:
    """Launch id -> "", or the path where the launch saw the run, if the run was moved since.

    A copy of a run has a line for each launch of the original. Those are left out: their jobs work
    for the original, which still knows them.
    """
    here = {path: _is_here(run, path) for path in {x.path for x in found if x.path}}
    original = {path: _ids_at(path) for path, is_here in here.items() if not is_here}
    return {
        x.launch: "" if here.get(x.path or "", True) else x.path or ""
        for x in found
        if x.launch and x.launcher == "slurm" and x.launch not in original.get(x.path or "", ())
    }


def _is_here(run: Run, path: str) -> bool:
    """Whether a recorded path leads to this run's directory. It may have several."""
    try:
        return Path(path).samefile(run.path)
    except OSError:
        return False


def _ids_at(path: str) -> set[str]:
    """The ids of the launches of another run; none if there is no run."""
    try:
        return {x.launch for x in launches(Run(Path(path))) if x.launch}
    except OSError:
        return set()


def _numbered_jobs(found: Sequence[Launch]) -> list[QueuedJob]:
    """The jobs of launches without an id, as earlier versions made them.

    They are known by their numbers. Slurm uses those again after a while, so their names count too.
    """
    stages = {job: stage for x in found if not x.launch for stage, job in x.jobs.items()}
    if not stages:
        return []
    try:
        rows = _squeue(f"--jobs={','.join(stages)}")
    except SlurmFailure as error:
        # So squeue speaks of a single job that the controller has forgotten.
        if "Invalid job id" in error.said:
            return []
        raise
    ours = (row for row in rows if row.submission in stages and row.stage in STAGES)
    return [replace(row, stage=stages[row.submission]) for row in ours]


def _squeue(which: str) -> list[QueuedJob]:
    """The jobs that squeue shows, each with its name as its stage. Raises `SlurmFailure`."""
    columns = ",".join(f"{column}:|" for column in QUEUE_COLUMNS)
    answer = run_slurm("squeue", "--noheader", "--array", which, f"--Format={columns}")
    jobs = []
    for line in answer.splitlines():
        job, state, node, reason, restarts, name, *_ = line.split("|")
        jobs.append(QueuedJob(job, name, state, node, reason, int(restarts or 0)))
    return jobs


def jobs_in_queue(run: Run) -> dict[str, str]:
    """The run's jobs that Slurm still holds: job id -> stage. Raises `SlurmFailure`."""
    return {job.submission: job.stage for job in queued_jobs(run)}


def refuse_second_launch(run: Run) -> None:
    """Raise `UsageError` while jobs of the run are in the queue: they do the same work."""
    if jobs := queued_jobs(run):
        listed = ", ".join(f"{stage} {job}" for job, stage in _submissions(jobs).items())
        cancel_it = f"`{job_command('cancel')} {shlex.quote(str(run.path))}`"
        if away := next((job.path for job in jobs if job.path), ""):
            raise UsageError(
                f"{run.path}: in the queue already, launched where the run was before, {away}: "
                f"{listed}; they will not find it: end them by {cancel_it}"
            )
        raise UsageError(
            f"{run.path}: in the queue already: {listed}; wait for them, or end them by {cancel_it}"
        )


def _submissions(jobs: Iterable[QueuedJob]) -> dict[str, str]:
    return {job.submission: job.stage for job in jobs}


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
