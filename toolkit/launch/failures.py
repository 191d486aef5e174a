"""Which array tasks of a run have failed and are not made good: those of its newest launch.

A task is known from its files in the run's slurm/ folder, and from accounting. It has failed if it
is not in the queue, has not succeeded, and its stage still lacks what it was to do. A launch does
all that was missing when it began. So what failed in an earlier one does not matter any more.
"""

import platform
import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.cli import how_many, job_command
from toolkit.launch.accounting import Accounts
from toolkit.launch.causes import (
    BEGINS,
    OUR_LAST_LINE,
    SUCCEEDED,
    Cause,
    Evidence,
    cause_of,
    newest_attempt,
)
from toolkit.launch.exclusive import holder_of
from toolkit.launch.progress import tail
from toolkit.launch.queue import QueuedJob
from toolkit.runs.history import Launch, launches, standing_launches, submitted_stages
from toolkit.runs.run import Run

LOG_BYTES = 1 << 18
"""So much of the end of a log is read. The traceback of an engine may have hundreds of lines."""
FILE = re.compile(r"(\d+)(?:_(\d+))?_(?:0_log\.out|submitted\.pkl)")
"""How submitit names the files of a job, `12_0_log.out`, or of an array task, `12_3_0_log.out`."""
LIVE = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "COMPLETING", "RESIZING")
"""States in which accounting believes that a job goes on."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Tasks of one stage that have failed in the same way.

    stage: as the launch named it, "task" if that is not known. tasks: their indices in the array,
    none of a job that is no array. job: the id of the job, or outside Slurm of the first process.
    log: of the first one, relative to the run; "" without a log. cause, kind, remedy, again: see
    `toolkit.launch.causes.Cause`.
    """

    stage: str
    tasks: list[int]
    job: str
    log: str
    cause: str
    kind: str
    remedy: str
    again: bool

    def line(self) -> str:
        """For people: `sample tasks 0-9: ended at its time limit; ... (slurm/12_0_0_log.out)`."""
        who = f"{self.stage} {_listed(self.tasks)}" if self.tasks else self.stage
        return f"{who}: {self.cause}; {self.remedy}" + (f" ({self.log})" if self.log else "")


def _listed(tasks: Sequence[int]) -> str:
    """`task 3` or `tasks 0-4, 7`."""
    ranges: list[list[int]] = []
    for task in tasks:
        if ranges and task == ranges[-1][1] + 1:
            ranges[-1][1] = task
        else:
            ranges.append([task, task])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
    return f"task {shown}" if len(tasks) == 1 else f"tasks {shown}"


@dataclass(frozen=True, slots=True)
class _Task:
    """A job or an array task, on Slurm or not. log: its path; None without one."""

    stage: str
    job: str
    index: int | None
    log: Path | None

    @property
    def id(self) -> str:
        return self.job if self.index is None else f"{self.job}_{self.index}"

    @property
    def base_stage(self) -> str:
        """Without the number that tells the arrays of a large stage apart."""
        return self.stage.split("-")[0]


def read_failures(
    run: Run, lacking: Collection[str], queue: Sequence[QueuedJob] | None, accounts: Accounts
) -> list[Failure]:
    """What has failed in the newest launch, equal causes together.

    lacking: the stages that have not done all that was planned. queue: what Slurm holds of the run;
    None if that is not known.
    """
    history = launches(run)
    stopped = _not_submitted(run, history)
    # Of a launch that submitted nothing, the one before still tells why the run stands still.
    began = [x for x in standing_launches(run) if x.jobs or x.launcher != "slurm"]
    if not began or began[-1].launcher == "inline":
        return stopped
    launch = began[-1]
    on_slurm = launch.launcher == "slurm"
    tasks = _slurm_tasks(run, launch, accounts) if on_slurm else _local_tasks(run, launch)
    held = None if queue is None else {job.job for job in queue}
    cancelled = {job for x in history for job in x.cancelled or ()}
    found = []
    for task in tasks:
        if _lacks(run, task, lacking):
            evidence = _evidence(task, held, accounts, cancelled, on_slurm)
            if evidence and (cause := _cause(evidence, run)):
                found.append((task, cause))
    failures = _grouped(found, run)
    # The job that was to launch the next round says the same in its log.
    told = any(failure.kind == "refused" for failure in failures)
    return failures if told else [*stopped, *failures]


def _not_submitted(run: Run, history: Sequence[Launch]) -> list[Failure]:
    """Why the newest launch on Slurm has not submitted all its jobs; nothing if it has, or may."""
    launch = next((x for x in reversed(history) if x.cancelled is None), None)
    if launch is None or launch.launcher != "slurm" or launch.launch is None:
        return []
    resume = f"`{job_command('launch')} --resume --run {shlex.quote(str(run.path))}`"
    ends = [x for x in history if x.cancelled is not None and x.launch == launch.launch]
    if ends:
        reason = (ends[-1].reason or "").removeprefix(f"{run.path}: ").partition(";")[0]
        refused = "refused" in reason
        kind, said = "refused" if refused else "interrupted", reason or "it was withdrawn"
        todo = f"change what it names, for instance {resume[:-1]} --partition NAME`"
    elif {"fit", "next"} & launch.jobs.keys() or holder_of(run):
        return []
    else:
        refused, kind, said = False, "interrupted", "killed before it had submitted all its jobs"
    cause = f"launched at {launch.time}: {said}"
    remedy = todo if refused else resume
    return [Failure("launch", [], "", "", cause, kind, remedy, again=not refused)]


def _slurm_tasks(run: Run, launch: Launch, accounts: Accounts) -> Iterator[_Task]:
    """Every job and array task of a launch that left a file or is known to accounting."""
    files = _files(run)
    for stage, job in launch.jobs.items():
        ids = {i for j, i in files if j == job}
        for task in accounts.attempts:
            submission, _, index = task.partition("_")
            if submission == job:
                ids.add(int(index) if index else None)
        for i in sorted(ids or {None}, key=lambda i: -1 if i is None else i):
            yield _Task(stage, job, i, files.get((job, i)))


def _local_tasks(run: Run, launch: Launch) -> Iterator[_Task]:
    """The processes of a local launch: those of the files that were written since it began."""
    since = datetime.fromisoformat(launch.time).timestamp()
    slurm = submitted_stages(run)
    for (process, _), log in _files(run).items():
        if process not in slurm and log and log.stat().st_mtime >= since:
            yield _Task(_stage_in(tail(log, LOG_BYTES)), process, None, log)


def _stage_in(lines: Iterable[str]) -> str:
    """The stage that a task names at its beginning; "task" if it did not come so far."""
    named = [line.rpartition(BEGINS)[2].strip() for line in lines if BEGINS in line]
    return named[-1] if named else "task"


def _files(run: Run) -> dict[tuple[str, int | None], Path | None]:
    """(job, index) -> its log, None for a task that has left no log. One listing."""
    found: dict[tuple[str, int | None], Path | None] = {}
    if run.slurm_dir.is_dir():
        for path in run.slurm_dir.iterdir():
            if match := FILE.fullmatch(path.name):
                key = match[1], None if match[2] is None else int(match[2])
                found[key] = path if path.suffix == ".out" else found.get(key)
    return found


def _lacks(run: Run, task: _Task, lacking: Collection[str]) -> bool:
    """Whether the task's stage still lacks what it was to do."""
    if task.base_stage in ("fit", "next"):
        results = run.results_dir / "fit.json"
        # Fitted again since, by hand or by a later attempt.
        later = task.log and results.is_file()
        return not (later and task.log and results.stat().st_mtime > task.log.stat().st_mtime)
    return task.base_stage == "task" or task.base_stage in lacking


def _evidence(
    task: _Task,
    held: Collection[str] | None,
    accounts: Accounts,
    cancelled: Collection[str],
    on_slurm: bool,
) -> Evidence | None:
    """What is known of a task that has ended. None if it goes on, or perhaps goes on."""
    if held is not None and task.id in held:
        return None
    attempt = accounts.last(task.id)
    if attempt and attempt.state in LIVE:
        if held is None:
            return None
        attempt = None  # accounting is behind the queue
    log = tail(task.log, LOG_BYTES) if task.log else None
    newest = newest_attempt(log or ())
    if not on_slurm and _still_runs(task.job, newest):
        return None
    unsure = on_slurm and held is None and attempt is None
    if unsure and not any(OUR_LAST_LINE.search(line) for line in newest):
        return None
    return Evidence(task.base_stage, log, attempt, task.job in cancelled, on_slurm)


def _still_runs(process: str, log: Sequence[str]) -> bool:
    """Whether a local task goes on: on this host, or perhaps on another one."""
    host = next((m[1] for m in (re.search(r"hostname=([^,]+),", x) for x in log) if m), "")
    if host not in ("", platform.node()):
        return not any(SUCCEEDED in x or OUR_LAST_LINE.search(x) for x in log)
    try:
        return b"submitit" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _cause(evidence: Evidence, run: Run) -> Cause | None:
    """Why the task failed. None if it succeeded, with nothing left to complain of."""
    attempt = evidence.attempt
    newest = newest_attempt(evidence.log or ())
    ended_well = attempt.state == "COMPLETED" if attempt else any(SUCCEEDED in x for x in newest)
    if not ended_well:
        return cause_of(evidence, run.path)
    if evidence.stage != "evaluate":
        return None
    said = re.search(r"(\d+) undecided", "\n".join(newest[-20:]))
    if said is None:
        return None
    return Cause(
        "undecided",
        f"{how_many(int(said[1]), 'answer')} got no verdict, which is not the model's fault: its "
        "log says why",
        f"`{job_command('evaluate')} {run.path}`",
    )


def _grouped(found: Iterable[tuple[_Task, Cause]], run: Run) -> list[Failure]:
    """Tasks of the same stage with the same cause together; numbers in its text may differ."""
    groups: Mapping[tuple[str, ...], list[tuple[_Task, Cause]]] = defaultdict(list)
    for task, cause in found:
        job = task.job if task.index is not None else ""
        alike = re.sub(r"\d+", "#", cause.text)
        groups[task.stage, job, cause.kind, alike].append((task, cause))
    failures = []
    for members in groups.values():
        task, cause = members[0]
        failures.append(
            Failure(
                stage=task.stage,
                tasks=[t.index for t, _ in members if t.index is not None],
                job=task.job,
                log=task.log.relative_to(run.path).as_posix() if task.log else "",
                cause=cause.text,
                kind=cause.kind,
                remedy=cause.remedy,
                again=cause.again,
            )
        )
    return failures
