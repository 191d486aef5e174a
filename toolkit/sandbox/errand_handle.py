"""The supervisor's handle on a worker that does errands: it feeds and hears it.

The process itself is `toolkit.sandbox.errand_worker`, the messages are those of
`toolkit.sandbox.protocol`.
"""

import time
from typing import Final, NamedTuple, cast

from toolkit.records import FAILURE_KINDS, FailureKind
from toolkit.sandbox import protocol
from toolkit.sandbox.errands import End, Errand, Result
from toolkit.sandbox.process import WorkerProcess

_ENDS: Final[dict[bytes, End]] = {
    protocol.PASSED: "done",
    protocol.FAILED: "failed",
    protocol.TIMED_OUT: "timed_out",
}


class Task:
    """An errand on its way to a result."""

    __slots__ = ("attempts", "confirming", "errand", "number")

    def __init__(self, number: int, errand: Errand) -> None:
        self.number = number
        self.errand = errand
        self.attempts = 0
        self.confirming = False

    def error(self, detail: str) -> Result:
        """Its result where it could not be done."""
        return Result(self.errand.key, "error", "", detail, b"", 0.0)


class Reply(NamedTuple):
    """What a worker says of a task."""

    task: Task
    result: Result
    is_doubtful: bool


class ErrandHandle(WorkerProcess):
    """A worker process, as the supervisor sees it."""

    def __init__(self, setup: protocol.ErrandSetup) -> None:
        super().__init__("errand_worker", setup)
        self.tasks: dict[int, Task] = {}  # in the order in which the worker will take them
        self.waits_after: Result | None = None  # whose child waits for an errand that follows
        self._most_output = setup["output_bytes"]
        self._begun = 0.0

    def submit(self, task: Task, *, follows: bool = False) -> None:
        """Queue a task. follows: upon the result whose child waits."""
        if not self.tasks:
            self._last_heard = self._begun = time.monotonic()
        self.tasks[task.number] = task
        errand = task.errand
        self.outbox += protocol.errand(
            task.number,
            errand.timeout,
            errand.payload,
            errand.stdin,
            follows=follows,
            more=errand.more,
        )
        self.waits_after = None
        self.flush()

    @property
    def first(self) -> Task | None:
        """The task that the worker is at."""
        return next(iter(self.tasks.values()), None)

    @property
    def awaits_more(self) -> bool:
        """Whether its place behind the last task is for what follows upon that."""
        return bool(self.tasks) and next(reversed(self.tasks.values())).errand.more

    @property
    def seconds_at_first(self) -> float:
        """Since when it has been at its first task; 0 if it has none."""
        return time.monotonic() - self._begun if self.tasks else 0.0

    def forget(self) -> None:
        """Drop all its tasks: replies to them no longer matter."""
        self.tasks.clear()
        self.waits_after = None

    def replies(self) -> list[Reply]:
        """The replies that are there in full."""
        self._hear()
        found = []
        while len(self._inbox) >= protocol.RESULT.size:
            head = protocol.RESULT.unpack_from(self._inbox)
            number, code, load, waits, kind, seconds, detail_bytes, output_bytes = head
            if output_bytes > 2 * self._most_output or code not in _ENDS:
                self.is_dead = True  # no worker of ours says this
                break
            detail_end = protocol.RESULT.size + detail_bytes
            end = detail_end + output_bytes
            if len(self._inbox) < end:
                break
            detail = self._inbox[protocol.RESULT.size : detail_end].decode("utf-8", "replace")
            output = bytes(self._inbox[detail_end:end])
            del self._inbox[:end]
            if (task := self.tasks.pop(number, None)) is not None:
                self._begun = time.monotonic()
                name = cast(FailureKind, FAILURE_KINDS[kind])
                key = task.errand.key
                result = Result(key, _ENDS[code], name, detail, output, seconds)
                found.append(Reply(task, result, load == protocol.BUSY))
                self.waits_after = result if waits else None
        return found
