"""The watcher: a process beside a worker whose programs no namespace bounds.

The kernel then has no limit for the number and size of files in a directory, and counts the threads
of all of a user's processes together. The watcher looks at the programs fifty times a second, and
kills one that uses too much. It is the worker's parent, and deletes the scratch directory at last.
"""

import contextlib
import os
import signal
import stat
import time
from collections.abc import Iterator
from typing import Final, NoReturn

from toolkit.sandbox import linux
from toolkit.sandbox.scratch import BLOCK_BYTES, ScratchDirectory
from toolkit.sandbox.usage import read, usage

_PAUSE_SECONDS: Final = 0.02
_MAPS_BYTES: Final = 1 << 20


class Watcher:
    """Bounds the programs of one worker: resident bytes of `memory`, threads (`tasks`), and bytes
    (`size`) and number of `files` in `scratch`.

    `proc` is a descriptor of /proc.
    """

    def __init__(
        self,
        scratch: ScratchDirectory | None,
        proc: int,
        *,
        memory: int,
        tasks: int,
        size: int,
        files: int,
    ) -> None:
        self._scratch = scratch
        self._proc = proc
        self._memory = memory
        self._tasks = tasks
        self._size = size
        self._files = files

    def fork(self) -> None:
        """Return in the child, which is the worker from now on; the parent watches it to its end.

        The parent exits as the worker did.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        worker = os.fork()
        if worker:
            self._watch(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()

    def _watch(self, worker: int) -> NoReturn:
        # The channel must close when the worker ends.
        os.closerange(0, self._proc)
        os.closerange(self._proc + 1, 256)
        while os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            started = time.monotonic()
            self.look(worker)
            took = time.monotonic() - started
            signal.sigtimedwait({signal.SIGCHLD}, max(_PAUSE_SECONDS, took))
        _, status = os.waitpid(worker, 0)
        if self._scratch is not None:
            with contextlib.suppress(OSError):
                self._scratch.remove()
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)

    def look(self, worker: int) -> None:
        """Kill the children of `worker` if they use too much now."""
        children = self._children(worker)
        if children and self._is_too_much(children):
            # A child that is there again did it: the others ended while this was counted.
            for pid in set(children) & set(self._children(worker)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def _children(self, worker: int) -> list[str]:
        name = f"{worker}/task/{worker}/children"
        try:
            os.stat(name, dir_fd=self._proc)
        except OSError:  # the kernel keeps no such list, or hides the worker's
            return self._children_by_parent(worker)
        return read(self._proc, name).decode().split()

    def _children_by_parent(self, worker: int) -> list[str]:
        pids = (name for name in os.listdir(self._proc) if name.isdigit())
        return [pid for pid in pids if _parent(read(self._proc, f"{pid}/stat")) == worker]

    def _is_too_much(self, children: list[str]) -> bool:
        used = usage(self._proc, children)
        if used.tasks > self._tasks or used.memory_bytes > self._memory:
            return True
        if self._scratch is None:
            return False
        size, files = self._scratch.use(self._files)
        if files > self._files or size > self._size:
            return True
        without_name = sum(sum(self._sizes_without_name(pid)) for pid in children)
        return size + without_name > self._size

    def _sizes_without_name(self, pid: str) -> Iterator[int]:
        """The bytes of the deleted files that a process still has open or mapped."""
        opened: dict[tuple[int, int], int] = {}
        with contextlib.suppress(OSError):
            folder = os.open(f"{pid}/fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
            try:
                for name in os.listdir(folder):
                    with contextlib.suppress(OSError):
                        status = os.stat(name, dir_fd=folder)
                        if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                            opened[status.st_dev, status.st_ino] = status.st_blocks
            finally:
                os.close(folder)
        yield from (blocks * BLOCK_BYTES for blocks in opened.values())
        path = f" {self._scratch.path}/".encode() if self._scratch else b""
        maps = read(self._proc, f"{pid}/maps", _MAPS_BYTES)
        for line in maps.splitlines():
            if path in line and line.endswith(b" (deleted)"):
                start, _, end = line.split()[0].partition(b"-")
                yield int(end, 16) - int(start, 16)


def _parent(status: bytes) -> int:
    """The parent's number in /proc/PID/stat; 0 if there is none."""
    fields = status.rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0
