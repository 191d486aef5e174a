"""How far a run is while it goes on: plan against shards, and what its array tasks log."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from toolkit.runs.run import Run

LOG_SECONDS = 15.0
"""Between progress lines where there is no terminal to rewrite a line on."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """How much of the plan is on disk, in samples and slices."""

    samples_planned: int
    samples: int
    slices_planned: int
    slices: int

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
    slices, done = run.slices(), run.done()
    present = [s for s in slices if s.name in done]
    return Ledger(sum(map(len, slices)), sum(map(len, present)), len(slices), len(present))


def failed_logs(run: Run) -> dict[str, str]:
    """Log file -> its last line, for array tasks whose newest attempt ended in an error."""
    failures = {}
    for path in sorted(run.slurm_dir.glob("*_log.out")):
        lines = tail(path)
        if lines and any("triggered an exception" in line for line in lines[-20:]):
            named = [line for line in lines if line.startswith("toolkit.errors.")]
            failures[path.name] = (named or lines)[-1].strip()[:300]
    return failures


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
    _at: float = field(default=0.0)

    def show(self) -> None:
        """Show the state now, unless nothing is new or it was shown a moment ago."""
        line = f"{read_ledger(self.run).line()} | {self._newest_log_line()}"
        terminal = self.stream.isatty()
        if line == self._shown or (not terminal and time.monotonic() - self._at < LOG_SECONDS):
            return
        self._shown, self._at = line, time.monotonic()
        self.stream.write(f"\r\x1b[2K{line[:160]}" if terminal else f"{line}\n")
        self.stream.flush()

    def end(self) -> None:
        """Leave the rewritten line."""
        if self.stream.isatty() and self._shown:
            self.stream.write("\n")

    def _newest_log_line(self) -> str:
        logs = sorted(self.run.slurm_dir.glob("*_log.out"), key=lambda p: p.stat().st_mtime)
        newest = tail(logs[-1]) if logs else []
        ours = [line for line in newest if line[:2] == "20" and "Z " in line]
        return ours[-1].split("Z ", 1)[1] if ours else ""
