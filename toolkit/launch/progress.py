"""How far a run is while it goes on: plan against shards, and what its array tasks log."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from toolkit.records import Slice
from toolkit.runs.run import Run

LOG_SECONDS = 15.0
"""Between progress lines where there is no terminal to rewrite a line on. And so often it is asked
which log is the newest: that costs an operation for each log."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """How much of the plan is on disk, in samples and slices."""

    samples_planned: int
    samples: int
    slices_planned: int
    slices: int

    @classmethod
    def of(cls, slices: Sequence[Slice], done: Collection[str]) -> "Ledger":
        """From a plan and the names of the slices that have a shard."""
        present = [s for s in slices if s.name in done]
        return cls(sum(map(len, slices)), sum(map(len, present)), len(slices), len(present))

    @property
    def sampled(self) -> bool:
        """Every planned slice has its shard."""
        return self.slices == self.slices_planned

    def line(self) -> str:
        """One line for a terminal or a log."""
        share = self.samples / self.samples_planned if self.samples_planned else 1.0
        return (
            f"{self.samples}/{self.samples_planned} samples ({share:.0%}), "
            f"{self.slices}/{self.slices_planned} slices"
        )


def read_ledger(run: Run) -> Ledger:
    """Compare plan and shards: one listing, no file is opened but the plan's."""
    return Ledger.of(run.slices(), run.done())


def tail(path: Path, size: int = 8192) -> list[str]:
    """The last lines of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").splitlines()


@dataclass(slots=True)
class Ticker:
    """Shows how a run goes on: one rewritten line on a terminal, a line now and then in a log.

    Array tasks log into the run's slurm/ folder; the newest line there says what goes on between
    two shards.
    """

    run: Run
    stream: TextIO
    _shown: str = ""
    _at: float = field(default=-LOG_SECONDS)
    # The plan, read anew when there is another round.
    _slices: list[Slice] = field(default_factory=list)
    _rounds: int = 0
    # The newest log, and when it was looked for.
    _log: Path | None = None
    _looked: float = field(default=-LOG_SECONDS)

    def show(self) -> None:
        """Show the state now, unless nothing is new or it was shown a moment ago."""
        terminal = self.stream.isatty()
        now = time.monotonic()
        if not terminal and now - self._at < LOG_SECONDS:
            return
        self._at = now
        line = f"{self._ledger().line()} | {self._newest_log_line(now)}"
        if line == self._shown:
            return
        self._shown = line
        self.stream.write(f"\r\x1b[2K{line[:160]}" if terminal else f"{line}\n")
        self.stream.flush()

    def end(self) -> None:
        """Leave the rewritten line."""
        if self.stream.isatty() and self._shown:
            self.stream.write("\n")

    def _ledger(self) -> Ledger:
        if (rounds := self.run.round_count()) != self._rounds:
            self._slices, self._rounds = self.run.slices(), rounds
        return Ledger.of(self._slices, self.run.done())

    def _newest_log_line(self, now: float) -> str:
        if now - self._looked >= LOG_SECONDS:
            logs = self.run.slurm_dir.glob("*_log.out")
            self._log = max(logs, key=lambda p: p.stat().st_mtime, default=None)
            self._looked = now
        newest = tail(self._log) if self._log else []
        ours = [line for line in newest if line[:2] == "20" and "Z " in line]
        return ours[-1].split("Z ", 1)[1] if ours else ""
