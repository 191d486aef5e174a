"""Verdicts on disk: batches of outcomes of distinct programs, keyed by task_id and program."""

import hashlib
from collections.abc import Iterable

import polars as pl

from toolkit.records import OUTCOMES, Verdict
from toolkit.runs.run import Run, read_table, write_table

VERDICT_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "program": pl.UInt64(),
        "outcome": pl.Enum(OUTCOMES),
        "detail": pl.String(),
        "seconds": pl.Float32(),
        "timeout": pl.Float32(),
    }
)


def write_verdicts(
    run: Run, verdicts: Iterable[Verdict], timeout: float, facts: dict[str, str] | None = None
) -> None:
    """Write a batch of verdicts under a name made of its keys, so that a repeat is harmless.

    `facts`, how they were reached, are the file's metadata.
    """
    rows = [(v.task_id, v.answer, v.outcome, v.detail, v.seconds, timeout) for v in verdicts]
    if not rows:
        return
    frame = pl.DataFrame(rows, schema=VERDICT_SCHEMA, orient="row").sort("task_id", "program")
    keys = frame.select("task_id", "program", "timeout").write_json().encode()
    name = hashlib.blake2b(keys, digest_size=8).hexdigest()
    write_table(run.verdicts_dir / f"v-{name}.parquet", frame, facts or {})


def read_verdicts(run: Run, timeout: float) -> pl.DataFrame:
    """All verdicts under this timeout, one a (task_id, program).

    `error` is no verdict: such programs are executed again at the next evaluation, and the
    decided outcome wins.
    """
    frames = [read_table(p, VERDICT_SCHEMA) for p in sorted(run.verdicts_dir.glob("*.parquet"))]
    if not frames:
        return pl.DataFrame(schema=VERDICT_SCHEMA)
    return (
        pl.concat(frames)
        .filter(pl.col("timeout") == pl.lit(timeout, dtype=pl.Float32))
        .sort(pl.col("outcome") == "error", maintain_order=True)
        .unique(["task_id", "program"], keep="first", maintain_order=True)
    )
