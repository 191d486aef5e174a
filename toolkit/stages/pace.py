"""How fast work goes on, of late."""

from collections import deque
from dataclasses import dataclass, field

RATE_SECONDS = (10.0, 60.0)
"""The rate is the lower one over these times: slow programs may come last."""


@dataclass(slots=True)
class Pace:
    """How fast verdicts or tokens come, of late; times are in seconds."""

    started: float
    windows: tuple[float, ...] = RATE_SECONDS
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now: float, count: int) -> None:
        """Tell that `count` had come by the time `now`; a mark a second is kept."""
        if not self._marks:
            self._marks.append((self.started, 0))
        if now - self._marks[-1][0] < 1.0:
            return
        self._marks.append((now, count))
        while now - self._marks[1][0] >= max(self.windows):
            self._marks.popleft()

    def rate(self, now: float, count: int) -> float:
        """So many a second; `count` have come by `now`."""
        return min(self._rate_over(seconds, now, count) for seconds in self.windows)

    def _rate_over(self, seconds: float, now: float, count: int) -> float:
        """Since the last mark that is so old. Without one: since the start."""
        old = (mark for mark in reversed(self._marks) if now - mark[0] >= seconds)
        at, before = next(old, (self.started, 0))
        return (count - before) / max(now - at, 1e-9)
