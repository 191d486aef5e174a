"""Programs from two archives: Google's coding competitions, and APPS."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import (
    checked,
    filled,
    form_asked,
    function_tests,
    read_rows,
    stdin_reference,
    stdin_tests,
)
from toolkit.records import Problem


def read_google(path: Path) -> list[Problem]:
    """Rows {task_id, statement, checker, tests}. `UsageError` names row and field.

    checker: such as `float_tolerance 1e-6`; it becomes how this problem's output is compared.
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
            reference=stdin_reference(pairs, where, compare=_compare(row.get("checker"), where)),
        )
        found.append((where, problem))
    return checked(found, path)


def _compare(checker: object, where: str) -> str | None:
    """The name of the judge's checker; None for its default, the tokens."""
    if checker in (None, "", "tokens"):
        return None
    if match := re.fullmatch(r"float_tolerance (\S+)", str(checker)):
        return f"float:{match[1]}"
    raise UsageError(f"{where}: field 'checker': {str(checker)[:40]!r} is not known")


def read_apps(path: Path) -> list[Problem]:
    """APPS' problems, from rows with its fields. `UsageError` names row and field.

    Fields: question (or prompt), starter_code, and input_output = {inputs, outputs, fn_name} as
    JSON, or these three. Where fn_name is given, a function is asked for: an input is the list of
    its arguments, an output its value. Where every output is a list of one, this may be the value,
    or hold it: APPS has both, so both are right.

    Left out: rows whose input_output is empty, as APPS publishes problems without tests.
    """
    found = []
    for number, (where, row) in enumerate(read_rows(path)):
        if row.get("input_output") == "":
            continue
        cases = _apps_cases(row, where)
        function = cases.get("fn_name")
        asked = filled(row, "question", where, "prompt").strip()
        starter = str(row.get("starter_code") or "")
        names = (row.get(name) for name in ("task_id", "problem_id", "id"))
        problem = Problem(
            task_id=next((str(name) for name in names if name is not None), str(number)),
            prompt=f"{asked}\n\n{form_asked(starter, str(function or ''))}",
            kind="stdin",
            reference=_apps_reference(cases, where),
            solution=_first(row.get("solutions")),
        )
        found.append((where, problem))
    return checked(found, path)


def _apps_reference(cases: Mapping[str, Any], where: str) -> str:
    inputs, outputs, field = cases.get("inputs"), cases.get("outputs"), "inputs"
    function = cases.get("fn_name")
    if not function:
        return stdin_reference(stdin_tests(inputs, outputs, where, field), where, field)
    if not isinstance(function, str):
        raise UsageError(f"{where}: field 'fn_name' is {type(function).__name__}, not a string")
    tests = function_tests(inputs, outputs, where, field)
    in_lists = all(isinstance(t["output"], list) and len(t["output"]) == 1 for t in tests)
    compare = "value_in_list" if in_lists else None
    return stdin_reference(tests, where, field, function=function, compare=compare)


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
