"""The monitor of an errand's child: it takes what that writes, and says how it ended.

The clock is that of `toolkit.sandbox.alone`: wall time less the time that the child's main thread
was ready to run but had no core. It is never behind the CPU time of the child's processes. What
the worker itself waits for a core, before it sees what has happened, counts for nobody.

A child that says that it waits for another errand is believed: it has done this one, whatever
becomes of it then. Only what it has written by then counts.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

from toolkit.sandbox import failures
from toolkit.sandbox.child import Child
from toolkit.sandbox.errand_child import REPORT_BYTES
from toolkit.sandbox.observed import Observed
from toolkit.sandbox.protocol import PASSED, TIMED_OUT, WAITS

_UNWATCHED_SECONDS: Final = 0.25
"""A child that ends within this time need not be looked at."""
_LONGEST_PAUSE_SECONDS: Final = 0.1
_FIRST_NAP_SECONDS: Final = 0.00002
_LONGEST_NAP_SECONDS: Final = 0.005
_QUIET_SHARE: Final = 0.05
"""The machine is quiet if the child waited for a core for no more than this share of the time."""
_CHUNK: Final = 1 << 14
_MOST_PARTS: Final = 1024
"""Of what a child tells. The socket holds less; a process that it has left may go on to write."""


class ErrandMonitor(Observed):
    """Observes one child until its end.

    output: the worker's end of the pipe that the child has as its descriptor 1. most_output: how
    much it may write, in bytes. may_wait: whether it may wait for another errand.
    """

    def __init__(
        self,
        child: Child,
        output: int,
        started: float,
        timeout: float,
        memory: int,
        most_output: int,
        *,
        may_wait: bool,
    ) -> None:
        super().__init__(child, started, timeout, memory)
        self._chunks: list[bytearray] = []
        self._written = 0
        self._pipe = output
        self._most_output = most_output
        self._may_wait = may_wait
        self._has_waited = False
        self._has_ended = False
        self._told = b""  # the beginning
        self._told_last = b""
        self._hinted = False
        self._queued_before = child.workers_queue_seconds()
        os.set_blocking(output, False)
        os.set_blocking(child.pipe, False)
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)
        self._poll.register(child.pipe, select.POLLIN)

    def decide(self, deadline: float, check_supervisor: Callable[[], None]) -> None:
        """Wait until the child has ended, has taken too much, or has run out of time.

        It has run out of time, too, when the monotonic clock has reached `deadline`.
        `check_supervisor` is called now and then.
        """
        next_look = self._started + _UNWATCHED_SECONDS
        nap = _FIRST_NAP_SECONDS
        while not self._is_over():
            now = time.monotonic()
            if now >= next_look:
                if self._takes_too_much(now >= deadline):
                    return
                check_supervisor()
                left = max(self._timeout - self.seconds, 0.001)
                next_look = now + min(left, _LONGEST_PAUSE_SECONDS)
            self._queued_before = self._child.workers_queue_seconds()
            if self._hinted:
                # It has closed its end of the socket: it is about to end, or goes on without it.
                time.sleep(nap)
                nap = min(2 * nap, _LONGEST_NAP_SECONDS)
                self._take_output()
                self._hear()
            else:
                self._listen(max(next_look - now, 0.001))

    @property
    def output(self) -> list[memoryview]:
        """What it has written, in parts. They can be overwritten when they are no longer needed."""
        left = self._written
        parts = []
        for chunk in self._chunks[: -(-self._written // _CHUNK)]:
            parts.append(memoryview(chunk)[: min(left, _CHUNK)])
            left -= len(parts[-1])
        return parts

    @property
    def waits(self) -> bool:
        """Whether it has done its errand and waits for another."""
        return self._has_waited and self.code == PASSED and not self._has_ended

    @property
    def is_doubtful(self) -> bool:
        """Whether the time ran out, on a machine too busy to hold it against the child."""
        return self.code == TIMED_OUT and not self._was_quiet

    def _listen(self, seconds: float) -> None:
        for descriptor, _ in self._poll.poll(seconds * 1000):
            if descriptor == self._pipe:
                self._take_output()
            else:
                self._hear()
                self._hinted = not self._has_waited

    def _hear(self) -> bool:
        """Take a part of what the child has told since; whether there was one."""
        with contextlib.suppress(BlockingIOError):
            more = os.read(self._child.pipe, REPORT_BYTES)
            self._told += more[: REPORT_BYTES - len(self._told)]
            self._told_last = self._told_last[1 - len(WAITS) :] + more
            self._has_waited |= self._may_wait and WAITS in self._told_last
            return bool(more)
        return False

    def _take_output(self) -> None:
        """Take what is in the pipe, up to one chunk more than is allowed."""
        with contextlib.suppress(BlockingIOError):
            while self._written <= self._most_output:
                index, used = divmod(self._written, _CHUNK)
                if index == len(self._chunks):
                    self._chunks.append(bytearray(_CHUNK))
                count = os.readv(self._pipe, [memoryview(self._chunks[index])[used:]])
                if not count:
                    with contextlib.suppress(KeyError):
                        self._poll.unregister(self._pipe)
                    return
                self._written += count

    def _is_over(self) -> bool:
        """Whether there is a result."""
        if self._written > self._most_output:
            self._read_clock()
            self._too_much_output()
            return True
        end = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None and not self._has_waited:
            return False
        self._has_ended = end is not None
        self._read_clock()
        self._take_output()
        self._hear_all()
        ended = None if self._has_waited else end
        if self.seconds > self._timeout or (ended and ended.si_status == signal.SIGXCPU):
            self._time_is_up()
        elif self._written > self._most_output:
            self._too_much_output()
        elif ended:
            self._describe(ended)
        else:
            self.code = PASSED
        return True

    def _describe(self, end: os.waitid_result) -> None:
        """Say how the child has ended."""
        if self._has_told_failure(self._told):
            return
        if end.si_code == os.CLD_EXITED and end.si_status == 0:
            self.code = PASSED
        else:
            self.kind, self.detail = "exit", failures.describe_exit(end).encode()

    def _takes_too_much(self, is_late: bool) -> bool:
        """Whether it has used up its time, or its processes hold too much memory."""
        if self._read_clock() > self._timeout or is_late:
            self._time_is_up()
            return True
        return self._holds_too_much()

    def _too_much_output(self) -> None:
        self.kind = "memory"
        self.detail = f"it wrote more than {self._most_output >> 20} MiB".encode()

    def _hear_all(self) -> None:
        """Take what a child has told, as far as the socket held it."""
        for _ in range(_MOST_PARTS):
            if self._has_waited or not self._hear():
                break

    def _read_clock(self) -> float:
        wall = time.monotonic() - self._started
        queued = self._child.run_queue_seconds()
        queued += self._child.workers_queue_seconds() - self._queued_before
        self.seconds = max(wall - queued, 0.0)
        if wall > _UNWATCHED_SECONDS:
            self.seconds = max(self.seconds, self._child.cpu_seconds())
        self._was_quiet = queued <= _QUIET_SHARE * wall
        return self.seconds
