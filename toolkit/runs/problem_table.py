"""The frozen problems of a run, `problems.parquet`, and the references of other judges."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.records import Problem, Prompt
from toolkit.runs import format1
from toolkit.runs.tables import check_schema, read_frame

PROBLEM_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "prompt": pl.String(),
        "kind": pl.String(),
        "reference": pl.String(),
        "solution": pl.String(),
    }
)
PHRASED_SCHEMA = pl.Schema({**PROBLEM_SCHEMA, "phrased": pl.String()})
"""With the prompts that a task phrases, as JSON objects. Without a task there is no such column."""


def problems_frame(problems: Sequence[Problem]) -> pl.DataFrame:
    """Problems as a table, one in each row."""
    if not any(p.phrased for p in problems):
        rows = [{name: getattr(p, name) for name in PROBLEM_SCHEMA} for p in problems]
        return pl.DataFrame(rows, schema=PROBLEM_SCHEMA)
    phrased = [
        {**asdict(p), "phrased": json.dumps(p.phrased and asdict(p.phrased))} for p in problems
    ]
    return pl.DataFrame(phrased, schema=PHRASED_SCHEMA)


def problems_in(path: Path) -> list[Problem]:
    """The problems in such a file, in their order. Raises `CorruptShard`."""
    frame = read_frame(path)
    if frame.schema == format1.PROBLEM_SCHEMA:
        return [format1.problem_of(row) for row in frame.iter_rows(named=True)]
    if frame.schema == PHRASED_SCHEMA:
        return [_phrased(**row) for row in frame.iter_rows(named=True)]
    check_schema(path, frame, PROBLEM_SCHEMA)
    return [Problem(**row) for row in frame.iter_rows(named=True)]


def _phrased(phrased: str, **fields: Any) -> Problem:
    """The problem in a row of such a table."""
    found = json.loads(phrased)
    if found is None:
        return Problem(**fields)
    messages = tuple((role, text) for role, text in found["messages"])
    return Problem(**fields, phrased=Prompt(messages, found["text"], tuple(found["stop"])))
