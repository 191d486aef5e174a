"""Read the rows of a published data set: JSONL, plain or gzipped, or parquet. Check what is read.

Errors name the file, the row and the field.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl
from toolkit.records import Problem


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of each row, such as ("test.jsonl, line 7", {...}).

    Raises `UsageError` if the file is missing or cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"--problems {path}: no such file; give the task's data as published")
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    for number, row in read_jsonl(path):
        yield f"{path}, line {number}", row


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: cannot be read as parquet: {reason}") from None
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield f"{path}, row {number}", row


def filled(row: dict[str, Any], field: str, where: str, *others: str) -> str:
    """The text in `field`, or in the first of `others` that the row has.

    Raises `UsageError` if none is there, or if it is no text or an empty one.
    """
    name = next((f for f in (field, *others) if row.get(f) is not None), None)
    if name is None:
        raise UsageError(f"{where}: field {field!r} is missing")
    value = row[name]
    if not isinstance(value, str):
        raise UsageError(f"{where}: field {name!r} is {type(value).__name__}, not a string")
    if not value.strip():
        raise UsageError(f"{where}: field {name!r} is empty")
    return value


def function_tests(
    inputs: object, outputs: object, where: str, field: str = "tests"
) -> list[dict[str, Any]]:
    """Tests of a function: [{input: its arguments, output: its value}, ...].

    Raises `UsageError` unless both are lists of the same length, and each input is a list.
    """
    pairs = _pairs(inputs, outputs, where, field)
    if not all(isinstance(arguments, list) for arguments, _ in pairs):
        raise UsageError(f"{where}: field {field!r}: an input is no list of arguments")
    return [{"input": arguments, "output": value} for arguments, value in pairs]


def form_asked(starter: str, function: str = "") -> str:
    """What tells a model the form of the program: for the end of a question.

    starter: code that it begins with; "" for none. function: the function that the tests call; ""
    for a program that reads and writes.
    """
    if starter.strip():
        return f"Begin with this code:\n```python\n{starter.strip()}\n```"
    if function:
        return f"Write a function `{function}` that returns the answer."
    return "The program reads standard input and writes standard output."


def stdin_tests(
    inputs: object, outputs: object, where: str, field: str = "tests"
) -> list[dict[str, str]]:
    """Tests of a program that reads and writes: [{input, output}, ...].

    Raises `UsageError` unless both are lists of texts of the same length.
    """
    pairs = _pairs(inputs, outputs, where, field)
    for text in (*(given for given, _ in pairs), *(written for _, written in pairs)):
        if not isinstance(text, str):
            raise UsageError(f"{where}: field {field!r}: {str(text)[:40]!r} is not a string")
    return [{"input": given, "output": written} for given, written in pairs]


def _pairs(inputs: object, outputs: object, where: str, field: str) -> list[tuple[Any, Any]]:
    """Each input with its output. `UsageError` unless both are lists of the same length."""
    if not (isinstance(inputs, list) and isinstance(outputs, list)):
        raise UsageError(f"{where}: field {field!r}: inputs and outputs must be lists")
    if len(inputs) != len(outputs):
        raise UsageError(
            f"{where}: field {field!r}: {len(inputs)} inputs, but {len(outputs)} outputs"
        )
    return list(zip(inputs, outputs, strict=True))


def stdin_reference(
    tests: Sequence[Mapping[str, Any]], where: str, field: str = "tests", **more: Any
) -> str:
    """The reference of a program's tests, as a JSON object. `UsageError` if there are no tests."""
    if not tests:
        raise UsageError(f"{where}: field {field!r}: has no tests")
    return json.dumps({"tests": list(tests), **{k: v for k, v in more.items() if v is not None}})


def checked(problems: Iterable[tuple[str, Problem]], path: Path) -> list[Problem]:
    """The problems of (where, problem). `UsageError` if an id comes twice, or if there is none."""
    found: dict[str, Problem] = {}
    for where, problem in problems:
        if problem.task_id in found:
            raise UsageError(
                f"{where}: field 'task_id': an earlier row has {problem.task_id!r} already"
            )
        found[problem.task_id] = problem
    if not found:
        raise UsageError(f"{path}: has no problems; give a file with one problem on each line")
    return list(found.values())
