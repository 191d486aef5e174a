"""Runs side by side: their counts on the problems that all have, and what their pairs say."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from toolkit.errors import UsageError
from toolkit.report.document import FitDocument, read_fit
from toolkit.runs.run import open_run, result_file
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.comparison import Crossover, Differences, crossover, differences
from toolkit.stats.curve import Counts
from toolkit.stats.passk import k_grid

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MOST_PAIRED = 26
"""Of more runs, each is compared with the first one only: their pairs would be too many."""


@dataclass(frozen=True, slots=True)
class FittedRun:
    """A run's counts on the problems in common, in their order.

    tokens: output tokens of a sample of each problem, shape (P,); nan where they are not known.
    """

    letter: str
    path: Path
    counts: Counts
    tokens: Floats
    fit: FitDocument

    @property
    def label(self) -> str:
        """For people: `A runs/a`."""
        return f"{self.letter} {self.path}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, by their indices: differences at each k of a grid, and where they cross."""

    first: int
    second: int
    columns: slice
    crossover: Crossover


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs on a common grid of k. `found` has the columns of each pair, one a k."""

    runs: tuple[FittedRun, ...]
    k: Ints
    curves: Floats
    found: Differences
    pairs: tuple[Pair, ...]


def read_runs(paths: Sequence[Path]) -> tuple[FittedRun, ...]:
    """The runs with the problems that all of them have samples of.

    Raises `UsageError` where fewer than two problems are in common.
    """
    tables = [_read(path) for path in paths]
    common = tables[0].select("task_id")
    for table in tables[1:]:
        common = common.join(table.select("task_id"), on="task_id", how="semi")
    if common.height < 2:
        named = " and ".join(map(str, paths))
        raise UsageError(f"{named}: problems in common: {common.height}; nothing to compare")
    runs = []
    for i, (path, table) in enumerate(zip(paths, tables, strict=True)):
        rows = common.join(table, on="task_id", how="left", maintain_order="left")
        fit = read_fit(open_run(path).results_dir)
        samples = (rows["n"] + rows["unjudged"]).to_numpy()
        tokens = rows["tokens"].cast(pl.Float64).fill_null(np.nan).to_numpy() / samples
        runs.append(
            FittedRun(
                letter_of(i), path, Counts.of(rows["n"], rows["c"], fit.stopping), tokens, fit
            )
        )
    return tuple(runs)


def _read(path: Path) -> pl.DataFrame:
    table = pl.read_parquet(result_file(open_run(path), "counts.parquet"))
    return table.filter(pl.col("n") > 0).select("task_id", "n", "c", "tokens", "unjudged")


def letter_of(i: int) -> str:
    """A to Z, then AA, AB and so on."""
    above, last = divmod(i, len(LETTERS))
    return (letter_of(above - 1) if above else "") + LETTERS[last]


def compare(runs: Sequence[FittedRun], replicates: int = 1000) -> Comparison:
    """Each pair at each k that all have, with intervals that hold for all pairs and k at once.

    Of more than `MOST_PAIRED` runs, the pairs are those with the first one.
    """
    top = min(run.counts.k_max for run in runs)
    k = k_grid(top)
    passed = [1 - run.counts.fail_at_k(k) for run in runs]
    indices = list(combinations(range(len(runs)), 2))
    if len(runs) > MOST_PAIRED:
        indices = [(0, i) for i in range(1, len(runs))]
    apart = [passed[i] - passed[j] for i, j in indices]
    found = differences(np.concatenate(apart, axis=1), replicates=replicates)
    fine = fine_grid(top)
    finer = [1 - run.counts.fail_at_k(fine) for run in runs]
    pairs = [
        Pair(
            i,
            j,
            slice(at * len(k), (at + 1) * len(k)),
            crossover(fine.astype(float), differences(finer[i] - finer[j], replicates=replicates)),
        )
        for at, (i, j) in enumerate(indices)
    ]
    curves = np.array([values.mean(axis=0) for values in passed])
    return Comparison(tuple(runs), k, curves, found, tuple(pairs))


def fine_grid(top: int) -> Ints:
    """Every k up to 20, and 60 points evenly spaced on a logarithmic axis, up to `top`."""
    each = np.concatenate([np.arange(1, min(top, 20) + 1), np.geomspace(1, top, 60).round()])
    return np.unique(each).astype(np.int64)


def crossover_line(found: Crossover, first: str, second: str, top: int) -> str:
    """For people: whether two curves cross, and where."""
    if found.crosses is False:
        return f"{first} and {second} do not cross up to k = {top}: one is better at every k"
    ends = [f"{found.lo:.0f}" if found.lo else "below 1", f"{found.hi:.0f}" if found.hi else ""]
    where = f"95 %: {ends[0]} to {ends[1] or f'beyond {top}'}"
    if found.crosses:
        return f"{first} and {second} cross at k = {found.k:.1f} ({where})"
    if found.k is None:
        return f"{first} and {second}: cannot tell whether they cross up to k = {top}"
    return (
        f"{first} and {second}: the estimates cross at k = {found.k:.1f} ({where}), but neither "
        "run is surely better anywhere on both sides"
    )


def comparison_document(compared: Comparison) -> dict[str, object]:
    """What the comparison found, for JSON; what is undefined is null."""
    found, k = compared.found, compared.k.tolist()
    pairs = []
    for pair in compared.pairs:
        first, second = compared.runs[pair.first], compared.runs[pair.second]
        columns = {
            name: dict(zip(map(str, k), map(float, getattr(found, of)[pair.columns]), strict=True))
            for name, of in (
                ("difference", "mean"),
                ("lo", "lo"),
                ("hi", "hi"),
                ("detectable", "detectable"),
            )
        }
        crosses = dataclasses.asdict(pair.crossover)
        pairs.append(
            {"first": first.letter, "second": second.letter, **columns} | {"crossover": crosses}
        )
    runs = {
        run.letter: {
            "run": str(run.path),
            "pass_at_k": dict(zip(map(str, k), compared.curves[i].tolist(), strict=True)),
            "tokens_per_sample": _known(float(run.tokens.mean())),
        }
        for i, run in enumerate(compared.runs)
    }
    problems = len(compared.runs[0].counts)
    return {"problems": problems, "critical": found.critical, "runs": runs, "pairs": pairs}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
