"""HumanEval+: HumanEval's problems with many more tests (evalplus, arXiv 2305.01210).

Both published forms are read, also Mini:

- `HumanEvalPlus-OriginFmt.jsonl` has HumanEval's fields. Its tests are taken as they are, but for
  the one below.
- `HumanEvalPlus.jsonl` has inputs only. A test is made of them: it calls the reference solution and
  the program with each input and compares the results as evalplus does.

HumanEval/32 asks for a zero of a polynomial. The oracle in the first form unpacks its arguments the
wrong way round, so that not even the reference solution passes. Here it is corrected as evalplus
has done since: |poly(input, answer)| has to be at most the tolerance.

Some tests take long. Their problems have a time limit of their own: see
`toolkit.problems.time_limits`.
"""

from pathlib import Path
from textwrap import indent
from typing import Any, Final

from toolkit.errors import UsageError
from toolkit.jsonl import text_field
from toolkit.problems.humaneval import (
    humaneval_problem,
    located_rows,
    problems_of,
    solution_of,
)
from toolkit.problems.time_limits import time_limit
from toolkit.records import Problem

HUMANEVAL_PLUS = "humaneval+"
BROKEN_ORACLE: Final = "assert _poly(*candidate(*inp), inp) <= 0.0001"
MENDED_ORACLE: Final = "assert abs(_poly(*inp, candidate(*inp))) <= 0.0001"

COMPARING: Final = """
import copy
import math
from math import inf, nan

import numpy as np


def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False


def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
"""
"""How evalplus compares what a program returns with what is expected."""

ZERO_OF_POLYNOMIAL: Final = """

def _poly(xs, x):
    return sum([coeff * math.pow(x, i) for i, coeff in enumerate(xs)])


def assertion_of_zero(xs, zero, atol):
    assert abs(_poly(xs, zero)) <= atol
"""


def read_humaneval_plus(path: Path) -> list[Problem]:
    """The problems of a file in either form. `UsageError` names file, line and field."""
    return problems_of(path, located_rows(path), _problem)


def _problem(row: dict[str, Any], where: str) -> Problem:
    if "base_input" in row:
        test = made_test(row, where)
    else:
        test = text_field(row, "test", where).replace(BROKEN_ORACLE, MENDED_ORACLE)
    limit = time_limit(text_field(row, "task_id", where), test)
    return humaneval_problem(row | {"test": test}, where, timeout=limit)


def made_test(row: dict[str, Any], where: str) -> str:
    """A test that compares a program with the reference solution on all inputs of a row.

    The reference is defined inside a function, so that it is not the program's function of the
    same name, not even where it calls itself.
    """
    inputs = [*_inputs(row, "base_input", where), *_inputs(row, "plus_input", where)]
    atol = row.get("atol", 0)
    if not isinstance(atol, (int, float)):
        raise UsageError(f"{where}: field 'atol' is {type(atol).__name__}, not a number")
    name = text_field(row, "entry_point", where)
    if name == "find_zero":
        oracle, call = ZERO_OF_POLYNOMIAL, f"assertion_of_zero(*inp, candidate(*inp), {atol!r})"
    else:
        code = text_field(row, "prompt", where) + solution_of(row)
        oracle = f"\n\ndef _reference():\n{indent(code, '    ')}\n    return {name}\n"
        called = "candidate(*copy.deepcopy(inp)), reference(*copy.deepcopy(inp))"
        call = f"assertion({called}, {atol!r})"
    lines = [f"inputs = {inputs!r}"]
    lines += ["reference = _reference()"] if name != "find_zero" else []
    lines += ["for inp in inputs:", f"    {call}"]
    body = "\n".join(f"    {line}" for line in lines)
    return f"{COMPARING}{oracle}\n\ndef check(candidate):\n{body}\n"


def _inputs(row: dict[str, Any], field: str, where: str) -> list[Any]:
    """The list of argument lists in a field."""
    found = row.get(field)
    if not isinstance(found, list) or not all(isinstance(each, list) for each in found):
        raise UsageError(f"{where}: field {field!r} is no list of lists of arguments")
    return found
