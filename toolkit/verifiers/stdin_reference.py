"""What a problem says whose answers are whole programs: its tests, and how outputs are compared.

A reference is {tests, function, compare, checker, timeout}, all but `tests` optional. `tests` is a
list of {input, output}.

`function` is for problems that ask for a function of this name, or for a class `Solution` with such
a method. `input` is then the list of its arguments, `output` its value, equal as JSON. `compare`
may be `value_in_list`, where `output` is a list of one that may stand for what is in it.

The other fields are for problems that differ from their task. `compare` is the name of a checker
(`toolkit.verifiers.checkers`), `checker` the Python source of one of its own. `timeout` is in
seconds a test.
"""

import functools
import json
from dataclasses import dataclass

from toolkit.errors import UsageError
from toolkit.verifiers.checkers import PROGRAM, VALUE, VALUE_IN_LIST, check_checker


@dataclass(frozen=True, slots=True)
class Test:
    """What a program is given, and what it should write."""

    input: bytes
    output: bytes


@dataclass(frozen=True, slots=True)
class Reference:
    """A problem's reference, read. checker: a name; source: the text of a checker program."""

    tests: tuple[Test, ...]
    function: str
    checker: str
    source: str
    timeout: float | None


@functools.lru_cache(maxsize=64)
def read_reference(reference: str, checker: str) -> Reference:
    """Read a reference; `checker` is the name for problems that give none.

    Raises `UsageError` for a checker that does not exist, or that the problem does not bring.
    """
    fields = json.loads(reference)
    source = fields.get("checker") or ""
    function = fields.get("function") or ""
    compare = fields.get("compare")
    if function:
        name = VALUE_IN_LIST if compare == VALUE_IN_LIST else VALUE
    else:
        name = PROGRAM if source else compare or checker
        check_checker(name)
    if name == PROGRAM and not source:
        raise UsageError("checker = program: a problem's reference has no field `checker`")
    written = json.dumps if function else str
    tests = tuple(
        Test(_encoded(written(t["input"])), _encoded(written(t["output"]))) for t in fields["tests"]
    )
    return Reference(tests, function, name, source, fields.get("timeout"))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
