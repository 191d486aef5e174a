"""Writes files in a thread of its own, one after the other, so that the engine does not wait."""

import queue
import threading
from collections.abc import Callable


class Writer:
    """Carries out writes in their order, and tells how many are left.

    Its thread does not keep the process from ending. So a disk that hangs cannot hold it.
    """

    def __init__(self) -> None:
        self._writes: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._errors: list[BaseException] = []
        self.unwritten = 0
        threading.Thread(target=self._work, daemon=True, name="shards").start()

    def submit(self, write: Callable[[], None]) -> None:
        """Carry out `write` after those before it."""
        with self._changed:
            self.unwritten += 1
        self._writes.put(write)

    def settle(self, leave: int, seconds: float) -> bool:
        """Wait until at most `leave` writes are left, but no longer than `seconds`.

        Returns whether so few are left. Raises the error of a write that failed, once.
        """
        with self._changed:
            few = self._changed.wait_for(lambda: self.unwritten <= leave or self._errors, seconds)
            if self._errors:
                raise self._errors.pop(0)
            return bool(few)

    def close(self) -> None:
        """Let the thread end after the last write. Does not wait for it."""
        self._writes.put(None)

    def _work(self) -> None:
        while write := self._writes.get():
            error: BaseException | None = None
            try:
                write()
            except BaseException as caught:
                error = caught
            with self._changed:
                self.unwritten -= 1
                if error is not None:
                    self._errors.append(error)
                self._changed.notify_all()
