"""What the monitors of children have in common: how the end of a child is noted."""

from typing import cast

from toolkit.records import FAILURE_KINDS, FailureKind
from toolkit.sandbox.child import Child
from toolkit.sandbox.protocol import FAILED, TIMED_OUT


class Observed:
    """How a child has ended: `code`, `kind`, `detail`, and `seconds` of its own clock.

    timeout: in seconds of the child's own clock, from the monotonic time `started` on. memory: what
    its processes may hold together, in bytes.
    """

    def __init__(self, child: Child, started: float, timeout: float, memory: int) -> None:
        self.code = FAILED
        self.kind: FailureKind = ""
        self.detail = b""
        self.seconds = 0.0
        self._child = child
        self._started = started
        self._timeout = timeout
        self._memory = memory
        self._was_quiet = True

    def _holds_too_much(self) -> bool:
        """Whether its processes hold more memory than they may."""
        used = self._child.memory_bytes()
        if used > self._memory:
            self.kind = "memory"
            self.detail = f"its processes hold {used >> 20} MiB of memory".encode()
        return used > self._memory

    def _has_told_failure(self, report: bytes) -> bool:
        """Whether this is the report of a failure: its kind and its detail."""
        if report[:1] != FAILED or len(report) <= 2 or report[1] >= len(FAILURE_KINDS):
            return False
        self.kind = cast(FailureKind, FAILURE_KINDS[report[1]] or "exception")
        self.detail = report[2:]
        return True

    def _time_is_up(self) -> None:
        self.code, self.kind, self.detail = TIMED_OUT, "time", b"timed out"
