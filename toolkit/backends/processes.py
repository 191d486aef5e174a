"""The processes of an engine, as Linux shows them in /proc: who they are, how they fare, their end.

An engine leads a session of its own. Its processes are those of this session, and what they start.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SHARED_MEMORY = "/dev/shm/"
TICKS = os.sysconf("SC_CLK_TCK")
RUNNABLE, STOPPED, ZOMBIE = "R", "T", "Z"
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment.

    state: a letter, as in proc(5). cpu_seconds: CPU time of all its threads since its start.
    """

    pid: int
    name: str
    state: str
    parent: int
    session: int
    cpu_seconds: float

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


def read_process(pid: int) -> Process | None:
    """The process, or None if there is none with this number."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name may hold blanks and brackets. It ends at the last bracket.
    name, _, rest = stat.partition("(")[2].rpartition(")")
    state, parent, _, session, *more = rest.split()
    used = (int(more[7]) + int(more[8])) / TICKS
    return Process(pid, name, state, int(parent), int(session), used)


def all_processes() -> Iterator[Process]:
    """Every process of this machine that can be seen."""
    pids = [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208
    return (found for pid in pids if (found := read_process(pid)))


def of_session(session: int) -> list[Process]:
    """The processes of a session."""
    return [p for p in all_processes() if p.session == session]


def descendants(ancestor: int) -> list[Process]:
    """The children of a process, and their children, and so on."""
    children: dict[int, list[Process]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(ancestor, []))
    for process in found:  # it grows meanwhile
        found += children.get(process.pid, [])
    return found


def kill(processes: Iterable[Process]) -> None:
    """End them at once. Some may have ended already."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)


def end_descendants(seconds: float) -> list[Process]:
    """Kill and reap all descendants of this process; returns those that are left after `seconds`.

    Python's resource tracker may take half of that time. It removes the shared memory of the
    processes that were killed, then ends by itself.
    """
    began = time.monotonic()
    while found := descendants(os.getpid()):
        spent = time.monotonic() - began
        if spent > seconds:
            return found
        kill(p for p in found if spent > seconds / 2 or not _is_resource_tracker(p))
        reap()
        time.sleep(0.02)
    return []


def reap() -> dict[int, int]:
    """Children of this process that have ended -> their exit codes. -9: killed by signal 9."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def _is_resource_tracker(process: Process) -> bool:
    try:
        command = (PROC / str(process.pid) / "cmdline").read_bytes()
    except OSError:
        return False
    return b"multiprocessing.resource_tracker" in command


def shared_memory(processes: Iterable[Process]) -> set[str]:
    """The files of shared memory that these processes have mapped."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError):
            maps = (PROC / str(process.pid) / "maps").read_text(errors="replace")
            found |= {
                line[line.index(SHARED_MEMORY) :]
                for line in maps.splitlines()
                if SHARED_MEMORY in line
            }
    return {name for name in found if not name.endswith(" (deleted)")}


def adopt_orphans() -> None:
    """From now on, descendants of this process whose parent ends become its children."""
    _control(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """From now on, this process is killed when `parent`, which started it, ends."""
    _control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


def _control(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def how_it_ended(code: int) -> str:
    """An exit code in words. -9: killed by signal 9."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
