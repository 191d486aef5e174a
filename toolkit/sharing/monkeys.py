"""Samples with their verdicts, as Large Language Monkeys published them: one row a problem.

A row has `question` or `prompt`, `samples` (texts) and `is_corrects` (true or false, one for each).
It may have `task_id`; else the file's name and the row's number are its name. Brown et al. 2024,
arXiv 2407.21787.

Nothing is judged again: the verdicts are those of the file.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.errors import UsageError
from toolkit.problems.load import problems_digest
from toolkit.problems.rows import filled, read_rows
from toolkit.records import EngineFacts, JudgeChoice, Problem, Sample, Verdict, answer_digest
from toolkit.runs.answers import write_map
from toolkit.runs.history import point_latest
from toolkit.runs.run import Run, create_or_open, freeze_round
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import plan_round
from toolkit.runs.verdicts import write_verdicts
from toolkit.stages.ingest import facts_of_run
from toolkit.verifiers.judges import REPORTED, judge_of
from toolkit.verifiers.reported import EXTRACTION

log = logging.getLogger(__name__)

FIELDS = ("samples", "is_corrects")
SLICE_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """A problem with its samples, and which of them were found to be right."""

    problem: Problem
    samples: list[str]
    right: list[bool]


def has_verdicts(path: Path) -> bool:
    """Whether the file's first row has samples with verdicts, in this form."""
    if not path.is_file():
        return False
    first = next(iter(read_rows(path)), None)
    return first is not None and set(FIELDS) <= first[1].keys()


def import_monkeys(source: Path, path: Path, model: str = "") -> Run:
    """Make the run at `path` of the file: JSONL (or .gz) or parquet.

    All rows are checked before anything is written; `UsageError` names the row and the field. Where
    a text is right in one place and wrong in another, it counts as wrong, and the log says so.
    """
    rows = [_row(source, where, row, i) for i, (where, row) in enumerate(read_rows(source))]
    if not rows:
        raise UsageError(f"{source}: has no rows; give one problem on each line")
    names = Counter(r.problem.task_id for r in rows)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UsageError(f"{source}: task_id {twice[0]!r} has more than one row; join them")
    problems, choice = [r.problem for r in rows], JudgeChoice(REPORTED)
    content = json.dumps([[r.samples, r.right] for r in rows]).encode()
    identity: dict[str, str] = {
        "backend": "ingest",
        "model": model or source.name.split(".")[0],
        "prompt_style": "solution",
        "problems": problems_digest(problems),
        "completions": hashlib.sha256(content).hexdigest(),
    }
    facts = facts_of_run(source.name, problems, identity["model"], "solution", choice)
    run = create_or_open(path, identity, problems=problems, **facts)
    _write(run, rows, source.name)
    write_verdicts(run, _verdicts(rows), judge_of(choice), {"source": source.name})
    point_latest(run)
    return run


def _row(source: Path, where: str, row: Mapping[str, Any], index: int) -> Row:
    """The row, checked."""
    prompt = filled(dict(row), "question", where, "prompt")
    samples, right = (row.get(name) for name in FIELDS)
    if not isinstance(samples, list) or not all(isinstance(s, str) for s in samples):
        raise UsageError(f"{where}: field 'samples' is no list of texts")
    if not isinstance(right, list) or not all(isinstance(r, bool) for r in right):
        raise UsageError(f"{where}: field 'is_corrects' is no list of true and false")
    if len(samples) != len(right) or not samples:
        raise UsageError(
            f"{where}: {len(samples)} samples, {len(right)} verdicts: give one for each, and one "
            "sample at least"
        )
    task_id = row.get("task_id")
    name = task_id if isinstance(task_id, str) else f"{source.name.split('.')[0]}/{index}"
    return Row(Problem(name, prompt, REPORTED, "{}"), samples, right)


def _write(run: Run, rows: list[Row], name: str) -> None:
    """The plan, the shards that are not there yet, and their maps."""
    if not run.round_count():
        counts = {r.problem.task_id: len(r.samples) for r in rows}
        sizes = {"slice_samples": SLICE_SAMPLES, "slice_seeds": SLICE_SAMPLES}
        freeze_round(run, 0, plan_round(0, counts, {}, **sizes))
    texts = {r.problem.task_id: r.samples for r in rows}
    done, facts = run.done(), ShardFacts(engine=EngineFacts(f"ingest {name}"))
    schema = {"task_id": pl.String, "seed": pl.UInt32, "answer": pl.UInt64}
    for each in run.slices():
        keys = list(each.sample_keys())
        if each.name not in done:
            drawn = (Sample(t, seed, texts[t][seed], None, "stop") for t, seed in keys)
            write_shard(run, each, drawn, facts)
        found = [(t, seed, answer_digest(texts[t][seed])) for t, seed in keys]
        frame = pl.DataFrame(found, schema=schema, orient="row").sort("task_id", "seed")
        write_map(run, each.name, frame, EXTRACTION)


def _verdicts(rows: list[Row]) -> list[Verdict]:
    """One for each distinct text of a problem."""
    found, doubtful = [], 0
    for row in rows:
        said: dict[str, set[bool]] = {}
        for text, right in zip(row.samples, row.right, strict=True):
            said.setdefault(text, set()).add(right)
        doubtful += sum(len(each) > 1 for each in said.values())
        for text, each in said.items():
            key = (row.problem.task_id, answer_digest(text))
            if each == {True}:
                found.append(Verdict(*key, "passed", "", "", (), 0.0))
            else:
                detail = "not correct, as published"
                found.append(Verdict(*key, "failed", "wrong_answer", detail, (), 0.0))
    if doubtful:
        log.warning("%d texts are both right and wrong in the file: they count as wrong", doubtful)
    return found
