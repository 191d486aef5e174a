"""Timeouts on a busy machine, and how they are confirmed: of programs and of errands alike.

A timeout that is *doubtful* is confirmed when nothing else of ours runs: as many at once as there
are cores. What is still doubtful is confirmed a last time, one by one. This ends when one is
doubtful even so: then the load is not ours, and it helps nobody to be alone.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar


class Pending(Protocol):
    """What is executed: a program or an errand, on its way to what is certain of it."""

    number: int
    confirming: bool


_P = TypeVar("_P", bound=Pending)
_R = TypeVar("_R")


class Doubtful(Generic[_P, _R]):
    """What is to be confirmed, at most `cores` at once, and what was said of it meanwhile."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._first: deque[_P] = deque()
        self._again: deque[tuple[_P, _R]] = deque()
        self._beside_others: set[int] = set()  # numbers of those that are confirmed at once

    def __len__(self) -> int:
        return len(self._first) + len(self._again)

    def waiting(self) -> list[_P]:
        """All that no worker is at."""
        return [*self._first, *(pending for pending, _ in self._again)]

    def take(self, running: int) -> _P | None:
        """What is to be confirmed now, beside `running` others of these; None: nothing."""
        if self._first and running < self._cores:
            pending = self._first.popleft()
            pending.confirming = True
            if running or self._first:
                self._beside_others.add(pending.number)
            return pending
        if self._again and not running:
            return self._again.popleft()[0]
        return None

    def add(self, pending: _P, said: _R) -> list[tuple[_P, _R]]:
        """Note a doubtful timeout, as a worker said it. Returns what is certain by it, with whom.

        None of them is doubtful any more: this one was so even alone.
        """
        if not pending.confirming:
            self._first.append(pending)
            return []
        if pending.number in self._beside_others:
            self._beside_others.remove(pending.number)
            self._again.append((pending, said))
            return []
        certain = [(pending, said), *self._again]
        self._again.clear()
        return certain

    def lose(self, pending: _P) -> None:
        """Forget what was confirmed by a worker that died: it begins anew."""
        pending.confirming = False
        self._beside_others.discard(pending.number)
