"""One run over a stream of errands: which worker does what, and when.

- While many errands wait, a worker has one in hand and one ahead; else none is queued behind
  another, so that no worker has nothing to do.
- An errand that follows upon another is done by the same child, if that waits for it. So nothing is
  queued behind an errand on which another may follow.
- Doubtful timeouts are confirmed when nothing else of ours runs (`toolkit.sandbox.doubtful`).
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from toolkit.cores import available_cores
from toolkit.sandbox.doubtful import Doubtful
from toolkit.sandbox.errand_handle import ErrandHandle, Reply, Task
from toolkit.sandbox.errands import Errand, Result, wall_limit
from toolkit.sandbox.process import await_events, start_in_place

DATA_BYTES: Final = 32 << 20
"""Of payload and input each; an errand with more cannot be done."""
_MAX_ATTEMPTS: Final = 2
"""An errand whose worker died so many times ends in an error."""
_MAX_SILENCE_SECONDS: Final = 60.0
"""Beyond an errand's limit of wall time; a worker that says nothing for longer is replaced."""
_MOST_DOUBTFUL: Final = 64
"""When so many wait, they are confirmed before further errands are done: they hold their data."""
_SLOW_SECONDS: Final = 2.0
"""What a worker has been at for so long will probably time out."""

Then = Callable[[Result], Errand | None]


class Run:
    """A run of errands on `workers`; a worker that dies is replaced in this list, by `start`.

    numbers: gives each task a number that no other has. wall_seconds: the least limit of an
    errand's wall time.
    """

    def __init__(
        self,
        workers: list[ErrandHandle],
        start: Callable[[], ErrandHandle],
        numbers: Iterator[int],
        wall_seconds: float,
    ) -> None:
        self._workers = workers
        self._start = start
        self._numbers = numbers
        self._wall_seconds = wall_seconds
        self._waiting: deque[Task] = deque()
        self._is_confirming = False
        self._cores = available_cores()
        self._doubtful: Doubtful[Task, Result] = Doubtful(self._cores)

    def results(self, errands: Iterator[Errand], then: Then | None) -> Iterator[Result]:
        """The results of all errands, in the order in which they are certain.

        then: gives the errand that follows upon a result, or None.
        """
        for worker in self._workers:
            worker.forget()
        while True:
            yield from self._read(errands)
            self._hand_out()
            if self._ready and self._is_idle():
                return
            for result in self._collect():
                following = then(result) if then else None
                if following is None:
                    yield result
                else:
                    self._follow(result, self._task(following))

    def slow(self) -> tuple[int, float]:
        """How many errands will probably run out of time, and the seconds they take at most."""
        first = [w.first for w in self._workers if w.seconds_at_first > _SLOW_SECONDS]
        tasks = [task for task in first if task] + self._doubtful.waiting()
        longest = max((task.errand.timeout for task in tasks), default=0.0)
        at_once = max(1, min(len(self._workers), self._cores))
        return len(tasks), -(-len(tasks) // at_once) * longest

    def _follow(self, result: Result, task: Task) -> None:
        """Give a task to the child that waits after this result; else it is the next of all."""
        if task.errand.follows and not self._is_confirming:
            for worker in self._workers:
                if worker.waits_after is result and not worker.tasks:
                    worker.submit(task, follows=True)
                    return
        self._waiting.appendleft(task)

    def _task(self, errand: Errand) -> Task:
        return Task(next(self._numbers), errand)

    def _read(self, errands: Iterator[Errand]) -> Iterator[Result]:
        """Read a few errands ahead; the results of those that are too large."""
        room = 2 * len(self._workers) - len(self._waiting)
        for errand in itertools.islice(errands, max(0, room)):
            task = self._task(errand)
            if max(len(errand.payload), len(errand.stdin)) > DATA_BYTES:
                yield task.error(f"its data are larger than {DATA_BYTES >> 20} MiB")
            else:
                self._waiting.append(task)

    @property
    def _ready(self) -> list[ErrandHandle]:
        """The workers that have started. One that died is replaced while the others work."""
        return [worker for worker in self._workers if worker.is_ready]

    def _hand_out(self) -> None:
        """Give the workers what they have room for."""
        if not self._ready:
            return
        if len(self._doubtful) >= _MOST_DOUBTFUL:
            self._is_confirming = True
        elif self._is_idle() and not self._doubtful:
            self._is_confirming = False
        if not self._is_confirming:
            self._hand_out_waiting()
            self._is_confirming = self._is_idle() and bool(self._doubtful)
        if self._is_confirming:
            self._hand_out_doubtful()

    def _is_idle(self) -> bool:
        return not any(worker.tasks for worker in self._workers)

    def _hand_out_waiting(self) -> None:
        ready = self._ready
        ahead = 1 if len(self._waiting) >= len(ready) else 0
        for queued in range(ahead + 1):
            for worker in ready:
                if self._waiting and len(worker.tasks) <= queued and not worker.awaits_more:
                    worker.submit(self._waiting.popleft())

    def _hand_out_doubtful(self) -> None:
        """Confirm doubtful timeouts, while nothing else of ours runs."""
        busy = [worker for worker in self._workers if worker.tasks]
        if any(not task.confirming for worker in busy for task in worker.tasks.values()):
            return
        running = len(busy)
        for worker in self._ready:
            if not worker.tasks and (task := self._doubtful.take(running)):
                worker.submit(task)
                running += 1

    def _collect(self) -> Iterator[Result]:
        """The results that have become certain, after waiting for at least one event."""
        for worker in await_events(self._workers):
            for reply in worker.replies():
                yield from self._settle(reply)
        for index, worker in enumerate(self._workers):
            if worker.is_dead or worker.is_stuck or self._is_silent(worker):
                yield from self._replace(index)

    def _is_silent(self, worker: ErrandHandle) -> bool:
        if (task := worker.first) is None:
            return False
        wall = wall_limit(task.errand.timeout, self._wall_seconds)
        return worker.silent_seconds > wall + _MAX_SILENCE_SECONDS

    def _settle(self, reply: Reply) -> list[Result]:
        """The results that are certain by a reply."""
        if not reply.is_doubtful:
            return [reply.result]
        return [result for _, result in self._doubtful.add(reply.task, reply.result)]

    def _replace(self, index: int) -> Iterator[Result]:
        """Start a fresh worker in place of one that died; the task that it was at counts this."""
        worker = self._workers[index]
        lost = list(worker.tasks.values())
        how = worker.reap(at_once=True)
        self._workers[index] = start_in_place(self._start, worker, how)
        for task in reversed(lost):
            task.attempts += task is lost[0]
            self._doubtful.lose(task)
            if task.attempts < _MAX_ATTEMPTS:
                self._waiting.appendleft(task)
            else:
                yield task.error(f"its worker died {task.attempts} times ({how})")
