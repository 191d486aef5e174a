"""Scores of a run's samples, such as a reward model's: a file for each scorer, beside the ledger.

`scores/NAME.parquet` has one row for each sample that has a score. A selection reads it
(`toolkit.runs.ballots`); nothing else does, and no verdict depends on it.

One scorer needs no file: `logprob` is what the shards themselves store with --store-logprob.
"""

import re
from pathlib import Path

import polars as pl

from toolkit.cli import job_command
from toolkit.errors import UsageError
from toolkit.files import make_directory
from toolkit.runs.run import Run
from toolkit.runs.shards import scan_logprobs
from toolkit.runs.tables import UNREADABLE, parquet_names, read_table, write_table

SCORE_SCHEMA = pl.Schema({"task_id": pl.String(), "seed": pl.UInt32(), "score": pl.Float64()})
GIVEN = ("task_id", "seed", "score", "name")
KEY = ["task_id", "seed"]
LOGPROB = "logprob"
"""The name of the mean log-probability as a score."""


def score_names(run: Run) -> list[str]:
    """The names of the scorers whose scores were added to the run."""
    return sorted(parquet_names(run.scores_dir))


def read_scores(run: Run, name: str) -> pl.DataFrame:
    """The scores of a scorer: the columns of `SCORE_SCHEMA`, sorted by task_id and seed.

    Raises `UsageError` if there is none of this name, and `CorruptShard` if the file is damaged.
    Log-probabilities are read of all shards. If one is damaged, this raises what polars raises.
    """
    if name == LOGPROB:
        if (found := _logprobs(run)).is_empty():
            raise UsageError(
                f"{run.path}: no sample has a log-probability; those that a launch with "
                "--store-logprob draws have one"
            )
        return found
    path = _path(run, name)
    if not path.is_file():
        stored = [] if _logprobs(run).is_empty() else [LOGPROB]
        known = ", ".join([*stored, *score_names(run)]) or "none"
        raise UsageError(
            f"{run.path}: has no scores {name!r}; there is: {known}; "
            f"`{job_command('ingest')} --scores FILE --run {run.path}` adds some"
        )
    return read_table(path, SCORE_SCHEMA)


def _logprobs(run: Run) -> pl.DataFrame:
    """Those that the shards store, in the columns of `SCORE_SCHEMA`."""
    done = run.done()
    paths = [run.shard_path(slice_.name) for slice_ in run.slices() if slice_.name in done]
    if not paths:
        return pl.DataFrame(schema=SCORE_SCHEMA)
    scores = scan_logprobs(paths).rename({LOGPROB: "score"})
    return scores.filter(pl.col("score").is_not_null()).sort(KEY).collect()


def add_scores(run: Run, source: Path) -> dict[str, int]:
    """Add the scores of a parquet file to the run. Returns how many scores each name has then.

    source: columns task_id, seed, score and name, one row for each sample and scorer. Everything
    is checked before anything is written. `UsageError` names the row for a sample that the run has
    not planned, a score that is no number, and a sample that has another score already.
    """
    given = _read(source)
    _check_samples(run, given, source)
    tables = {}
    for (name,), rows in given.partition_by("name", as_dict=True).items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            raise UsageError(
                f"--scores {source}: name {name!r} cannot name a file; use letters, digits and ._+-"
            )
        if name == LOGPROB:
            raise UsageError(
                f"--scores {source}: the name {name!r} is that of the log-probabilities which a "
                "launch with --store-logprob stores; use another name"
            )
        tables[name] = _merged(run, name, rows.select(SCORE_SCHEMA.names()), source)
    make_directory(run.scores_dir)
    for name, table in tables.items():
        write_table(_path(run, name), table, {})
    return {name: table.height for name, table in tables.items()}


def _path(run: Run, name: str) -> Path:
    return run.scores_dir / f"{name}.parquet"


def _read(source: Path) -> pl.DataFrame:
    """The rows of the file in the types of `SCORE_SCHEMA`, checked one by one."""
    try:
        frame = pl.read_parquet(source, glob=False)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UsageError(f"--scores {source}: cannot be read as parquet: {reason}") from None
    if missing := [column for column in GIVEN if column not in frame.columns]:
        raise UsageError(
            f"--scores {source}: lacks the column {missing[0]}; it needs {', '.join(GIVEN)}"
        )
    kinds = {**SCORE_SCHEMA, "name": pl.String()}
    rows = frame.select(pl.col(name).cast(kind, strict=False) for name, kind in kinds.items())
    if rows.is_empty():
        raise UsageError(f"--scores {source}: has no rows")
    good = pl.all_horizontal(pl.all().is_not_null()) & pl.col("score").is_finite()
    bad = rows.select(good.fill_null(False).not_().arg_true().alias("row"))["row"]
    if len(bad):
        row = frame.row(bad[0], named=True)
        shown = ", ".join(f"{name} = {row[name]!r}" for name in GIVEN)
        raise UsageError(
            f"--scores {source}, row {bad[0] + 1}: {shown}: needs a text, a seed from 0, a finite "
            "number and a text"
        )
    twice = rows.select("task_id", "seed", "name").is_duplicated()
    if twice.any():
        task_id, seed, _, name = rows.row(int(twice.arg_true()[0]))
        raise UsageError(
            f"--scores {source}: sample {seed} of {task_id!r} has more than one score {name!r}"
        )
    return rows


def _check_samples(run: Run, given: pl.DataFrame, source: Path) -> None:
    ends = [(r.task_id, r.seed_start, r.seed_stop) for s in run.slices() for r in s.ranges]
    planned = pl.DataFrame(
        ends, schema={"task_id": pl.String, "first": pl.UInt32, "stop": pl.UInt32}, orient="row"
    )
    known = (
        given.select(KEY)
        .unique()
        .join(planned, on="task_id")
        .filter((pl.col("seed") >= pl.col("first")) & (pl.col("seed") < pl.col("stop")))
    )
    unknown = given.join(known, on=KEY, how="anti")
    if unknown.height:
        task_id, seed = unknown.row(0)[:2]
        raise UsageError(
            f"--scores {source}: the run has no sample {seed} of {task_id!r}; give scores of its "
            "own samples, by task_id and seed"
        )


def _merged(run: Run, name: str, rows: pl.DataFrame, source: Path) -> pl.DataFrame:
    """The scores on disk and the new ones. The same score twice is no conflict."""
    if not _path(run, name).is_file():
        return rows.sort(KEY)
    known = read_scores(run, name)
    both = rows.join(known, on=KEY, suffix="_known")
    other = both.filter(pl.col("score") != pl.col("score_known"))
    if other.height:
        task_id, seed, score, before = other.row(0)
        raise UsageError(
            f"--scores {source}: sample {seed} of {task_id!r} has the score {before:g} of {name!r} "
            f"already, not {score:g}; use another name, or delete {_path(run, name)}"
        )
    return pl.concat([known, rows.join(known, on=KEY, how="anti")]).sort(KEY)
