"""CodeContests: programs that read their input and write their output, in its published rows."""

from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import checked, filled, read_rows, stdin_reference, stdin_tests
from toolkit.records import Problem

TEST_SETS = ("public_tests", "private_tests", "generated_tests")
_PYTHON3 = 3
"""The number of Python 3 among the languages of the published solutions."""
_IMAGE = "<image>"
USUAL_SECONDS = 6.0
"""The judge's own time limit. A problem whose published limit is larger keeps that one."""


def read_code_contests(path: Path) -> list[Problem]:
    """The problems of a published file (parquet, or its rows as JSONL). See `UsageError`'s text.

    All three sets of tests count. Left out, as in "Large Language Monkeys": a description that
    refers to an image. Left out too: programs that read or write a named file.
    """
    found = []
    for where, row in read_rows(path):
        description = filled(row, "description", where)
        if _IMAGE in description or row.get("input_file") or row.get("output_file"):
            continue
        tests = [test for name in TEST_SETS for test in _tests(row, name, where)]
        problem = Problem(
            task_id=f"code_contests/{filled(row, 'name', where)}",
            prompt=description,
            kind="stdin",
            reference=stdin_reference(
                tests, where, "public_tests", timeout=_longer(row.get("time_limit"))
            ),
            solution=_solution(row.get("solutions")),
        )
        found.append((where, problem))
    return checked(found, path)


def _tests(row: dict[str, Any], name: str, where: str) -> list[dict[str, str]]:
    tests = row.get(name)
    if tests is None:
        return []
    if not isinstance(tests, dict):
        raise UsageError(f"{where}: field {name!r} is {type(tests).__name__}, not an object")
    return stdin_tests(tests.get("input"), tests.get("output"), where, name)


def _longer(limit: Any) -> float | None:
    """The published time limit in seconds, where it is over the judge's own."""
    if not isinstance(limit, dict):
        return None
    seconds = float(limit.get("seconds") or 0) + float(limit.get("nanos") or 0) / 1e9
    return seconds if seconds > USUAL_SECONDS else None


def _solution(solutions: Any) -> str:
    """The first published program in Python 3; "" if there is none."""
    if not isinstance(solutions, dict):
        return ""
    pairs = zip(solutions.get("language") or (), solutions.get("solution") or (), strict=False)
    return next((str(p) for language, p in pairs if language == _PYTHON3 and p), "")
