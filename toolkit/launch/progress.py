"""How far a run is: plan against shards, and the end of a log."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.cli import how_many
from toolkit.records import Slice
from toolkit.runs.run import Run


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
            f"{self.samples}/{how_many(self.samples_planned, 'sample')} ({share:.0%}), "
            f"{self.slices}/{how_many(self.slices_planned, 'slice')}"
        )


def read_ledger(run: Run) -> Ledger:
    """Compare plan and shards: one listing, no file is opened but the plan's."""
    return Ledger.of(run.slices(), run.done())


def tail(path: Path, size: int = 8192) -> list[str]:
    """The last lines of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").splitlines()
