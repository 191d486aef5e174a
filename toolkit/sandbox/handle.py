"""The supervisor's handle on a worker that judges programs: it feeds and hears it.

The process itself is `toolkit.sandbox.worker`, the messages are those of
`toolkit.sandbox.protocol`.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple, cast

from toolkit.records import (
    DETAIL_CHARACTERS,
    FAILURE_KINDS,
    Answer,
    FailureKind,
    Outcome,
    Verdict,
)
from toolkit.sandbox import protocol, reasons
from toolkit.sandbox.process import WorkerProcess


class Job:
    """A program on its way to a verdict; `ending` is the index of its problem's ending."""

    __slots__ = ("alone", "attempts", "confirming", "ending", "number", "program", "timeout")

    def __init__(self, number: int, program: Answer, ending: int, timeout: float) -> None:
        self.number = number
        self.program = program
        self.ending = ending
        self.timeout = timeout
        self.attempts = 0
        self.alone = False
        self.confirming = False

    def request(self, mode: bytes) -> bytes:
        """The message that hands it to a worker."""
        return protocol.request(self.number, self.ending, self.timeout, mode, self.program.text)

    def verdict(
        self,
        outcome: Outcome,
        seconds: float,
        kind: FailureKind = "",
        detail: str = "",
        suspect: tuple[str, ...] = (),
    ) -> Verdict:
        """Its verdict, with the detail cut to DETAIL_CHARACTERS."""
        return Verdict(
            self.program.task_id,
            self.program.digest,
            outcome,
            kind,
            detail[:DETAIL_CHARACTERS],
            suspect,
            seconds,
        )


class Reply(NamedTuple):
    """What a worker says of a job; codes and loads are those of `toolkit.sandbox.protocol`."""

    job: Job
    code: bytes
    load: bytes
    seconds: float
    kind: FailureKind
    detail: str
    suspect: tuple[str, ...]


class WorkerHandle(WorkerProcess):
    """A worker process, as the supervisor sees it."""

    def __init__(self, setup: protocol.Setup) -> None:
        super().__init__("worker", setup)
        self.jobs: dict[int, Job] = {}  # in the order in which the worker will take them

    def submit_alone(self, job: Job) -> None:
        """Queue a program that gets a child of its own."""
        job.alone = True
        self._queue(job, protocol.ALONE)
        self.flush()

    def submit_batch(self, batch: Sequence[Job]) -> None:
        """Queue programs of which the tame ones share a child."""
        for job in batch:
            self._queue(job, protocol.LAST if job is batch[-1] else protocol.TOGETHER)
        self.flush()

    def _queue(self, job: Job, mode: bytes) -> None:
        if not self.jobs:
            self._last_heard = time.monotonic()
        self.jobs[job.number] = job
        self.outbox += job.request(mode)

    @property
    def jobs_alone(self) -> int:
        """How many of its jobs get a child of their own."""
        return sum(job.alone for job in self.jobs.values())

    def forget(self) -> None:
        """Drop all its jobs: replies to them no longer matter."""
        self.jobs.clear()

    def replies(self) -> list[Reply]:
        """The replies that are there in full."""
        self._hear()
        found = []
        while len(self._inbox) >= protocol.REPLY.size:
            head = protocol.REPLY.unpack_from(self._inbox)
            number, code, load, kind, seconds, suspicions, size = head
            end = protocol.REPLY.size + size
            if len(self._inbox) < end:
                break
            detail = self._inbox[protocol.REPLY.size : end].decode("utf-8", "replace")
            del self._inbox[:end]
            if (job := self.jobs.pop(number, None)) is not None:
                name = cast(FailureKind, FAILURE_KINDS[kind])
                suspect = reasons.reasons_of(suspicions)
                found.append(Reply(job, code, load, seconds, name, detail, suspect))
        return found
