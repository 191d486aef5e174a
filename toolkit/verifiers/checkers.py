"""How a program's output is compared with the expected one. Pure, with names and bounded time.

| checker | right is |
|---|---|
| `tokens` | the same words, whatever blanks and line ends stand between them |
| `lines` | the same lines, but for blanks at their ends and empty lines at the end |
| `float:TOL` | the same words, but a number may be off by TOL, absolute or relative |
| `program` | what the problem's own checker says (`toolkit.sandbox.checker_program`) |

The value of a function is compared as JSON. A task does not choose how, its data do:

| checker | right is |
|---|---|
| `value` | the expected value |
| `value_in_list` | the expected value, a list of one, or what is in that list: APPS has both |

Words are exact: 0.30 is not 0.3 for `tokens`. The time is linear in both outputs, and the memory is
bounded: words and lines are compared one by one, up to the first that differs.
"""

import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Final

from toolkit.errors import UsageError

PROGRAM: Final = "program"
VALUE: Final = "value"
VALUE_IN_LIST: Final = "value_in_list"
_TOKEN: Final = re.compile(rb"[^ \t\n\r\f\v]+")
_NUMBER: Final = re.compile(rb"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")
_SHOWN_CHARACTERS: Final = 60

_Equal = Callable[[bytes, bytes], bool]


def check_checker(checker: str) -> None:
    """Raise `UsageError` for a name that is no checker's."""
    if checker not in ("tokens", "lines", PROGRAM) and _tolerance(checker) is None:
        raise UsageError(
            f"checker = {checker!r}: unknown; valid: tokens, lines, float:TOL such as float:1e-6, "
            f"and {PROGRAM}"
        )


def difference(checker: str, output: bytes, expected: bytes) -> str | None:
    """What differs, as text in at most 200 characters; None if the output is right.

    checker: `tokens`, `lines`, `float:TOL`, `value` or `value_in_list`.
    """
    if output == expected:
        return None
    if checker in (VALUE, VALUE_IN_LIST):
        return _value_difference(checker, output, expected)
    if checker == "lines":
        return _first_difference(_lines(output), _lines(expected), _same, "line")
    tolerance = _tolerance(checker) if checker != "tokens" else None
    equal = _same if tolerance is None else _close_to(tolerance)
    return _first_difference(_tokens(output), _tokens(expected), equal, "word")


def _value_difference(checker: str, output: bytes, expected: bytes) -> str | None:
    try:
        got, wanted = json.loads(output), json.loads(expected)
        if got == wanted or (checker == VALUE_IN_LIST and [got] == wanted):
            return None
    except (ValueError, RecursionError):
        pass
    return f"expected {_shown(expected)}, got {_shown(output)}"


def _tolerance(checker: str) -> float | None:
    name, _, text = checker.partition(":")
    if name != "float" or not _NUMBER.fullmatch(text.encode()):
        return None
    tolerance = float(text)
    return tolerance if 0 <= tolerance < 1 else None


def _first_difference(
    output: Iterator[bytes], expected: Iterator[bytes], equal: _Equal, unit: str
) -> str | None:
    for number, (got, wanted) in enumerate(itertools.zip_longest(output, expected), 1):
        if got is None:
            return f"expected {_shown(wanted)} as {unit} {number}, and the output ended"
        if wanted is None:
            return f"expected no {unit} {number}, got {_shown(got)}"
        if not equal(got, wanted):
            return f"expected {_shown(wanted)} as {unit} {number}, got {_shown(got)}"
    return None


def _shown(text: bytes) -> str:
    shown = repr(text[: _SHOWN_CHARACTERS + 1].decode("utf-8", "replace"))
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[: _SHOWN_CHARACTERS - 4]}...'"


def _tokens(text: bytes) -> Iterator[bytes]:
    return (match[0] for match in _TOKEN.finditer(text))


def _lines(text: bytes) -> Iterator[bytes]:
    return (line.rstrip() for line in io.BytesIO(text.rstrip()))


def _same(got: bytes, wanted: bytes) -> bool:
    return got == wanted


def _close_to(tolerance: float) -> _Equal:
    def equal(got: bytes, wanted: bytes) -> bool:
        if got == wanted:
            return True
        if not (_NUMBER.fullmatch(got) and _NUMBER.fullmatch(wanted)):
            return False
        value, reference = float(got), float(wanted)
        return abs(value - reference) <= tolerance * max(1.0, abs(reference))

    return equal
