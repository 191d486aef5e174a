"""A child of the worker as the kernel shows it, and the codes of what becomes of a program."""

import os
from typing import Final

PASSED, FAILED, TIMED_OUT = b"P", b"F", b"T"
UNFIT, SLOW = b"U", b"S"
"""A batch has no verdict: not tame or out of the ordinary; or it was ended for taking long."""
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Child:
    """A child process; `report` is the worker's end of the pipe that the child alone writes to.

    `proc` is a descriptor of /proc; `alone` says that the process table holds nothing but the
    worker and what the child started.
    """

    def __init__(self, pid: int, report: int, proc: int, *, alone: bool) -> None:
        self.pid = pid
        self.report = report
        self._proc = proc
        self._alone = alone

    def state(self) -> bytes:
        """/proc/PID/syscall: number and arguments of the call that the main thread waits in, stack
        pointer, program counter; empty where it may not be read.
        """
        return self._read(f"{self.pid}/syscall")

    def seconds_in_queue(self) -> float:
        """How long the main thread was ready to run and had no core."""
        fields = self._read(f"{self.pid}/schedstat").split()
        return int(fields[1]) / 1e9 if len(fields) == 3 else 0.0

    def seconds_computed(self) -> float:
        """How long the main thread ran."""
        fields = self._read(f"{self.pid}/schedstat").split()
        return int(fields[0]) / 1e9 if len(fields) == 3 else self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """CPU time of the child and of all else that runs in the jail: a program that keeps itself
        waiting for a core, by its own processes and threads, does not live longer by it.
        """
        pids = [str(self.pid)]
        if self._alone:
            pids = [
                name
                for name in os.listdir(self._proc)  # noqa: PTH208 - no pathlib in the jail
                if name.isdigit() and name != "1"
            ]
        ticks = 0
        for name in pids:
            # utime and stime, and those of children already waited for: fields 14 to 17 of stat.
            fields = self._read(f"{name}/stat").rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS_A_SECOND

    def _read(self, name: str) -> bytes:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 512)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
