"""Verdicts on disk, in batches. The key of a verdict is its task_id, answer and judge.

A run may hold verdicts of several judges: of another time limit, or of an older version of a
verifier. Nothing mixes them.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from toolkit.errors import CorruptShard
from toolkit.records import FAILURE_KINDS, OUTCOMES, Judge, Verdict, judge_line
from toolkit.runs import format1
from toolkit.runs.answers import EVERY_ANSWER, Chosen
from toolkit.runs.run import Run, metadata, read_frame, read_table, remedy, write_table

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


def read_verdicts(
    run: Run,
    judge: Judge,
    files: Sequence[Path] | None = None,
    chosen: Chosen = EVERY_ANSWER,
) -> pl.DataFrame:
    """The verdicts of this judge, with the columns of `VERDICT_SCHEMA` but `judge`.

    files: those to read, in the order of `verdict_files`; None for all. chosen: of which answers.

    There is one row for each (task_id, answer). An answer with the outcome `error` is judged again
    at the next evaluation. The decided outcome then replaces `error`.
    """
    own = (pl.col("judge") == judge.digest) & chosen.rows()
    return (
        _verdicts_in(verdict_files(run) if files is None else files, own)
        .sort(pl.col("outcome") == "error", maintain_order=True)
        .unique(["task_id", "answer"], keep="first", maintain_order=True)
        .drop("judge")
    )


def decided_verdicts(
    run: Run,
    judge: Judge,
    files: Sequence[Path] | None = None,
    chosen: Chosen = EVERY_ANSWER,
) -> pl.DataFrame:
    """The same as `read_verdicts`, without the rows whose outcome is `error`."""
    return read_verdicts(run, judge, files, chosen).filter(pl.col("outcome") != "error")


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


def outdated_answers(
    run: Run,
    judge: Judge,
    files: Sequence[Path] | None = None,
    chosen: Chosen = EVERY_ANSWER,
) -> pl.DataFrame:
    """task_id, answer: those that an older version of this judge has decided, but not this one.

    files, chosen: as for `read_verdicts`.
    """
    if judge.version == 1:
        return pl.DataFrame(schema=VERDICT_SCHEMA).select("task_id", "answer")
    decided = (pl.col("outcome") != "error") & chosen.rows()
    found = _verdicts_in(verdict_files(run) if files is None else files, decided)
    key = ["task_id", "answer"]
    older = found.filter(pl.col("judge").is_in(judge.older_digests())).select(key).unique()
    current = found.filter(pl.col("judge") == judge.digest).select(key)
    return older.join(current, on=key, how="anti")


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


def _verdicts_in(files: Iterable[Path], wanted: pl.Expr) -> pl.DataFrame:
    """The wanted rows of these files. The others are dropped file by file."""
    frames = (read_batch(path).filter(wanted) for path in files)
    return pl.concat([pl.DataFrame(schema=VERDICT_SCHEMA), *frames])


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
