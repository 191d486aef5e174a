"""Which answer each sample gives: a map for each shard, and the distinct answers of a run.

The maps are a cache. They can be deleted: the next evaluation makes them again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from toolkit.errors import CorruptShard
from toolkit.records import Slice
from toolkit.runs import format1
from toolkit.runs.run import Run, metadata, read_table, write_table
from toolkit.runs.shards import looks_whole, shard_id

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
    """The maps of the given slices, with the columns task_id, seed, answer, slice."""
    paths = [map_path(run, s.name) for s in present]
    found = pl.scan_parquet(paths, include_file_paths="slice", schema=_schema(run))
    return found.rename(_renamed(run, reading=True)).with_columns(
        pl.col("slice").str.extract(r"([^/]+)\.parquet$")
    )


def distinct_answers(run: Run, present: Sequence[Slice]) -> pl.DataFrame:
    """One row for each distinct answer: task_id, answer, slice, seed, samples.

    slice, seed: of one sample with this answer. samples: how many samples have it.
    """
    schema = {"task_id": pl.String, "answer": pl.UInt64, "slice": pl.String, "seed": pl.UInt32}
    if not present:
        return pl.DataFrame(schema=schema | {"samples": pl.UInt32})
    return (
        scan_answers(run, present)
        .filter(pl.col("answer").is_not_null())
        .group_by("task_id", "answer")
        .agg(
            pl.col("slice").min(),
            pl.col("seed").filter(pl.col("slice") == pl.col("slice").min()).min(),
            pl.len().cast(pl.UInt32).alias("samples"),
        )
        .sort("slice", "task_id", "seed")
        .collect()
    )


def mapped_slices(run: Run) -> list[Slice]:
    """The planned slices that have a map and a shard that is not truncated."""
    mapped = {p.stem for p in run.answers_dir.glob("*.parquet")} & run.done()
    slices = (s for s in run.slices() if s.name in mapped)
    return [
        s
        for s in slices
        if looks_whole(run.shard_path(s.name)) and looks_whole(map_path(run, s.name))
    ]
