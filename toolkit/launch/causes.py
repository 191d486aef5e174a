"""Why an array task failed: from its log, and from Slurm's accounting, in one line with a remedy.

A task of ours ends its log with `failed: <class>: <message>` (`toolkit.launch.tasks`). Whatever
ends it from outside leaves a line of Slurm's, or none. So a cause is looked for in this order:

1. what kept the task from starting: a line of the setup, no Python
2. what ended it from outside: memory, time, node, preemption, cancellation
3. what it says itself
4. a signal or an exit code; nothing at all
"""

import os
import pwd
import re
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import errors
from toolkit.cli import job_command
from toolkit.launch.accounting import Attempt

STARTED = "Starting with JobEnvironment("
"""submitit writes this line at the start of each attempt."""
BEGINS = "begins: "
"""So ends the line that each of our tasks logs first, with its stage behind it."""
SUCCEEDED = "Exiting after successful completion"
SETUP_FAILED = "setup line failed: "
"""So begins the line that the script of a job leaves."""
OUR_LAST_LINE = re.compile(r"Z \S+ failed: (?P<kind>\w+): (?P<said>.*)")
EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*(?P<kind>\w*(?:Error|Exception|Failure|Interrupt))(?:: (?P<said>.*))?$"
)
NO_ROOM = re.compile(r"No space left on device|[Dd]isk quota exceeded")
MEMORY = re.compile(r"oom[-_]kill event|[Ee]xceeded (?:job )?memory limit|task \d+: Out Of Memory")
GPU_MEMORY = re.compile(r"CUDA out of memory|OutOfMemoryError")
MODEL = re.compile(
    r"gated|HF_TOKEN|Hugging ?Face|hub|config\.json|not a valid model identifier|--model\b"
)
CANCELLED = re.compile(r"\*\*\* JOB \d+ ON \S+ CANCELLED AT \S+ \*\*\*")


@dataclass(frozen=True, slots=True)
class Cause:
    """What ended a task. text: what and where. remedy: what to do next.

    kind: one of the words that docs/failures.md lists. again: to launch again is all there is to
    do.
    """

    kind: str
    text: str
    remedy: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the newest attempt of a task.

    stage: "sample", "evaluate", "next" or "fit". log: its lines; None without a log. attempt: what
    accounting says; None if it is silent. cancelled: the run's history says that it was. on_slurm:
    whether it was a job of Slurm.
    """

    stage: str
    log: Sequence[str] | None
    attempt: Attempt | None = None
    cancelled: bool = False
    on_slurm: bool = True


def newest_attempt(lines: Sequence[str]) -> Sequence[str]:
    """The part of a log that its newest attempt has written; all attempts share one log."""
    starts = [i for i, line in enumerate(lines) if STARTED in line]
    return lines[starts[-1] :] if starts else lines


def cause_of(found: Evidence, run: Path) -> Cause:
    """The cause, with a remedy that fits stage and run. The task is known to have failed."""
    lines = list(newest_attempt(found.log or ()))
    for look in (_never_started, _ended_from_outside, _said_by_itself, _signal_or_code):
        if cause := look(found, lines):
            return _with_remedy(cause, found, run)
    return _with_remedy(_nothing_known(found), found, run)


def _never_started(found: Evidence, lines: Sequence[str]) -> Cause | None:
    for line in reversed(lines):
        if line.startswith(SETUP_FAILED):
            return Cause("setup", line.strip())
        if missing := re.search(r"execve\(\): (.+): ([^:]+)$", line):
            return Cause("python", f"{missing[1]} cannot be started on the node: {missing[2]}")
    return None


def _ended_from_outside(found: Evidence, lines: Sequence[str]) -> Cause | None:
    attempt = found.attempt
    state = attempt.state if attempt else ""
    text = "\n".join(lines)
    if (attempt and attempt.lacked_memory) or MEMORY.search(text):
        given = f": it was given {attempt.memory}" if attempt and attempt.memory else ""
        return Cause("memory", f"used more memory than it may{given}")
    if state == "TIMEOUT" or "DUE TO TIME LIMIT" in text:
        spent = f" after {attempt.seconds / 60:.0f} min" if attempt else ""
        return Cause("time limit", f"ended at its time limit{spent}")
    if state in ("NODE_FAIL", "BOOT_FAIL") or "error: Node failure on" in text:
        where = attempt.node if attempt else ""
        return Cause("node failure", f"its node failed{where and f' ({where})'}", again=True)
    if state == "PREEMPTED" or "DUE TO PREEMPTION" in text:
        return Cause("preempted", "a job of higher priority took its node", again=True)
    if state == "CANCELLED" or found.cancelled or CANCELLED.search(text):
        return Cause("cancelled", f"cancelled{_by_whom(found)}", again=True)
    return None


def _by_whom(found: Evidence) -> str:
    if found.cancelled:
        return f" by `{job_command('cancel').removeprefix('python ')}`"
    if not found.attempt or found.attempt.by is None:
        return ""
    uid = found.attempt.by
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if uid == os.getuid():
        return f" by its user, {name}"
    return f" by an administrator, {name}" if uid == 0 else f" by {name}"


def _said_by_itself(found: Evidence, lines: Sequence[str]) -> Cause | None:
    ours = [m for m in map(OUR_LAST_LINE.search, lines) if m]
    if ours:
        return _of_error(ours[-1]["kind"], ours[-1]["said"])
    # It died before our code was there to catch it, or of what cannot be caught.
    told = [m for m in map(EXCEPTION.match, lines) if m]
    if told:
        return _of_error(told[-1]["kind"], told[-1]["said"] or "")
    for line in lines:
        if "No module named" in line:
            return Cause("import", line.strip()[:300])
    return None


def _of_error(kind: str, said: str) -> Cause:
    """By the class of an exception and its message, which names a remedy if it is one of ours."""
    known = getattr(errors, kind, None)
    ours = known if isinstance(known, type) else type(None)
    what, _, remedy = said.rpartition("; ")
    text = what or said
    if NO_ROOM.search(said):
        return Cause("disk full", text)
    if kind == "MemoryError":
        return Cause("memory", "used more memory than it may")
    if GPU_MEMORY.search(f"{kind} {said}"):
        return Cause("gpu memory", said)
    if kind in ("ImportError", "ModuleNotFoundError") or "cannot be imported" in said:
        return Cause("import", text, remedy if what else "")
    if "sbatch refused" in said:
        return Cause("refused", said.partition(";")[0])
    if issubclass(ours, errors.IsolationUnavailable):
        return Cause("isolation", text, remedy if what else "")
    if issubclass(ours, errors.EngineFailure | errors.UsageError) and MODEL.search(said):
        return Cause("model", text, remedy if what else "")
    if issubclass(ours, errors.EngineFailure):
        return Cause("engine", said)
    if issubclass(ours, errors.CorruptShard):
        return Cause("damage", text, remedy if what else "")
    if kind == "KeyboardInterrupt":
        return Cause("cancelled", "interrupted (Ctrl-C)", again=True)
    if said.startswith("no sample has a verdict"):
        return Cause("nothing to fit", "no sample has a verdict yet")
    if said.startswith("stopped before the end"):
        return Cause("stopped", "stopped before the end: what is finished is kept", again=True)
    if issubclass(ours, errors.ToolkitError):
        return Cause("failed", text, remedy if what else "")
    return Cause("bug", f"{kind}: {said}"[:300])


def _signal_or_code(found: Evidence, lines: Sequence[str]) -> Cause | None:
    attempt = found.attempt
    number = attempt.signal if attempt and attempt.signal else _told_signal(lines)
    code = attempt.exit_code if attempt else 0
    if told := re.findall(r"Exited with exit code (\d+)", "\n".join(lines)):
        code = int(told[-1])
    # A shell reports the signal of its child as 128 and more.
    number = number or (code - 128 if 128 < code < 128 + 65 else 0)
    if number == signal.SIGKILL:
        return Cause("killed", "killed by signal 9, without a word in its log")
    if number:
        return Cause("crash", f"ended by signal {number} ({signal.strsignal(number)})")
    return (
        Cause("exit", f"ended with exit code {code}, without a word in its log") if code else None
    )


def _told_signal(lines: Sequence[str]) -> int:
    """The signal that srun or a shell names last, in the words of the C library; 0 for none."""
    numbers = {signal.strsignal(number): int(number) for number in signal.valid_signals()}
    for line in reversed(lines):
        found = re.search(r"(?:task \d+: |^)([A-Z][A-Za-z ]+)(?: \(core dumped\))?$", line)
        if found and found[1] in numbers:
            return numbers[found[1]]
    return 0


def _nothing_known(found: Evidence) -> Cause:
    if found.log is None:
        who = " and Slurm knows nothing of it any more" if found.on_slurm else ""
        return Cause("vanished", f"gone without a log,{who}".rstrip(","), again=True)
    return Cause("killed", "ended without a word in its log")


def _with_remedy(cause: Cause, found: Evidence, run: Path) -> Cause:
    """The same cause with what to do next: its own remedy, or the one of its kind."""
    resume = f"{job_command('launch')} --resume --run {shlex.quote(str(run))}"
    knob = "--mem" if found.stage == "sample" else "--eval-mem"
    time = "--time" if found.stage == "sample" else "--eval-time"
    more_memory = f"ask for more memory: `{resume} {knob} AMOUNT`"
    if not found.on_slurm:
        more_memory = f"fewer tasks at once: `{resume} --array N`"
    remedy = {
        "setup": f"mend that line: `{resume} --setup LINE`",
        "python": f"put the environment where all nodes see it, then `{resume}`",
        "memory": more_memory,
        "gpu memory": f"fewer sequences at once, or larger GPUs: `{resume} --max-num-seqs N`",
        "time limit": f"what is finished is kept; ask for more time: `{resume} {time} TIME`",
        "refused": f"mend what sbatch names, for instance by `{resume} --partition NAME`",
        "import": f"install it for the Python of the node, then `{resume}`",
        "disk full": f"make room or raise the quota, then `{resume}`",
        "engine": f"the log has the engine's own words; mend that, then `{resume}`",
        "killed": f"often the kernel, for lack of memory: {more_memory}",
        "nothing to fit": f"mend what failed before it, then `{resume}`",
        "bug": f"please report it with its log; `{resume}` tries again",
    }
    if cause.remedy:
        own = cause.remedy.rstrip(".")
        helps = re.search(r"launch|again|jobs/|`inference-scaling ", own)
        return _replaced(cause, own if helps else f"{own}; then `{resume}`")
    if cause.again:
        return _replaced(cause, f"`{resume}`")
    return _replaced(cause, remedy.get(cause.kind, f"mend that, then `{resume}`"))


def _replaced(cause: Cause, remedy: str) -> Cause:
    return Cause(cause.kind, cause.text, remedy, cause.again)
