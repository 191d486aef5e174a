"""Programs from two archives: Google's coding competitions, and APPS."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import (
    checked,
    filled,
    function_tests,
    read_rows,
    stdin_reference,
    stdin_tests,
)
from toolkit.records import Problem


def read_google(path: Path) -> list[Problem]:
    """Rows {task_id, statement, checker, tests}. `UsageError` names row and field.

    checker: such as `float_tolerance 1e-6`; it becomes the problem's own checker.
    """
    found = []
    for where, row in read_rows(path):
        tests = row.get("tests")
        if not isinstance(tests, list) or not all(isinstance(t, dict) for t in tests):
            raise UsageError(f"{where}: field 'tests': is no list of objects")
        pairs = stdin_tests(
            [t.get("input") for t in tests], [t.get("output") for t in tests], where
        )
        problem = Problem(
            task_id=filled(row, "task_id", where),
            prompt=filled(row, "statement", where),
            kind="stdin",
            reference=stdin_reference(pairs, where, checker=_checker(row.get("checker"), where)),
        )
        found.append((where, problem))
    return checked(found, path)


def _checker(checker: object, where: str) -> str | None:
    """The rule in the words of the stdin judge; None for its default, the tokens."""
    if checker in (None, "", "tokens"):
        return None
    if match := re.fullmatch(r"float_tolerance (\S+)", str(checker)):
        return f"float:{match[1]}"
    raise UsageError(f"{where}: field 'checker': {str(checker)[:40]!r} is not known")


def read_apps(path: Path) -> list[Problem]:
    """APPS' problems, from rows with its fields. `UsageError` names row and field.

    Fields: question (or prompt), starter_code, and input_output = {inputs, outputs, fn_name} as
    JSON, or these three. Where fn_name is given, a function is asked for: an input is the list of
    its arguments, an output its value, mostly in a list of one.
    """
    found = []
    for number, (where, row) in enumerate(read_rows(path)):
        cases = _apps_cases(row, where)
        function = cases.get("fn_name")
        asked = filled(row, "question", where, "prompt")
        if starter := str(row.get("starter_code") or "").strip():
            asked = f"{asked}\n\nBegin with this code:\n```python\n{starter}\n```"
        tests: Sequence[Mapping[str, Any]]
        if function:
            values = _unwrapped(cases.get("outputs"))
            tests = function_tests(cases.get("inputs"), values, where, "inputs")
        else:
            tests = stdin_tests(cases.get("inputs"), cases.get("outputs"), where, "inputs")
        name = row.get("task_id") or row.get("problem_id")
        problem = Problem(
            task_id=str(number if name is None else name),
            prompt=asked,
            kind="stdin",
            reference=stdin_reference(tests, where, "inputs", function=function or None),
            solution=_first(row.get("solutions")),
        )
        found.append((where, problem))
    return checked(found, path)


def _apps_cases(row: dict[str, Any], where: str) -> dict[str, Any]:
    packed = row.get("input_output")
    if packed is None:
        return row
    try:
        cases = json.loads(packed)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: field 'input_output': is not JSON") from None
    if not isinstance(cases, dict):
        raise UsageError(f"{where}: field 'input_output': is not an object")
    return cases


def _first(solutions: object) -> str:
    if isinstance(solutions, str):
        try:
            solutions = json.loads(solutions)
        except ValueError:
            return ""
    if not (isinstance(solutions, list) and solutions and isinstance(solutions[0], str)):
        return ""
    return solutions[0]


def _unwrapped(outputs: object) -> object:
    """The values of a function. APPS has most of them in a list of one, as `[true]`."""
    if not isinstance(outputs, list):
        return outputs
    wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
    return [output[0] for output in outputs] if wrapped else outputs
