"""How far an array task is with sampling: a bar on a terminal, a line now and then in a log."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.cli import how_many
from toolkit.progress_bar import ProgressBar, progress_bar, time_left
from toolkit.stages.pace import Pace

log = logging.getLogger(__name__)

RATE_SECONDS = 60.0
"""Speed is over this time."""
REPORT_SECONDS = 15.0
"""Time between two progress lines in the log."""


@dataclass(slots=True)
class EngineProgress:
    """What one engine has done since its start.

    samples: those that count, so not those that were lost with the engine. kept: how many of them
    are on disk, in shards and partial files. tokens: output tokens. in_flight: unfinished samples.
    """

    samples: int = 0
    kept: int = 0
    tokens: int = 0
    shards: int = 0
    in_flight: int = 0


@dataclass(slots=True)
class SamplingProgress:
    """What the engines of a task have done together. For several threads."""

    planned_samples: int = 0
    started: float = field(default_factory=time.monotonic)
    _engines: list[EngineProgress] = field(default_factory=list)
    _bar: ProgressBar = field(default_factory=ProgressBar)
    _pace: Pace | None = None
    _reported: float = field(default_factory=time.monotonic)
    _showing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextlib.contextmanager
    def shown(cls, planned_samples: int) -> Iterator["SamplingProgress"]:
        """A progress that is a bar in this context, if stderr is a terminal."""
        with progress_bar("sampled", planned_samples, "samples") as bar:
            yield cls(planned_samples, _bar=bar)

    def engine(self) -> EngineProgress:
        """The counts of one more engine, which are part of the sums from now on."""
        self._engines.append(EngineProgress())
        return self._engines[-1]

    @property
    def samples(self) -> int:
        """The number of samples drawn."""
        return sum(each.samples for each in self._engines)

    @property
    def tokens(self) -> int:
        """The number of output tokens."""
        return sum(each.tokens for each in self._engines)

    def note(self) -> str:
        """What goes on: samples in the engines, speed of the last minute, and time left.

        The time left is that of the tokens to come: the missing samples are taken to be as long as
        those that are finished.
        """
        now, tokens, samples = time.monotonic(), self.tokens, self.samples
        self._pace = self._pace or Pace(self.started, (RATE_SECONDS,))
        self._pace.note(now, tokens)
        rate = self._pace.rate(now, tokens)
        missing = self.planned_samples - samples
        left = missing * tokens / max(1, samples) / rate if rate else None
        in_flight = sum(each.in_flight for each in self._engines)
        parts = [f"{in_flight} in flight", f"{rate:.0f} tokens/s", time_left(left)]
        return ", ".join(filter(None, parts))

    def line(self) -> str:
        """One log line."""
        shards = sum(each.shards for each in self._engines)
        return (
            f"{self.samples}/{how_many(self.planned_samples, 'sample')}, {self.tokens} tokens, "
            f"{how_many(shards, 'shard')}, {self.note()}"
        )

    def show(self, *, finished: bool) -> None:
        """Bring the bar up to date if a sample has finished, or log a line if one is due."""
        with self._showing:
            if self._bar.shown:
                if finished:
                    self._bar.show(self.samples, self.note())
            elif time.monotonic() - self._reported > REPORT_SECONDS:
                self._reported = time.monotonic()
                log.info("%s", self.line())

    def tell(self) -> None:
        """Log a line, due or not."""
        with self._showing:
            log.info("%s", self.line())
