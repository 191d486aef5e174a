"""Executes a problem's checker, which says whether an output is right.

It runs in the child of an errand, among workers of its own: it is given the expected output, which
no program may find. The payload is a JSON object {checker, input, output, expected} of texts.
`checker` is Python source. It defines `check(input, output, expected)`, which returns whether the
output is right.
"""

import json
from collections.abc import Sequence
from typing import Any

from toolkit.sandbox import imports
from toolkit.sandbox.errand_child import ErrandFailed


def prepare(libraries: Sequence[str]) -> None:
    """Before the first fork: import what checkers may and commonly do import, close the rest."""
    imports.offer(libraries)


def run(payload: bytes) -> bytes:
    """The checker's word as JSON: {"right": bool, "why": what an exception of `check` said}.

    An exception of `check` says no: most checkers do not expect the output of a wrong program.
    Raises `ErrandFailed` where the source itself fails, or defines no `check`.
    """
    given = json.loads(payload)
    space: dict[str, Any] = {"__name__": "checker"}
    try:
        exec(compile(given["checker"], "checker.py", "exec", dont_inherit=True), space)
        check = space["check"]
    except Exception as error:
        raise ErrandFailed("exception", f"the checker: {type(error).__name__}: {error}") from None
    try:
        right, why = bool(check(given["input"], given["output"], given["expected"])), ""
    except Exception as error:
        right, why = False, f"{type(error).__name__}: {error}"[:200]
    return json.dumps({"right": right, "why": why}).encode()
