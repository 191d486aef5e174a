"""A child of the worker, as the kernel shows it."""

import os
from typing import Final

from toolkit.sandbox.usage import read, usage

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Child:
    """A process that executes one program, or a batch of tame ones.

    `pipe` is the worker's end of the pipe that the child alone writes to. `proc` is a descriptor
    of /proc. `pid_namespace` says that the process table holds nothing but the worker and what the
    child started.
    """

    def __init__(self, pid: int, pipe: int, proc: int, *, pid_namespace: bool) -> None:
        self.pid = pid
        self.pipe = pipe
        self._proc = proc
        self._pid_namespace = pid_namespace
        self._queued_before = 0.0

    def syscall_state(self) -> bytes:
        """The call that the main thread waits in, its arguments, stack pointer and program counter.

        As in /proc/PID/syscall; empty where this may not be read.
        """
        return self._read(f"{self.pid}/syscall")

    def image(self) -> list[bytes]:
        """Where code and stack of the process begin, which execve(2) changes.

        Fields 26 to 28 of /proc/PID/stat; zeros where they may not be read.
        """
        return self._read(f"{self.pid}/stat").rpartition(b")")[2].split()[23:26]

    def run_queue_seconds(self) -> float:
        """How long the main thread was ready to run and had no core, since it began anew."""
        return self._queued(str(self.pid)) - self._queued_before

    def begin_anew(self) -> None:
        """It has something else to do from now on: what it has waited for counts no more."""
        self._queued_before = self._queued(str(self.pid))

    def workers_queue_seconds(self) -> float:
        """The same of the process that observes the child."""
        return self._queued("self")

    def _queued(self, name: str) -> float:
        fields = self._read(f"{name}/schedstat").split()
        return int(fields[1]) / 1e9 if len(fields) == 3 else 0.0

    def main_thread_seconds(self) -> float:
        """CPU time of the main thread."""
        fields = self._read(f"{self.pid}/schedstat").split()
        return int(fields[0]) / 1e9 if len(fields) == 3 else self.cpu_seconds()

    def memory_bytes(self) -> int:
        """Resident memory of the child and of every process that it started."""
        return usage(self._proc, self._pids()).memory_bytes

    def cpu_seconds(self) -> float:
        """CPU time of the child and of every process that it started.

        So a program that keeps itself waiting for a core, by its own processes and threads, does
        not live longer by it.
        """
        ticks = 0
        for name in self._pids():
            # utime and stime, and those of children already waited for: fields 14 to 17 of stat.
            fields = self._read(f"{name}/stat").rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS_A_SECOND

    def _pids(self) -> list[str]:
        """Its process, and all others; without a pid namespace a program can start none."""
        if not self._pid_namespace:
            return [str(self.pid)]
        return [
            name
            for name in os.listdir(self._proc)  # noqa: PTH208 - a descriptor
            if name.isdigit() and name != "1"
        ]

    def _read(self, name: str) -> bytes:
        return read(self._proc, name, 512)
