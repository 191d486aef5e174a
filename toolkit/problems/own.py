"""A user's own problems: JSONL with task_id, question, and what the answer is judged by."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import filled, read_rows, stdin_reference, stdin_tests
from toolkit.records import Problem

JUDGED_BY: Mapping[str, str] = {
    "number": "answer",
    "choice": "answer",
    "math": "answer",
    "stdin": "tests",
    "proof": "statement",
}
"""Kind of judge -> the field of a problem that it needs. Any other kind gets the whole row."""


def read_own(path: Path, kind: str) -> list[tuple[Problem, dict[str, str]]]:
    """(problem, its fields that a prompt may name) of each row. `UsageError` names row and field.

    Fields: task_id, question, and answer, tests or statement, as the kind of judge needs. Then
    solution, a completion that is right, if one is known. Other fields with texts or numbers may be
    named in the prompt's template.
    """
    found: dict[str, tuple[Problem, dict[str, str]]] = {}
    for where, row in read_rows(path):
        name = row.get("task_id")
        task_id = str(name) if type(name) is int else filled(row, "task_id", where)
        if task_id in found:
            raise UsageError(f"{where}: field 'task_id': an earlier row has {task_id!r} already")
        solution = row.get("solution")
        if solution is not None and not isinstance(solution, str):
            raise UsageError(f"{where}: field 'solution' is not a string")
        problem = Problem(
            task_id=task_id,
            prompt=filled(row, "question", where),
            kind=kind,
            reference=_reference(row, kind, where),
            solution=solution or "",
        )
        found[task_id] = problem, _texts(row)
    if not found:
        raise UsageError(f"{path}: has no problems; give a file with one problem on each line")
    return list(found.values())


def row_of(problem: Problem) -> dict[str, Any]:
    """The row of a user's problem as a judge of theirs gets it, without `solution`."""
    asked = {"task_id": problem.task_id, "question": problem.prompt}
    return {**asked, **json.loads(problem.reference)}


def _reference(row: dict[str, Any], kind: str, where: str) -> str:
    match JUDGED_BY.get(kind):
        case "answer":
            answer = row.get("answer")
            plain = type(answer) in (int, float)
            text = json.dumps(answer) if plain else filled(row, "answer", where)
            return json.dumps({"answer": text})
        case "tests":
            return _tests(row, where)
        case "statement":
            more = {
                name: row[name] for name in ("header", "name") if isinstance(row.get(name), str)
            }
            return json.dumps({"statement": filled(row, "statement", where), **more})
        case _:
            asked = ("task_id", "question", "solution")
            return json.dumps({name: value for name, value in row.items() if name not in asked})


def _tests(row: dict[str, Any], where: str) -> str:
    tests = row.get("tests")
    if tests is None:
        raise UsageError(f"{where}: field 'tests' is missing")
    if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        raise UsageError(f"{where}: field 'tests': is no list of {{input, output}}")
    pairs = stdin_tests(
        [test.get("input") for test in tests], [test.get("output") for test in tests], where
    )
    timeout, checker = row.get("timeout"), row.get("checker")
    if timeout is not None and not (type(timeout) in (int, float) and timeout > 0):
        raise UsageError(f"{where}: field 'timeout': must be a number of seconds over 0")
    if checker is not None and not isinstance(checker, str):
        raise UsageError(f"{where}: field 'checker' is not a string")
    return stdin_reference(pairs, where, timeout=timeout, checker=checker)


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """The fields that a template may name."""
    plain = {n: v for n, v in row.items() if type(v) in (str, int, float)}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in plain.items()
    }
