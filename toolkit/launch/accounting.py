"""What Slurm's accounting says of a run's jobs: how each attempt ended, and what it took.

sacct is asked once for all jobs. A cluster may have no accounting, or a slow one, and it forgets
old jobs after a while. So nobody may rely on an answer.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from toolkit.errors import SlurmFailure
from toolkit.launch.queue import run_slurm
from toolkit.runs.history import launches, submitted_stages
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.usage import Allocation, Cost, cost_of, facts_of_work, usd_of_tokens

log = logging.getLogger(__name__)

ANSWER_SECONDS = 15.0
"""sacct answers in 0.1 to 1 s. A database that needs longer than this is as good as down."""
SLACK_SECONDS = 3600.0
"""The clocks of the login node and of the controller may differ by so much."""
COLUMNS = "JobID,JobName,State,ExitCode,ElapsedRaw,AllocTRES,NodeList,Submit"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a job or of an array task, as sacct shows it.

    task: the job's id, of an array task with the index: "12_3". state: Slurm's word for how it
    ended, or PENDING, RUNNING. by: the user id of who cancelled it, else None. exit_code: of the
    job's script. signal: what ended the script or one of its steps, 0 for none. step_states: those
    of its steps. memory: what it was given, as "60M". gpus: how many. seconds: wall clock from its
    start to its end, or until now. submitted: seconds since the epoch, None if not known.
    """

    task: str
    name: str
    state: str
    by: int | None
    exit_code: int
    signal: int
    seconds: int
    memory: str
    gpus: int
    node: str
    submitted: float | None
    step_states: tuple[str, ...] = ()

    @property
    def submission(self) -> str:
        """The id that sbatch gave: the array's, where this is an array task."""
        return self.task.partition("_")[0]

    @property
    def lacked_memory(self) -> bool:
        """Whether Slurm says so of the job, or of one of its steps only."""
        return "OUT_OF_MEMORY" in (self.state, *self.step_states)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The answer of sacct, and why there is none: "" where there is one.

    attempts: job or array task -> its attempts, oldest first.
    """

    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    silence: str = ""

    def last(self, task: str) -> Attempt | None:
        """The newest attempt of a job or array task. None if it is not known."""
        known = self.attempts.get(task)
        return known[-1] if known else None

    def cost(self, run: Run, shards: Iterable[ShardFacts]) -> Cost:
        """What a run is paid for. shards: what its shards say of themselves."""
        sampling = {job for job, stage in submitted_stages(run).items() if stage[:6] == "sample"}
        allocations = [
            Allocation(x.submission, x.submission in sampling, x.seconds, x.gpus)
            for attempts in self.attempts.values()
            for x in attempts
            if x.state != "PENDING"
        ]
        facts = list(shards)
        cost = cost_of(facts, allocations, sampling)
        return replace(cost, usd=usd_of_tokens(run, facts))


def read_cost(run: Run) -> Cost:
    """What a run is paid for, from accounting and from its shards. Damaged shards say nothing."""
    accounts = read_accounts(run)
    if accounts.silence:
        log.warning("the cost is from the shards alone: %s", accounts.silence)
    return accounts.cost(run, facts_of_work(run, skip_damaged=True))


def read_accounts(run: Run) -> Accounts:
    """Ask sacct for all jobs of the run, those that were requeued with every attempt.

    Asks nothing if the run has no jobs of Slurm. Does not fail: see `Accounts.silence`.
    """
    return accounts_of_runs([run])[0]


def accounts_of_runs(runs: Sequence[Run]) -> list[Accounts]:
    """`read_accounts` of many runs, in their order: sacct is asked once for all of them."""
    of_each = [
        {job: (stage, x.time) for x in launches(run) for stage, job in x.jobs.items()}
        for run in runs
    ]
    asked = [job for submitted in of_each for job in submitted]
    if not asked:
        return [Accounts() for _ in runs]
    try:
        answer = run_slurm(
            *("sacct", "--duplicates", "--noheader", "--parsable2", "--allusers"),
            f"--format={COLUMNS}",
            f"--jobs={','.join(asked)}",
            seconds=ANSWER_SECONDS,
        )
    except SlurmFailure as error:
        return [Accounts(silence=str(error)) if jobs else Accounts() for jobs in of_each]
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in parse_attempts(answer.splitlines()):
        attempts[attempt.submission].append(attempt)
    return [_accounts(submitted, attempts) for submitted in of_each]


def _accounts(
    submitted: Mapping[str, tuple[str, str]], attempts: Mapping[str, Sequence[Attempt]]
) -> Accounts:
    """Of one run. submitted: job -> its stage, and when it was launched. attempts: by job."""
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in (x for job in submitted for x in attempts.get(job, ())):
        stage, launched = submitted[attempt.submission]
        # Slurm uses job ids again. A job of another time or another name is somebody else's.
        if attempt.name.startswith(stage.split("-")[0]):
            earliest = datetime.fromisoformat(launched).timestamp() - SLACK_SECONDS
            if attempt.submitted is None or attempt.submitted > earliest:
                found[attempt.task].append(attempt)
    return Accounts(dict(found))


def parse_attempts(lines: Iterable[str]) -> list[Attempt]:
    """The attempts in sacct's answer with `COLUMNS`. The steps of each stand behind it.

    Lines that are not of this form are left out, such as the rest of an array that still waits.
    """
    attempts: list[Attempt] = []
    for line in lines:
        cells = line.split("|")
        if len(cells) != len(COLUMNS.split(",")):
            continue
        if "." in cells[0]:
            if attempts and cells[0].partition(".")[0] == attempts[-1].task:
                attempts[-1] = _with_step(attempts[-1], *cells[2:4])
        elif re.fullmatch(r"\d+(_\d+)?", cells[0]):
            attempts.append(_attempt(*cells))
    return attempts


def _attempt(
    job: str, name: str, state: str, code: str, elapsed: str, tres: str, node: str, submit: str
) -> Attempt:
    word, _, by = state.partition(" by ")
    exit_code, signal = _code_and_signal(code)
    held = dict(item.split("=", 1) for item in tres.split(",") if "=" in item)
    typed = [int(n) for name, n in held.items() if name.startswith("gres/gpu:")]
    return Attempt(
        task=job,
        name=name,
        state=word.strip(),
        by=int(by) if by.isdigit() else None,
        exit_code=exit_code,
        signal=signal,
        seconds=int(elapsed or 0),
        memory=held.get("mem", ""),
        gpus=int(held["gres/gpu"]) if "gres/gpu" in held else sum(typed),
        node=node if node != "None assigned" else "",
        submitted=_epoch(submit),
    )


def _with_step(attempt: Attempt, state: str, code: str) -> Attempt:
    """A step ends by the signal that ended its processes; the job's script only has a code."""
    _, signal = _code_and_signal(code)
    return replace(
        attempt,
        signal=attempt.signal or signal,
        step_states=(*attempt.step_states, state.partition(" ")[0]),
    )


def _code_and_signal(text: str) -> tuple[int, int]:
    code, _, signal = text.partition(":")
    return (int(code or 0), int(signal or 0)) if text else (0, 0)


def _epoch(text: str) -> float | None:
    """sacct's time in this machine's time zone. None if the user has set another format."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
