"""Judges what several threads ask for: one thread of its own owns the workers, and works in rounds.

A judging takes one stream of answers at a time (`toolkit.verifiers.base.Judging`). So what is asked
for waits in a queue. A round takes what it finds there, also while it works, and ends when the last
verdict has come. So a single answer is judged at once, and a full queue as fast as an evaluation
does it.

Programs with unit tests that come while others run join their round. Other verifiers take no more
once the queue was empty: there a slow answer keeps its round open, and the next round waits.
"""

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

from toolkit.cli import how_many
from toolkit.errors import ToolkitError
from toolkit.records import Answer, Problem, Verdict
from toolkit.verifiers.base import Judging

LONGEST_SECONDS = 30.0
"""So long a round takes further answers: what is slow or doubtful is decided at its end only."""
MOST_ATTEMPTS = 8
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
        self.door, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
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
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.write(self._bell, b".")

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
                self._wake()
        if not abandon:
            self._thread.join()

    def _work(self, ready: "Future[Mapping[str, str]]") -> None:
        """The thread: rounds, until it is closed."""
        try:
            self._judging = self._open()
        except BaseException as error:
            self._close_door()
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
            self._close_door()
            self._tell_the_rest()

    def _close_door(self) -> None:
        """Nothing can be asked from here on."""
        with self._lock:
            self._is_closed = True
            os.close(self.door)
            os.close(self._bell)

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
            for verdict in judging.judge(_Arriving(self, first)):
                if self._is_abandoned:
                    return
                self._settle(verdict)
            if self._held:
                raise ToolkitError(f"{how_many(len(self._held), 'answer')} got no verdict")
        except Exception as error:
            self._end_workers()
            for group in list(self._held.values()):
                self._repeat(group, error)

    def take(self) -> Asked | None:
        """The next answer of this round; None where nothing waits."""
        if self._again:
            return self._again.popleft()
        try:
            asked = self._queue.get_nowait()
        except queue.Empty:
            return None
        if asked is None:
            self._queue.put(None)  # the end, for the thread
        return asked

    def hold(self, asked: Asked) -> bool:
        """Note that an answer is in work; whether it is the first of its kind."""
        group = self._held.setdefault(asked.key, [])
        group.append(asked)
        return len(group) == 1

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
                self._judging.close()
            self._judging = None


class _Arriving:
    """What a round judges, each distinct answer once; see `toolkit.verifiers.arriving.Arriving`."""

    def __init__(self, rounds: Rounds, first: Asked) -> None:
        self._rounds = rounds
        self._first: Asked | None = first
        self._until = time.monotonic() + LONGEST_SECONDS

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Problem, Answer]:
        first, self._first = self._first, None
        while time.monotonic() < self._until and (asked := first or self._rounds.take()):
            first = None
            if self._rounds.hold(asked):
                return asked.problem, asked.answer
        raise StopIteration

    def fileno(self) -> int:
        """Can be read when something was asked for."""
        return self._rounds.door
