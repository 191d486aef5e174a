"""Verdicts on disk, in batches. The key of a verdict is its task_id, answer and judge.

A run may hold verdicts of several judges: of another time limit, or of an older version of a
verifier. Nothing mixes them.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from toolkit.errors import CorruptShard
from toolkit.records import FAILURE_KINDS, OUTCOMES, Judge, Verdict, judge_line
from toolkit.runs import format1
from toolkit.runs.answers import EVERY_ANSWER, Chosen
from toolkit.runs.run import Run
from toolkit.runs.tables import metadata, read_frame, read_table, remedy, write_table

VERDICT_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "answer": pl.UInt64(),
        "judge": pl.UInt64(),
        "outcome": pl.Enum(OUTCOMES),
        "kind": pl.Enum(FAILURE_KINDS),
        "detail": pl.String(),
        "suspect": pl.List(pl.String()),
        "seconds": pl.Float32(),
        "canonical": pl.String(),
    }
)
NEVER_TOLD = {"kind": "", "suspect": [], "canonical": ""}
"""Columns that older files lack, and what they then are."""


def _without(*columns: str) -> pl.Schema:
    return pl.Schema({k: v for k, v in VERDICT_SCHEMA.items() if k not in columns})


OLDER_SCHEMAS = (_without("canonical"), _without("kind", "suspect", "canonical"))
"""The columns of files from before there were canonical forms, and before there were kinds."""


def write_verdicts(
    run: Run, verdicts: Iterable[Verdict], judge: Judge, facts: dict[str, str] | None = None
) -> None:
    """Write a batch of verdicts. The file's name depends on its keys, so a repetition is harmless.

    facts: how the verdicts were reached. The file's metadata holds them, with the full judge.
    """
    rows = [
        (
            v.task_id,
            v.answer,
            judge.digest,
            v.outcome,
            v.kind,
            v.detail,
            list(v.suspect),
            v.seconds,
            v.canonical,
        )
        for v in verdicts
    ]
    if not rows:
        return
    frame = pl.DataFrame(rows, schema=VERDICT_SCHEMA, orient="row").sort("task_id", "answer")
    keys = frame.select("task_id", "answer", "judge").write_json().encode()
    name = hashlib.blake2b(keys, digest_size=8).hexdigest()
    document = {
        "verifier": judge.verifier,
        "version": judge.version,
        "settings": judge.settings,
    }
    own = {"judge": json.dumps(document)}
    write_table(run.verdicts_dir / f"v-{name}.parquet", frame, own | (facts or {}))


def read_verdicts(run: Run, judge: Judge) -> pl.DataFrame:
    """The verdicts of this judge, with the columns of `VERDICT_SCHEMA` but `judge`.

    There is one row for each (task_id, answer). An answer with the outcome `error` is judged again
    at the next evaluation. The decided outcome then replaces `error`.
    """
    own = pl.col("judge") == judge.digest
    frames = (read_batch(path).filter(own) for path in verdict_files(run))
    return (
        pl.concat([pl.DataFrame(schema=VERDICT_SCHEMA), *frames])
        .sort(pl.col("outcome") == "error", maintain_order=True)
        .unique(["task_id", "answer"], keep="first", maintain_order=True)
        .drop("judge")
    )


class Decided(NamedTuple):
    """What a judge has decided of some answers.

    verdicts: as `read_verdicts` gives them, without the rows whose outcome is `error`. outdated:
    task_id and answer of those that only an older version of the judge has decided.
    """

    verdicts: pl.DataFrame
    outdated: pl.DataFrame


def read_decided(
    run: Run,
    judge: Judge,
    files: Sequence[Path] | None = None,
    chosen: Chosen = EVERY_ANSWER,
) -> Decided:
    """What this judge and its older versions have decided; each file is read once.

    files: those to read, in the order of `verdict_files`; None for all. chosen: of which answers.
    Other rows are dropped file by file.
    """
    key, digests = ["task_id", "answer"], [judge.digest, *judge.older_digests()]
    wanted = (pl.col("outcome") != "error") & pl.col("judge").is_in(digests) & chosen.rows()
    frames = (
        read_batch(path).filter(wanted) for path in (verdict_files(run) if files is None else files)
    )
    found = pl.concat([pl.DataFrame(schema=VERDICT_SCHEMA), *frames]).lazy()
    own = pl.col("judge") == judge.digest
    verdicts = found.filter(own).drop("judge").unique(key, keep="first", maintain_order=True)
    current, older = pl.collect_all([verdicts, found.filter(~own).select(key).unique()])
    if older.height:  # rarely: the join would look at all verdicts
        older = older.join(current, on=key, how="anti")
    return Decided(current, older)


def decided_verdicts(run: Run, judge: Judge) -> pl.DataFrame:
    """The same as `read_verdicts`, without the rows whose outcome is `error`."""
    return read_decided(run, judge).verdicts


def undecided_verdicts(run: Run, judge: Judge) -> pl.DataFrame:
    """The same as `read_verdicts`, the rows alone whose outcome is `error`."""
    wanted = (pl.col("judge") == judge.digest) & (pl.col("outcome") == "error")
    frames = (read_batch(path).filter(wanted) for path in verdict_files(run))
    found = pl.concat([pl.DataFrame(schema=VERDICT_SCHEMA), *frames]).drop("judge")
    return found.unique(["task_id", "answer"], keep="last", maintain_order=True)


def verdict_files(run: Run) -> list[Path]:
    """All files of verdicts, of any judge."""
    return sorted(run.verdicts_dir.glob("*.parquet"))


def task_ids_in(path: Path) -> list[str]:
    """The problems that a file of verdicts tells of, of any judge. Raises `CorruptShard`."""
    return read_frame(path, ["task_id"])["task_id"].unique().to_list()


def decided_keys(
    files: Iterable[Path], judge: Judge, chosen: Chosen = EVERY_ANSWER
) -> pl.DataFrame:
    """task_id, answer: what this judge has decided of these answers, as these files say.

    The keys are those of `decided_verdicts`, but a key may stand twice. One file at a time is in
    memory. Raises `CorruptShard`.
    """
    key = {name: VERDICT_SCHEMA[name] for name in ("task_id", "answer")}
    decided = (pl.col("judge") == judge.digest) & (pl.col("outcome") != "error")
    found = (read_batch(path).filter(decided & chosen.rows()).select(*key) for path in files)
    return pl.concat([pl.DataFrame(schema=key), *found])


def other_judges(run: Run, judge: Judge) -> list[str]:
    """All other judges that have verdicts in the run, each as `Judge.line` gives it."""
    found = set()
    for path in verdict_files(run):
        facts = metadata(path)
        if document := facts.get("judge"):
            known = json.loads(document)
            found.add(judge_line(known["verifier"], known["version"], known["settings"]))
        else:
            timeouts = read_table(path, format1.VERDICT_SCHEMA)["timeout"].unique()
            found |= {format1.judge_line_of(timeout) for timeout in timeouts}
    return sorted(found - {judge.line()})


def read_batch(path: Path) -> pl.DataFrame:
    """A file of verdicts, of any version, in the columns of today. Raises `CorruptShard`."""
    frame = read_frame(path)
    if frame.schema == format1.VERDICT_SCHEMA:
        frame = format1.verdicts_of(frame)
    if frame.schema in OLDER_SCHEMAS:
        missing = {k: v for k, v in NEVER_TOLD.items() if k not in frame.columns}
        frame = frame.with_columns(
            pl.lit(value, VERDICT_SCHEMA[name]).alias(name) for name, value in missing.items()
        ).select(VERDICT_SCHEMA.names())
    if frame.schema != VERDICT_SCHEMA:
        raise CorruptShard(f"{path}: has unexpected columns {frame.columns}; {remedy(path)}")
    return frame
