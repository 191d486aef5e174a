"""Shards: the samples of a finished slice as one parquet file. It is complete, or it is not there.

The key of a row is (task_id, seed). The rows are exactly those that the slice plans. What else a
shard records is a `ShardFacts`.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from toolkit.errors import CorruptShard, ToolkitError
from toolkit.records import FINISH_REASONS, Sample, Slice
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts, facts_to_metadata, read_facts
from toolkit.runs.tables import read_table, remedy, write_table

SAMPLE_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "seed": pl.UInt32(),
        "completion": pl.String(),
        "n_tokens": pl.UInt32(),
        "finish_reason": pl.Enum(FINISH_REASONS),
    }
)
"""The key is (task_id, seed). n_tokens is null if nobody knows it, as of ingested samples."""
LOGPROB_SCHEMA = pl.Schema({**SAMPLE_SCHEMA, "logprob": pl.Float64()})
"""Of a file in which a sample has a log-probability. The column is null for those without one."""
UNKNOWN_TOKENS = 2**32 - 1
"""Stands for null in the digest of a shard's content."""


def write_shard(run: Run, slice_: Slice, samples: Iterable[Sample], facts: ShardFacts) -> None:
    """Write the shard of a finished slice, sorted by its key, with its facts.

    This function adds to `facts` the run, the slice, the digest of the content and the id.

    Raises `ToolkitError` unless the samples are exactly those of the slice. So a shard that exists
    is always complete.
    """
    rows = sorted(samples, key=lambda s: (s.task_id, s.seed))
    if [(s.task_id, s.seed) for s in rows] != sorted(slice_.sample_keys()):
        raise ToolkitError(
            f"slice {slice_.name}: its samples are not those planned, so it is not written; launch "
            "again to sample it again"
        )
    write_samples(run.shard_path(slice_.name), run, slice_, rows, facts)


def write_samples(
    path: Path, run: Run, slice_: Slice, samples: Iterable[Sample], facts: ShardFacts
) -> None:
    """Write samples of a slice, all or some, as a file with the columns and facts of a shard."""
    rows = list(samples)
    told = any(sample.logprob is not None for sample in rows)
    schema = LOGPROB_SCHEMA if told else SAMPLE_SCHEMA
    values = [tuple(getattr(sample, name) for name in schema) for sample in rows]
    frame = pl.DataFrame(values, schema=schema, orient="row")
    facts = replace(
        facts,
        run=run.manifest()["digest"],
        slice=slice_.name,
        content=content_digest(frame),
        shard=secrets.token_hex(8),
    )
    write_table(path, frame, facts_to_metadata(facts))


def read_samples(path: Path) -> pl.DataFrame:
    """The rows of a shard or partial file: `SAMPLE_SCHEMA`, or `LOGPROB_SCHEMA`, as it was written.

    Raises `CorruptShard` for other columns, and for a file that cannot be read.
    """
    return read_table(path, SAMPLE_SCHEMA, LOGPROB_SCHEMA)


def scan_samples(paths: list[Path]) -> pl.LazyFrame:
    """The columns of `SAMPLE_SCHEMA` of many shards, some with log-probabilities, some without."""
    return pl.scan_parquet(paths, schema=SAMPLE_SCHEMA, extra_columns="ignore")


def scan_logprobs(paths: list[Path]) -> pl.LazyFrame:
    """task_id, seed and logprob of many shards. logprob is null where a shard has none."""
    kinds = {name: LOGPROB_SCHEMA[name] for name in ("task_id", "seed", "logprob")}
    return pl.scan_parquet(paths, schema=kinds, missing_columns="insert", extra_columns="ignore")


def read_shard(run: Run, slice_: Slice) -> pl.DataFrame:
    """The samples of a slice, checked against the plan; columns as in `read_samples`.

    Raises `CorruptShard`, naming the file and what is wrong with it.
    """
    path = run.shard_path(slice_.name)
    frame = read_samples(path)
    facts = read_facts(path)
    if facts.run != run.manifest()["digest"]:
        raise CorruptShard(f"{path}: belongs to another run; {remedy(path)}")
    expected = {seeds.task_id: 0 for seeds in slice_.ranges}
    for seeds in slice_.ranges:
        expected[seeds.task_id] += len(seeds)
    found = dict(frame.group_by("task_id").len().iter_rows())
    if found != expected or frame.select("task_id", "seed").is_duplicated().any():
        raise CorruptShard(
            f"{path}: its rows are not the samples that its slice plans; {remedy(path)}"
        )
    if facts.content != content_digest(frame):
        raise CorruptShard(f"{path}: its content is not what was written; {remedy(path)}")
    return frame


def content_digest(samples: pl.DataFrame) -> str:
    """128-bit BLAKE2b over the rows of a shard, whatever the library or format version.

    Where there is no logprob, it is what it was before there was such a column.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in ("task_id", "completion", "finish_reason"):
        texts = samples[name].cast(pl.String).to_list()
        digest.update(b"".join(len(t).to_bytes(4) + t.encode() for t in texts))
    for name in ("seed", "n_tokens"):
        numbers = samples[name].fill_null(UNKNOWN_TOKENS)
        digest.update(numbers.to_numpy().astype("<u4").tobytes())
    if "logprob" in samples.columns:
        reals = samples["logprob"].fill_null(float("nan"))
        digest.update(reals.to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def verify_shards(run: Run) -> Iterator[tuple[str, CorruptShard]]:
    """Read every shard and check it against the plan. Yields each slice that fails, and why.

    Also checks that slices do not overlap. So if all planned slices are done and nothing is
    yielded, each planned (task_id, seed) is on disk exactly once.
    """
    seen: dict[str, int] = {}
    for slice_ in run.slices():
        for seeds in slice_.ranges:
            if seeds.seed_start < seen.get(seeds.task_id, 0):
                raise CorruptShard(
                    f"{run.path}: rounds/ plans seeds of {seeds.task_id} twice; restore it from a "
                    "copy, or launch with a new directory as --run"
                )
            seen[seeds.task_id] = seeds.seed_stop
        if run.shard_path(slice_.name).exists():
            try:
                read_shard(run, slice_)
            except CorruptShard as error:
                yield slice_.name, error


def shard_id(run: Run, name: str) -> str:
    """The id of a slice's shard. A shard that replaces it has another id."""
    return read_facts(run.shard_path(name)).shard or ""


def looks_whole(path: Path) -> bool:
    """Whether a file begins and ends as parquet does. A truncated file does not."""
    with path.open("rb") as file:
        begins = file.read(4) == b"PAR1"
        file.seek(max(0, path.stat().st_size - 4))
        return begins and file.read(4) == b"PAR1"
