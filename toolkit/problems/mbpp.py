"""MBPP, and MBPP+ (evalplus): short Python tasks, each with tests of the function asked for.

These published forms are read, as JSON Lines or as one JSON array:

- `mbpp.jsonl`, all 974 tasks (arXiv 2108.07732); `sanitized-mbpp.json`, 427 of them;
- `MbppPlus-OriginFmt.jsonl`: 378 of those, with evalplus's tests;
- files with HumanEval's fields, such as CodeT's form of the sanitized tasks.

An answer is a whole program. Its tests become a function `check`. A base model is asked as the
paper does, with three examples, `[BEGIN]` and `[DONE]`; in a chat the instruction is evalplus's.
"""

import ast
import builtins
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent, indent
from typing import Any, Final

from toolkit.errors import UsageError
from toolkit.jsonl import text_field
from toolkit.problems.humaneval import (
    Rows,
    humaneval_problem,
    located_rows,
    problems_of,
    python_problem,
    solution_of,
)
from toolkit.problems.time_limits import time_limit
from toolkit.records import Problem, Prompt

MBPP = "mbpp"
STOP: Final = ("[DONE]",)
BROKEN_ORACLE: Final = "        exact_match = exp == (out is not None)\n"
MENDED_ORACLE: Final = f"{BROKEN_ORACLE}    assert exact_match\n"
"""Of Mbpp/737, /787 and /794: evalplus's release compares and never asserts, so that any answer
passes that raises nothing.
"""
CHAT_INSTRUCTION: Final = (
    "Please provide a self-contained Python script that solves the following problem in a "
    "markdown code block:"
)
"""As evalplus asks."""

EXAMPLES: Final = (
    (
        "Mbpp/2",
        "Write a function to find the similar elements from the given two tuple lists.",
        (
            "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)",
            "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)",
            "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)",
        ),
        "def similar_elements(test_tup1, test_tup2):\n"
        "  res = tuple(set(test_tup1) & set(test_tup2))\n"
        "  return (res)",
    ),
    (
        "Mbpp/3",
        "Write a python function to identify non-prime numbers.",
        (
            "assert is_not_prime(2) == False",
            "assert is_not_prime(10) == True",
            "assert is_not_prime(35) == True",
        ),
        "import math\n"
        "def is_not_prime(n):\n"
        "    result = False\n"
        "    for i in range(2,int(math.sqrt(n)) + 1):\n"
        "        if n % i == 0:\n"
        "            result = True\n"
        "    return result",
    ),
    (
        "Mbpp/4",
        "Write a function to find the largest integers from a given list of numbers using heap "
        "queue algorithm.",
        (
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65]",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75]",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)"
            "==[85, 75, 65, 58, 35]",
        ),
        "import heapq as hq\n"
        "def heap_queue_largest(nums,n):\n"
        "  largest_nums = hq.nlargest(n, nums)\n"
        "  return largest_nums",
    ),
)
"""(task_id, question, tests, program) of the examples in the prompt: tasks 2, 3 and 4 of MBPP."""


def read_mbpp(path: Path) -> list[Problem]:
    """The problems of a file in any of the forms. `UsageError` names file, line and field."""
    return problems_of(path, _rows(path), _problem)


def _rows(path: Path) -> Rows:
    """The rows of JSON Lines, or of one JSON array, as `sanitized-mbpp.json` is published."""
    if path.suffix != ".json":
        yield from located_rows(path)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise UsageError(f"{path}: not a JSON array of objects")
    for number, row in enumerate(found, start=1):
        yield f"{path}, object {number}", row


def _problem(row: dict[str, Any], where: str) -> Problem:
    if "base_input" in row:
        raise UsageError(
            f"{where}: has inputs without their types, as in MbppPlus.jsonl; give evalplus's "
            "MbppPlus-OriginFmt.jsonl instead"
        )
    if "test_list" not in row:
        return _in_humanevals_form(row, where)
    task_id = _task_id(row, where)
    question = _unix(text_field(row, "text" if "text" in row else "prompt", where)).strip()
    tests = _lines(row, "test_list", where)
    code = _unix(text_field(row, "code", where))
    entry_point = _entry_point(code, tests, where)
    test = _test(row, tests, entry_point, where)
    return python_problem(
        task_id,
        "\n".join([question, *tests]) + "\n",
        test,
        entry_point,
        code,
        timeout=time_limit(task_id, test),
        whole=True,
        phrased=_phrased(task_id, question, tests),
    )


def _in_humanevals_form(row: dict[str, Any], where: str) -> Problem:
    """CodeT's form. It lost the import of `math` that some tests need, and the indentation of
    reference solutions.
    """
    test = text_field(row, "test", where)
    if "math." in test and "import math" not in test:
        test = test.replace("def check(candidate):\n", "def check(candidate):\n    import math\n")
    if test.count("check(") > 1:  # the function asked for has this name too
        inner = test.replace(
            "def check(candidate):\n", "def check(candidate):\n    check = answered\n"
        )
        test = f"answered = check\n\n{inner}"
    prompt, solution = text_field(row, "prompt", where), solution_of(row)
    limit = time_limit(text_field(row, "task_id", where), test)
    mended = {"test": test, "canonical_solution": _as_body(prompt, solution)}
    return humaneval_problem(row | mended, where, timeout=limit)


def _as_body(prompt: str, solution: str) -> str:
    """The solution with its first lines, up to another function, indented as the prompt's body."""
    if not solution or _parses(prompt + solution):
        return solution
    lines = solution.expandtabs(4).splitlines(keepends=True)
    lines = [line for line in lines if not line.startswith("#")]
    outer = (i for i, line in enumerate(lines) if line.strip() and not line[0].isspace())
    end = next(outer, len(lines))
    mended = indent(dedent("".join(lines[:end])), "    ") + "".join(lines[end:])
    return mended if _parses(prompt + mended) else solution


def _parses(program: str) -> bool:
    try:
        _tree(program)
    except (SyntaxError, ValueError):
        return False
    return True


def _tree(program: str) -> ast.Module:
    """Its syntax tree. Raises `SyntaxError`, or `ValueError` for null bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the data cause them: invalid escapes
        return ast.parse(program)


def _task_id(row: dict[str, Any], where: str) -> str:
    """`Mbpp/2` for 2, as evalplus names it."""
    found = row.get("task_id")
    if isinstance(found, bool) or not isinstance(found, (int, str)) or found == "":
        raise UsageError(f"{where}: field 'task_id' is {found!r}, not a number or a name")
    return f"Mbpp/{found}" if isinstance(found, int) else found


def _lines(row: dict[str, Any], field: str, where: str) -> list[str]:
    """The texts in a field that is a list; none where it is missing."""
    found = row.get(field) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise UsageError(f"{where}: field {field!r} is no list of texts")
    return [_unix(each).strip() for each in found]


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _test(row: dict[str, Any], tests: Sequence[str], entry_point: str, where: str) -> str:
    """The text that defines `check`.

    evalplus's tests stand at the outer level in the file, and call the function by its name. All of
    them get into `check`, so that what they bind is out of the program's sight. Four tasks ask for
    a function that is called `check` itself.
    """
    if isinstance(row.get("test"), str):
        given = _unix(row["test"])
        if "assert " not in given:
            given = given.replace(BROKEN_ORACLE, MENDED_ORACLE)
        lines = [*_lines(row, "test_imports", where), given]
    else:
        setup = row.get("test_setup_code") or ""
        if not isinstance(setup, str):
            raise UsageError(f"{where}: field 'test_setup_code' is no text")
        lines = [*_lines(row, "test_imports", where), _unix(setup), *tests]
    body = indent("\n".join(line for line in lines if line.strip()), "    ")
    if entry_point == "check":
        return f"\nanswered = check\n\ndef check(candidate):\n    check = answered\n{body}\n"
    return f"\ndef check(candidate):\n{body}\n"


def _entry_point(code: str, tests: Sequence[str], where: str) -> str:
    """The function that all tests call: the last one that the reference program defines.

    Where the reference does not tell, it is the first name called that is not built in.
    """
    if not tests:
        raise UsageError(f"{where}: field 'test_list' has no test; leave the task out")
    called = [_called(test, where) for test in tests]
    common = [name for name in called[0] if all(name in each for each in called)]
    try:
        tree = _tree(code)
    except (SyntaxError, ValueError):
        defined = []
    else:
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    for name in reversed(defined):
        if name in common:
            return name
    for name in common:
        if not hasattr(builtins, name):
            return name
    raise UsageError(f"{where}: field 'test_list': its tests call no function in common")


def _called(test: str, where: str) -> list[str]:
    """The names that a test calls."""
    try:
        tree = _tree(test)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{where}: field 'test_list': no Python: {error}") from None
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [function.id for function in calls if isinstance(function, ast.Name)]


def _phrased(task_id: str, question: str, tests: Sequence[str]) -> Prompt:
    """What a model is asked: by the paper's examples, or by evalplus's instruction in a chat."""
    shots = [
        f"{_asked(text, asserts)}{program}\n[DONE]\n\n"
        for name, text, asserts, program in EXAMPLES
        if name != task_id
    ]
    shown = "\n".join([question, *tests])
    asked = f'{CHAT_INSTRUCTION}\n```\n"""\n{shown}\n"""\n```'
    return Prompt(
        messages=(("user", asked),),
        text="".join(shots) + _asked(question, tests),
        stop=STOP,
    )


def _asked(question: str, tests: Sequence[str]) -> str:
    listed = "\n".join(tests)
    return (
        f"You are an expert Python programmer, and here is your task: {question} Your code should "
        f"pass these tests:\n\n{listed}\n[BEGIN]\n"
    )
