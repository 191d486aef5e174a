"""One run over a stream of programs: which worker executes what, and when.

- Programs come in batches. What is not tame is then executed alone, before further batches.
- Programs that are *slow*, and will probably run out of time, start beside the rest, but leave one
  worker to it. Where there are more workers than cores they wait for the end: beside others they
  would only come out doubtful.
- A batch is never queued behind a program that is alone, which may take long. Near the end nothing
  is queued at all. So no worker has nothing to do while programs wait for another.
- A worker that died is replaced while the others work: nobody waits until its successor is ready.
- Doubtful timeouts are confirmed when nothing else of ours runs (`toolkit.sandbox.doubtful`).
"""

import itertools
from collections.abc import Iterator
from typing import Final

from toolkit.cores import available_cores
from toolkit.records import Verdict
from toolkit.sandbox.doubtful import Doubtful
from toolkit.sandbox.handle import Job, Reply, WorkerHandle
from toolkit.sandbox.process import await_events, start_in_place
from toolkit.sandbox.protocol import BUSY, PASSED, Setup
from toolkit.sandbox.trust import CANARIES, Trust, verdict_of

_BATCH_SIZE: Final = 64
"""Programs in a batch, beside its canaries; a worker has one batch in hand and one ahead."""
_MAX_BATCH: Final = _BATCH_SIZE + len(CANARIES)
_MAX_ALONE: Final = 4
"""Jobs with a child of their own that a worker is given at once."""
_MAX_ATTEMPTS: Final = 2
"""A program whose worker died so many times has the outcome "error"."""
_MAX_SILENCE_SECONDS: Final = 60.0
"""Beyond a program's limit of wall time; a worker that says nothing for longer is replaced."""


class Run:
    """A run of jobs on `workers`; a worker that dies is replaced in this list, by `setup`.

    wall_seconds: the limit of a program's wall time. few_alone, more: see `Executor.run`.
    """

    def __init__(
        self,
        workers: list[WorkerHandle],
        setup: Setup,
        wall_seconds: float,
        trust: Trust,
        *,
        few_alone: bool = False,
        more: int | None = None,
    ) -> None:
        self._few_alone, self._more = few_alone, more
        self._workers = workers
        self._setup = setup
        self._max_silence = wall_seconds + _MAX_SILENCE_SECONDS
        self._trust = trust
        self._more_to_read = True
        self._slow: set[int] = set()  # numbers of jobs that a worker has
        self._cores = available_cores()
        self._doubtful: Doubtful[Job, Reply] = Doubtful(self._cores)

    def verdicts(self, jobs: Iterator[Job]) -> Iterator[Verdict]:
        """The verdicts of all jobs, in the order in which they are certain."""
        for worker in self._workers:
            worker.forget()
        while True:
            self._hand_out(jobs)
            if self._ready and self._is_idle():
                return
            yield from self._collect()

    def slow_programs(self) -> int:
        """How many programs are known to take long, and have no verdict yet."""
        running = (
            number in self._slow or job.confirming
            for worker in self._workers
            for number, job in worker.jobs.items()
        )
        return len(self._trust.slow) + len(self._doubtful) + sum(running)

    @property
    def _ready(self) -> list[WorkerHandle]:
        """The workers that have started."""
        return [worker for worker in self._workers if worker.is_ready]

    def _hand_out(self, jobs: Iterator[Job]) -> None:
        """Give the workers what they have room for."""
        if not self._ready:
            return
        if not any(job.confirming for worker in self._workers for job in worker.jobs.values()):
            self._hand_out_rest(self._hand_out_slow(), jobs)
            if self._is_idle():  # no more is to be read: slow programs may have all workers
                self._hand_out_slow()
            if not self._is_idle():
                return
        self._hand_out_doubtful()

    def _is_idle(self) -> bool:
        return not any(worker.jobs for worker in self._workers)

    def _hand_out_slow(self) -> list[WorkerHandle]:
        """Start slow programs on empty workers; the workers that are there for the rest."""
        ready = self._ready
        others = [w for w in ready if self._slow.isdisjoint(w.jobs)]
        others.sort(key=lambda worker: len(worker.jobs))
        at_once = min(len(ready), self._cores)
        if self._more_to_read or self._trust.repetitions or self._trust.alone:
            at_once = len(ready) - 1 if len(ready) <= self._cores else 0
        room = max(0, at_once - (len(ready) - len(others)))
        taking = min(room, len(self._trust.slow))  # those not yet empty will be
        for worker in others[:taking]:
            if not worker.jobs:
                job = self._trust.slow.popleft()
                self._slow.add(job.number)
                worker.submit_alone(job)
        return others[taking:]

    def _hand_out_rest(self, workers: list[WorkerHandle], jobs: Iterator[Job]) -> None:
        """Give these workers what is to be executed alone, and then batches."""
        self._hand_out_alone(workers)
        if self._trust.repetitions or self._trust.alone:
            return
        for ahead in range(2):
            for worker in workers:
                if not worker.jobs_alone and len(worker.jobs) <= ahead * _MAX_BATCH:
                    self._hand_out_batch(worker, jobs)
        self._hand_out_alone(workers)  # a batch that was too small for one

    def _hand_out_alone(self, workers: list[WorkerHandle]) -> None:
        """Give these workers what is to be executed alone, as far as they have room."""
        while workers and (waiting := self._trust.repetitions or self._trust.alone):
            worker = min(workers, key=lambda w: (w.jobs_alone, len(w.jobs)))
            if worker.jobs_alone >= (_MAX_ALONE if len(waiting) > len(self._workers) else 1):
                return
            worker.submit_alone(waiting.popleft())

    def _hand_out_batch(self, worker: WorkerHandle, jobs: Iterator[Job]) -> None:
        most_held = 2 * _BATCH_SIZE * len(self._workers)
        reading = self._more_to_read or self._more is not None
        if reading and self._trust.held + _BATCH_SIZE <= most_held:
            batch = list(itertools.islice(jobs, _BATCH_SIZE))
            self._more_to_read = len(batch) == _BATCH_SIZE
            if self._few_alone and len(batch) <= self._trust.least_repeated:
                self._trust.take_alone(batch)
            elif batch:
                worker.submit_batch(self._trust.compose(batch))

    def _hand_out_doubtful(self) -> None:
        """Confirm doubtful timeouts, while nothing else of ours runs."""
        running = sum(bool(worker.jobs) for worker in self._workers)
        for worker in self._ready:
            if not worker.jobs and (job := self._doubtful.take(running)):
                worker.submit_alone(job)
                running += 1

    def _collect(self) -> Iterator[Verdict]:
        """The verdicts that have become certain, after waiting for at least one event."""
        for worker in await_events(self._workers, self._more):
            for reply in worker.replies():
                yield from self._settle(reply)
        for index, worker in enumerate(self._workers):
            is_silent = worker.jobs and worker.silent_seconds > self._max_silence
            if worker.is_dead or worker.is_stuck or is_silent:
                yield from self._replace(index)

    def _settle(self, reply: Reply) -> list[Verdict]:
        """The verdicts that are certain by a reply."""
        job = reply.job
        if not job.alone:
            return self._trust.take(reply)
        is_doubtful = reply.load == BUSY and reply.code != PASSED
        certain = self._doubtful.add(job, reply) if is_doubtful else [(job, reply)]
        return [v for j, r in certain for v in self._trust.settle(j, verdict_of(r))]

    def _replace(self, index: int) -> Iterator[Verdict]:
        """Start a fresh worker in place of one that died; its jobs go to children of their own.

        The job that the worker was at counts this as an attempt, if it was alone. Which program of
        a batch did it will be seen when they are alone.
        """
        worker = self._workers[index]
        lost = list(worker.jobs.values())
        how = worker.reap(at_once=True)
        self._workers[index] = start_in_place(lambda: WorkerHandle(self._setup), worker, how)
        for job in lost:
            if not job.alone:
                yield from self._trust.lose(job)
                continue
            job.attempts += job is lost[0]
            self._doubtful.lose(job)
            if job.attempts < _MAX_ATTEMPTS:
                self._trust.alone.append(job)
            else:
                detail = f"its worker died {job.attempts} times ({how})"
                yield from self._trust.settle(job, job.verdict("error", 0.0, detail=detail))
