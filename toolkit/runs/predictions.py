"""What a run has given to a harness elsewhere: one record for each file of predictions.

`predictions/NAME.parquet` lists the answers in the file NAME.jsonl, at most one for each problem.
The name is what the harness calls its model, so each report of the harness tells by its own name
which answers it speaks of. A digest of the answers is part of the name: the same name, the same
answers.
"""

import hashlib
import re
from collections.abc import Mapping

import polars as pl

from toolkit.files import make_directory
from toolkit.runs.run import Run
from toolkit.runs.tables import read_table, write_table

SCHEMA = pl.Schema({"task_id": pl.String(), "answer": pl.UInt64()})


def prediction_name(run: Run, number: int, answers: Mapping[str, int]) -> str:
    """The name of a file of predictions: model, number and digest. answers: task_id -> answer."""
    model = str(run.manifest()["identity"]["model"]).rstrip("/").rpartition("/")[2]
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", model).strip("-.") or "model"
    digest = hashlib.sha256(repr(sorted(answers.items())).encode()).hexdigest()
    return f"{slug}-{number:03d}-{digest[:8]}"


def record_predictions(run: Run, name: str, answers: Mapping[str, int]) -> None:
    """Record which answers a file of predictions holds. A repetition is harmless."""
    make_directory(run.predictions_dir)
    frame = pl.DataFrame(sorted(answers.items()), schema=SCHEMA, orient="row")
    write_table(run.predictions_dir / f"{name}.parquet", frame, {})


def predictions(run: Run) -> dict[str, dict[str, int]]:
    """Name -> task_id -> answer, of all that the run has given away, in the order of the names.

    Raises `CorruptShard` for a record that is damaged.
    """
    return {
        path.stem: dict(read_table(path, SCHEMA).iter_rows())
        for path in sorted(run.predictions_dir.glob("*.parquet"))
    }
