"""The file `launching` in a run: whose holder submits the run's jobs, or does its work here.

It exists only meanwhile, and it is no part of the ledger. Of two launches at the same moment one
makes it; the other is refused. A killed process leaves it behind. The next launch takes it over:

- on the same machine, if the process is gone (another one with its number has another start time);
- from another machine, if no job of that launch is in the queue and the file is some minutes old.

To take over is to make a file that is named after the launch taken over. Only one process can make
it. So of two that take over at the same time one wins, and a winner that dies is taken over itself.
"""

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import publish_once
from toolkit.launch.queue import jobs_of_launch
from toolkit.runs.history import new_launch, now
from toolkit.runs.run import Run

log = logging.getLogger(__name__)

STALE_SECONDS = 300.0
"""A launch on another machine whose file is older, and that has no job in the queue, is gone."""
TOUCH_SECONDS = 30.0
"""A holder that works for long says so often."""
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Holder:
    """What the file says of the process that made it.

    launch: the id of its launch. host: its name, for people. machine: which boot and which space
    of process numbers it lives in. pid, started: the process and its start, in ticks since boot.
    job: the Slurm job that it is part of, "" for none.
    """

    launch: str
    launcher: str
    host: str
    machine: str
    pid: int
    started: int
    time: str
    job: str

    def line(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.host} since {self.time}"

    def is_alive(self) -> bool | None:
        """Whether its process still lives; None where only its own machine could tell."""
        if self.machine != _machine():
            return None
        return _started(self.pid) == self.started


@dataclass(slots=True)
class Hold:
    """A run's file `launching`, held by this process until `release`."""

    run: Run
    holder: Holder
    _chain: list[Path]
    _touched: float = 0.0

    @property
    def launch(self) -> str:
        """The id of the launch that holds it."""
        return self.holder.launch

    def touch(self) -> None:
        """Say that the holder still works: other machines go by the file's age."""
        if self._chain and time.monotonic() - self._touched > TOUCH_SECONDS:
            self._touched = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._chain[-1])

    def release(self) -> None:
        """Let others launch the run. A second call does nothing."""
        # The first file of the chain goes first: without it the others mean nothing.
        for path in self._chain:
            path.unlink(missing_ok=True)
        self._chain = []


@contextlib.contextmanager
def hold(run: Run, launcher: str) -> Iterator[Hold]:
    """Hold the run's file `launching` for a new launch.

    Raises `UsageError` while another launch holds the file. Raises `SlurmFailure` if that launch is
    of another machine and the queue does not answer.
    """
    pid = os.getpid()
    facts = (platform.node(), _machine(), pid, _started(pid), now())
    mine = Holder(new_launch(), launcher, *facts, job=os.environ.get("SLURM_JOB_ID", ""))
    held = _acquire(run, mine)
    try:
        yield held
    finally:
        held.release()


def holder_of(run: Run) -> Holder | None:
    """Who holds the run's file and may still live; None for nobody."""
    chain = _chain(run)
    if not chain or (holder := chain[-1][1]) is None:
        return None
    alive = holder.is_alive()
    if alive is None:
        alive = _age(chain[-1][0]) < STALE_SECONDS
    return holder if alive else None


def _acquire(run: Run, mine: Holder) -> Hold:
    for _ in range(ATTEMPTS):
        chain = _chain(run)
        if chain:
            _refuse_unless_gone(run, *chain[-1], mine)
        path = _after(run, chain[-1]) if chain else run.path / "launching"
        # Made whole and only once; whoever is faster is met as the holder in the next attempt.
        if not _publish(path, mine):
            continue
        # Nobody has released the chain in the meantime, and with it this place at its end.
        if not chain or [p for p, _ in _chain(run)[: len(chain)]] == [p for p, _ in chain]:
            return Hold(run, mine, [p for p, _ in chain] + [path])
        path.unlink(missing_ok=True)
    raise UsageError(f"{run.path}: many launches at the same time; launch again in a minute")


def _chain(run: Run) -> list[tuple[Path, Holder | None]]:
    """The file `launching`, and those by which it was taken over; the last one counts."""
    found: list[tuple[Path, Holder | None]] = []
    path = run.path / "launching"
    while (text := _read(path)) is not None:
        found.append((path, _holder(text)))
        path = _after(run, found[-1])
    return found


def _after(run: Run, last: tuple[Path, Holder | None]) -> Path:
    path, holder = last
    if holder is not None:
        return run.path / f".launching.{holder.launch}"
    # Not made by this version, or torn: known by itself.
    with contextlib.suppress(OSError):
        facts = path.stat()
        return run.path / f".launching.{facts.st_ino}-{facts.st_mtime_ns}"
    return run.path / ".launching.gone"


def _refuse_unless_gone(run: Run, path: Path, holder: Holder | None, mine: Holder) -> None:
    """Raise `UsageError` unless the holder is gone; then the log says so."""
    if holder is not None and holder.job and holder.job == mine.job:
        log.warning("%s: %s was this job before its restart", path, holder.line())
        return
    if holder is not None and (alive := holder.is_alive()) is not None:
        if alive:
            does = "is being launched by" if holder.launcher == "slurm" else "is worked on by"
            raise UsageError(
                f"{run.path}: {does} {holder.line()}; wait until it ends, or end it, then launch "
                "again"
            )
        log.warning("%s: %s was killed; this launch takes over", path, holder.line())
        return
    who = holder.line() if holder else "an unknown process"
    if holder is not None and holder.launcher == "inline":
        raise UsageError(f"{run.path}: is worked on by {who}; if it no longer runs, delete {path}")
    if holder is not None and holder.launcher == "slurm" and jobs_of_launch(run, holder.launch):
        raise UsageError(f"{run.path}: launched by {who}, its jobs are in the queue; wait for them")
    if (age := _age(path)) < STALE_SECONDS:
        raise UsageError(
            f"{run.path}: launched {age:.0f} s ago by {who}; wait for it, or delete {path} if it "
            "no longer runs"
        )
    log.warning("%s: no sign of %s for %.0f s; this launch takes over", path, who, age)


def _publish(path: Path, holder: Holder) -> bool:
    return publish_once(path, json.dumps(asdict(holder)).encode() + b"\n")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolkitError(
            f"{path}: cannot be read ({error.strerror}); mend that, then launch again"
        ) from None


def _holder(text: str) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (TypeError, ValueError):
        return None


def _age(path: Path) -> float:
    """Seconds since its holder last touched it; 0 if it has just gone."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0


def _machine() -> str:
    """This boot of this machine, and the space of process numbers in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is none, or only its corpse."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if facts[0] in "ZX" else int(facts[19])
