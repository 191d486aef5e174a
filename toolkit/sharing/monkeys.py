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

from toolkit.errors import UsageError
from toolkit.problems.load import problems_digest
from toolkit.problems.rows import filled, read_rows
from toolkit.records import EngineFacts, JudgeChoice, Problem, Sample, Verdict, answer_digest
from toolkit.runs.history import point_latest
from toolkit.runs.run import Run, create_or_open
from toolkit.runs.verdicts import write_verdicts
from toolkit.sharing.imported import write_samples
from toolkit.stages.ingest import facts_of_run
from toolkit.verifiers.judges import REPORTED, judge_of
from toolkit.verifiers.reported import EXTRACTION

log = logging.getLogger(__name__)

FIELDS = ("samples", "is_corrects")


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
    texts = {(r.problem.task_id, seed): t for r in rows for seed, t in enumerate(r.samples)}
    samples = [Sample(*key, text, None, "stop") for key, text in texts.items()]
    answers = {key: answer_digest(text) for key, text in texts.items()}
    write_samples(run, samples, answers, EngineFacts(f"ingest {source.name}"), EXTRACTION)
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
