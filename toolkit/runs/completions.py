"""What a run's completions are, and the texts of some, without all of them in memory at once."""

from collections.abc import Sequence

import polars as pl

from toolkit.records import FINISH_REASONS, Slice
from toolkit.runs.answers import mapped_slices, scan_answers
from toolkit.runs.damage import naming_damage
from toolkit.runs.run import Run
from toolkit.runs.shards import looks_whole, scan_samples

FACT_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "seed": pl.UInt32(),
        "slice": pl.String(),
        "text": pl.UInt64(),
        "bytes": pl.UInt32(),
        "n_tokens": pl.UInt32(),
        "finish_reason": pl.Enum(FINISH_REASONS),
        "read": pl.Boolean(),
        "answer": pl.UInt64(),
    }
)


def whole_slices(run: Run) -> list[Slice]:
    """The planned slices that have a shard which is not truncated, evaluated or not."""
    done = run.done()
    slices = (s for s in run.slices() if s.name in done)
    return [s for s in slices if looks_whole(run.shard_path(s.name))]


def of_problem(slices: Sequence[Slice], task_id: str | None) -> list[Slice]:
    """Those that have samples of this problem; all for None."""
    return [s for s in slices if task_id is None or any(r.task_id == task_id for r in s.ranges)]


@naming_damage
def completion_facts(run: Run, task_id: str | None = None) -> pl.DataFrame:
    """One row for each sample of the run: the columns of `FACT_SCHEMA`. Each shard is read once.

    task_id: of the only problem whose samples are wanted; None for all.

    text: a hash of its completion, which tells texts of this frame apart; it may be another one in
    another process. bytes: the length of the completion in UTF-8. read: whether an evaluation has
    taken its answer. answer: digest of that answer; null if it has none, or was not read.

    Raises `CorruptShard` for a damaged file.
    """
    mapped, key = {s.name for s in mapped_slices(run)}, ["task_id", "seed"]
    frames = [pl.DataFrame(schema=FACT_SCHEMA)]
    wanted = pl.lit(True) if task_id is None else pl.col("task_id") == task_id
    for slice_ in of_problem(whole_slices(run), task_id):
        completion = pl.col("completion")
        found = (
            scan_samples([run.shard_path(slice_.name)])
            .filter(wanted)
            .select(
                *key,
                pl.lit(slice_.name).alias("slice"),
                completion.hash().alias("text"),
                completion.str.len_bytes().alias("bytes"),
                "n_tokens",
                "finish_reason",
                pl.lit(slice_.name in mapped).alias("read"),
            )
        )
        if slice_.name in mapped:
            answers = scan_answers(run, [slice_]).select(*key, "answer")
            found = found.join(answers, on=key, how="left")
        else:
            found = found.with_columns(pl.lit(None, pl.UInt64).alias("answer"))
        frames.append(found.collect())
    return pl.concat(frames)


@naming_damage
def read_texts(run: Run, wanted: pl.DataFrame, most: int | None = None) -> pl.DataFrame:
    """`wanted` with a column `completion`: the first `most` characters of each; None: all of them.

    wanted: one row for each sample, with task_id, seed and slice, and any other columns. The order
    of the rows may change. Only shards in which something is wanted are read, one after the other.
    """
    frames = [wanted.clear().with_columns(pl.lit("").alias("completion"))]
    for (name,), rows in wanted.group_by("slice", maintain_order=True):
        frames.append(_texts_in(run, str(name), rows, most))
    return pl.concat(frames)


def _texts_in(run: Run, name: str, rows: pl.DataFrame, most: int | None) -> pl.DataFrame:
    key: Sequence[str] = ["task_id", "seed"]
    texts = scan_samples([run.shard_path(name)]).select(
        *key, pl.col("completion").str.slice(0, most)
    )
    return rows.lazy().join(texts, on=key).collect()
