"""Which answer each sample gives: a map for each shard, and the distinct answers of a run.

The maps are a cache. They can be deleted: the next evaluation makes them again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from toolkit.errors import CorruptShard
from toolkit.records import Slice
from toolkit.runs import format1
from toolkit.runs.run import Run
from toolkit.runs.shards import looks_whole, shard_id
from toolkit.runs.tables import metadata, parquet_names, read_table, write_table

log = logging.getLogger(__name__)

ANSWER_SCHEMA = pl.Schema({"task_id": pl.String(), "seed": pl.UInt32(), "answer": pl.UInt64()})
"""`answer` is the digest of the sample's answer. It is null if the sample holds no answer."""


def map_path(run: Run, name: str) -> Path:
    """The path of the map of the slice `name`."""
    return run.answers_dir / f"{name}.parquet"


def map_is_current(run: Run, name: str, extraction: str) -> bool:
    """Whether there is a map that was made from the current shard, by this extraction.

    The log names a map that cannot be read.
    """
    origin, path = _origin(run, name, extraction), map_path(run, name)
    if not path.exists():
        return False
    try:
        return origin.items() <= metadata(path).items()
    except CorruptShard:
        log.warning("%s: cannot be read, so it is made anew", path)
        return False


def write_map(run: Run, name: str, samples: pl.DataFrame, extraction: str) -> None:
    """Write the map of a slice. `samples` has the columns of `ANSWER_SCHEMA`."""
    frame = samples.select(ANSWER_SCHEMA.names()).rename(_renamed(run, reading=False))
    write_table(map_path(run, name), frame, _origin(run, name, extraction))


def _origin(run: Run, name: str, extraction: str) -> dict[str, str]:
    return {"shard": shard_id(run, name), "extraction": extraction}


def _renamed(run: Run, *, reading: bool) -> dict[str, str]:
    if run.answers_dir.name != format1.ANSWERS_DIRECTORY:
        return {}
    old, new = format1.ANSWER_COLUMN, "answer"
    return {old: new} if reading else {new: old}


def read_map(run: Run, name: str) -> pl.DataFrame:
    """The map of a slice, in the columns of its file. Raises `CorruptShard` if it is damaged."""
    return read_table(map_path(run, name), _schema(run))


def _schema(run: Run) -> pl.Schema:
    names = _renamed(run, reading=False)
    return pl.Schema({names.get(name, name): kind for name, kind in ANSWER_SCHEMA.items()})


def scan_answers(run: Run, present: Sequence[Slice]) -> pl.LazyFrame:
    """The maps of the given slices, with the columns of `ANSWER_SCHEMA`."""
    paths = [map_path(run, s.name) for s in present]
    return pl.scan_parquet(paths, schema=_schema(run)).rename(_renamed(run, reading=True))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which answers of a run: those to some problems, of one part of them. By default all.

    task_ids: of the problems; None for all. part, parts: those with `digest % parts == part`.
    """

    task_ids: frozenset[str] | None = None
    part: int = 0
    parts: int = 1

    def rows(self) -> pl.Expr:
        """True in a row with such an answer, in a table with the columns task_id and answer."""
        wanted = pl.col("answer").is_not_null()
        if self.parts > 1:
            wanted &= pl.col("answer") % self.parts == self.part
        if self.task_ids is not None:
            wanted &= pl.col("task_id").is_in(list(self.task_ids))
        return wanted


EVERY_ANSWER: Chosen = Chosen()


def distinct_answers(
    run: Run, present: Sequence[Slice], chosen: Chosen = EVERY_ANSWER
) -> pl.DataFrame:
    """One row for each distinct answer of these, in any order: task_id, answer, seed, samples.

    seed: of the first sample with this answer. samples: how many samples have it. Other answers are
    dropped as they are read.
    """
    if not present:
        schema = {"task_id": pl.String, "answer": pl.UInt64, "seed": pl.UInt32}
        return pl.DataFrame(schema=schema | {"samples": pl.UInt32})
    return (
        scan_answers(run, present)
        .filter(chosen.rows())
        .group_by("task_id", "answer")
        .agg(pl.col("seed").min(), pl.len().cast(pl.UInt32).alias("samples"))
        .collect()
    )


def in_shards(found: pl.DataFrame, present: Sequence[Slice]) -> pl.DataFrame:
    """With the column `slice`: which of these slices plans the sample (task_id, seed) of each row.

    Sorted by slice, task_id and seed: so each shard need be read once.
    """
    ranges = pl.DataFrame(
        [(r.task_id, r.seed_start, s.name) for s in present for r in s.ranges],
        schema={"task_id": pl.String, "seed": pl.UInt32, "slice": pl.String},
        orient="row",
    )
    # A problem's ranges do not overlap: the last one that begins at or before a seed holds it.
    return (
        found.sort("seed")
        .join_asof(ranges.sort("seed"), on="seed", by="task_id", check_sortedness=False)
        .sort("slice", "task_id", "seed")
    )


def mapped_slices(run: Run) -> list[Slice]:
    """The planned slices that have a map and a shard that is not truncated."""
    mapped = parquet_names(run.answers_dir) & run.done()
    slices = (s for s in run.slices() if s.name in mapped)
    return [
        s
        for s in slices
        if looks_whole(run.shard_path(s.name)) and looks_whole(map_path(run, s.name))
    ]
