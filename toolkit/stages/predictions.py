"""Exports the answers of a run as the predictions of SWE-bench's harness.

The harness takes a file with at most one patch for each instance. So the first file holds each
instance's first distinct patch, the second file the second one, and so on. Only patches without a
verdict are exported, each once, however many samples have it.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from toolkit.errors import UsageError
from toolkit.files import make_directory, replace_file
from toolkit.records import Judge
from toolkit.runs.answers import distinct_answers, in_shards, mapped_slices
from toolkit.runs.judge import judge_choice
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.predictions import prediction_name, predictions, record_predictions
from toolkit.runs.run import Run
from toolkit.runs.verdicts import decided_verdicts
from toolkit.stages.taking import Taking
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judges import harness_of

log = logging.getLogger(__name__)

SAMPLES_FILE = "samples.jsonl"
FILES_AT_ONCE = 50
"""So many files are made in one pass over the shards: their patches are held in memory."""


class Export(NamedTuple):
    """Numbers of what was exported. predictions: distinct patches, in so many files."""

    files: int
    predictions: int
    samples: int


def check_harness(judge: Judge, flag: str) -> None:
    """Raise `UsageError` if the toolkit judges the answers of this judge by itself."""
    if not harness_of(judge):
        raise UsageError(
            f"{flag}: answers of this run are judged here, by {judge.verifier}; leave the flag out"
        )


def export_predictions(run: Run, folder: Path, judge: Judge) -> Export:
    """Write the patches that wait for a verdict to `folder`, and record them in the run.

    NAME.jsonl: rows {instance_id, model_name_or_path, model_patch}, for the harness. NAME is also
    the model's name in it. samples.jsonl: rows {instance_id, seed, predictions, outcome}, one for
    each sample: the NAME of the file that holds its patch, null for a sample without one, and the
    outcome, null while it waits.

    The maps of the run's answers must be there (`evaluate_run`). The same patches give the same
    files. Raises `UsageError` where `check_harness` does, and `WriteFailure`.
    """
    check_harness(judge, f"--export-predictions {folder}")
    make_directory(folder)
    waiting = _waiting(run, judge)
    files = given = 0
    for number, name, patches in _files(run, waiting):
        rows = (
            {"instance_id": task_id, "model_name_or_path": name, "model_patch": patch}
            for task_id, (_, patch) in patches.items()
        )
        answers = {task_id: answer for task_id, (answer, _) in patches.items()}
        # The record comes first: no prediction is without one.
        record_predictions(run, name, answers)
        replace_file(folder / f"{name}.jsonl", _jsonl(rows))
        log.info("predictions %d: %s.jsonl, %d in it", number, name, len(patches))
        files, given = files + 1, given + len(patches)
    samples = _samples(run, judge)
    replace_file(folder / SAMPLES_FILE, _jsonl(samples.iter_rows(named=True)))
    return Export(files, given, samples.height)


def _waiting(run: Run, judge: Judge) -> pl.DataFrame:
    """The distinct answers without a verdict, as `in_shards` gives them, and `file`, from 0.

    An answer's file is its place among those of its problem, by their first seeds.
    """
    present, key = mapped_slices(run), ["task_id", "answer"]
    found = distinct_answers(run, present).join(decided_verdicts(run, judge), on=key, how="anti")
    place = pl.col("answer").cum_count().over("task_id") - 1
    return in_shards(found.sort("task_id", "seed").with_columns(place.alias("file")), present)


def _files(
    run: Run, waiting: pl.DataFrame
) -> Iterator[tuple[int, str, Mapping[str, tuple[int, str]]]]:
    """(number, name, task_id -> (answer, patch)) of each file of predictions."""
    taking, present = Taking.of(run, open_verifier(judge_choice(run))), mapped_slices(run)
    last = -1 if waiting.is_empty() else int(waiting["file"].to_numpy().max())
    for start in range(0, last + 1, FILES_AT_ONCE):
        these = waiting.filter(pl.col("file").is_between(start, start + FILES_AT_ONCE - 1))
        number_of = {(t, a): n for t, a, n in these["task_id", "answer", "file"].iter_rows()}
        files: dict[int, dict[str, tuple[int, str]]] = {}
        corrupt: set[str] = set()
        todo = these.select("task_id", "answer", "slice", "seed")
        for answer in taking.answers(present, todo, corrupt):
            number = number_of[answer.task_id, answer.digest]
            files.setdefault(number, {})[answer.task_id] = (answer.digest, answer.text)
        for number, patches in sorted(files.items()):
            answers = {task_id: answer for task_id, (answer, _) in patches.items()}
            yield number, prediction_name(run, number, answers), dict(sorted(patches.items()))


def _samples(run: Run, judge: Judge) -> pl.DataFrame:
    """instance_id, seed, predictions, outcome of each sample: see `export_predictions`."""
    rows = [
        (task_id, answer, name)
        for name, answers in predictions(run).items()
        for task_id, answer in answers.items()
    ]
    schema = {"task_id": pl.String, "answer": pl.UInt64, "predictions": pl.String}
    named = pl.DataFrame(rows, schema=schema, orient="row").unique(
        ["task_id", "answer"], keep="last", maintain_order=True
    )
    return (
        sample_outcomes(run, judge)
        .join(named, on=["task_id", "answer"], how="left", maintain_order="left")
        .select(pl.col("task_id").alias("instance_id"), "seed", "predictions", "outcome")
    )


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
