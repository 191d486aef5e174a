"""Judges what several threads ask for: one thread of its own owns the workers, and works in rounds.

A judging takes one stream of answers at a time (`toolkit.verifiers.base.Judging`). So what is asked
for waits in a queue. A round takes what it finds there, also while it works, and ends when the
queue was empty once and the last verdict has come. So a single answer is judged at once, and a full
queue is judged as fast as an evaluation does it.

A program that runs into its time limit keeps its round open for so long. What is asked for then
waits for the next round.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from toolkit.errors import ToolkitError
from toolkit.records import Answer, Problem, Verdict
from toolkit.verifiers.base import Judging

LONGEST_SECONDS = 30.0
"""So long a round takes further answers: what is slow or doubtful is decided at its end only."""
MOST_ATTEMPTS = 3
"""An answer whose judging broke so many times is given up: its asker gets the error."""

Told = Verdict | Exception


@dataclass(slots=True, eq=False)
class Asked:
    """An answer to judge. tell: called in the thread of the rounds, with what became of it."""

    problem: Problem
    answer: Answer
    tell: Callable[[Told], None]
    attempts: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """Equal answers to a problem have one verdict."""
        return self.answer.task_id, self.answer.digest


class Rounds:
    """The thread, its queue and its workers.

    open_judging: starts the workers. It is called in the thread, again after the judging broke.
    Raises what it raises, such as `IsolationUnavailable`.
    """

    def __init__(self, open_judging: Callable[[], Judging]) -> None:
        self._open = open_judging
        self._queue: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._again: deque[Asked] = deque()
        self._held: dict[tuple[str, int], list[Asked]] = {}  # in work
        self._judging: Judging | None = None
        self._is_closed = self._is_abandoned = False
        self._lock = threading.Lock()
        ready: Future[Mapping[str, str]] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(ready,), name="toolkit judge", daemon=True
        )
        self._thread.start()
        self.isolation = ready.result()

    def ask(self, asked: Asked) -> None:
        """Queue an answer; returns at once. Raises `ToolkitError` after `close`."""
        with self._lock:
            if self._is_closed:
                raise ToolkitError("the judge is closed: open a new one")
            self._queue.put(asked)

    def close(self, *, abandon: bool = False) -> None:
        """End the workers, once all that was asked for is told.

        abandon: do not wait. What is in work is told nothing more, and the workers end at the next
        verdict, or with this process.
        """
        with self._lock:
            self._is_abandoned = abandon or self._is_abandoned
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        if not abandon:
            self._thread.join()

    def _work(self, ready: "Future[Mapping[str, str]]") -> None:
        """The thread: rounds, until it is closed."""
        try:
            self._judging = self._open()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(self._judging.isolation)
        try:
            while (first := self._next()) is not None:
                if self._is_abandoned:
                    self._again.append(first)
                    return
                self._round(first)
        finally:
            self._end_workers()
            self._tell_the_rest()

    def _tell_the_rest(self) -> None:
        """After the end nobody is left waiting."""
        rest = [asked for group in self._held.values() for asked in group] + list(self._again)
        with contextlib.suppress(queue.Empty):
            while True:
                if asked := self._queue.get_nowait():
                    rest.append(asked)
        for asked in rest:
            asked.tell(ToolkitError("the judge was closed before this verdict: open a new one"))

    def _next(self) -> Asked | None:
        """What is to be judged next, waited for; None at the end."""
        return self._again.popleft() if self._again else self._queue.get()

    def _round(self, first: Asked) -> None:
        """Judge until the queue was empty once. Whatever breaks, every asker is told something."""
        try:
            judging = self._judging = self._judging or self._open()
        except Exception as error:
            self._held[first.key] = [first]
            self._repeat([first], error)
            return
        try:
            for verdict in judging.judge(self._pairs(first)):
                if self._is_abandoned:
                    return
                self._settle(verdict)
            if self._held:
                raise ToolkitError(f"{len(self._held)} answers got no verdict")
        except Exception as error:
            self._end_workers()
            for group in list(self._held.values()):
                self._repeat(group, error)

    def _pairs(self, first: Asked) -> Iterator[tuple[Problem, Answer]]:
        """What this round judges, each distinct answer once."""
        until = time.monotonic() + LONGEST_SECONDS
        asked: Asked | None = first
        while asked is not None:
            if asked.key in self._held:
                self._held[asked.key].append(asked)
            else:
                self._held[asked.key] = [asked]
                yield asked.problem, asked.answer
            if time.monotonic() > until:
                return
            try:
                asked = self._again.popleft() if self._again else self._queue.get_nowait()
            except queue.Empty:
                return
        self._queue.put(None)  # the end, for the thread

    def _settle(self, verdict: Verdict) -> None:
        """Tell a verdict. An undecided answer is judged once more: another worker may do better."""
        group = self._held[verdict.task_id, verdict.answer]
        if verdict.outcome == "error" and not group[0].attempts:
            self._repeat(group)
            return
        del self._held[verdict.task_id, verdict.answer]
        for asked in group:
            asked.tell(verdict)

    def _repeat(self, group: list[Asked], error: Exception | None = None) -> None:
        """Judge these equal answers again, or tell the error where they broke too often."""
        del self._held[group[0].key]
        for asked in group:
            asked.attempts += 1
            if error is not None and asked.attempts >= MOST_ATTEMPTS:
                asked.tell(error)
            else:
                self._again.append(asked)

    def _end_workers(self) -> None:
        """Give the workers up. The next round starts new ones."""
        if self._judging is not None:
            with contextlib.suppress(Exception):
                self._judging.__exit__(None, None, None)
            self._judging = None
