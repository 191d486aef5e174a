"""Executes a user's own judge on one answer.

It runs in the child of an errand. The payload is a JSON object {source, name, problem, answer}.
`source` is Python source that defines `judge(problem, answer)`; `name` is its file's. `problem` is
an object. The modules that the source imports at its top are loaded already, before the fork.
"""

import json
import sys
import types
from typing import Any

MODULE = "own_judge"
"""The name under which the source is executed."""


def run(payload: bytes) -> bytes:
    """The judge's word as JSON: {passed, canonical}, or {error} where it says none.

    Whatever the source raises is an error of the judge, also what ends a process. Only a lack of
    memory is the answer's: the limit is one of the answer.
    """
    given = json.loads(payload)
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        code = compile(given["source"], given["name"], "exec", dont_inherit=True)
        exec(code, module.__dict__)
        said = word(module.__dict__["judge"](given["problem"], given["answer"]))
    except MemoryError:
        raise
    except BaseException as error:
        said = {"error": f"{type(error).__name__}: {error}".removesuffix(": ")}
    return json.dumps(said).encode()


def word(found: object) -> dict[str, Any]:
    """What `judge` has returned, as {passed, canonical}; {error} for what it must not return."""
    passed, canonical = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    if not isinstance(passed, bool):
        what = f"judge gave {type(passed).__name__}"
        return {"error": f"{what}, not True or False, or a pair of that and a text"}
    if canonical is not None and not isinstance(canonical, str):
        what = type(canonical).__name__
        return {"error": f"judge gave {what} as the canonical form, not a text or None"}
    return {"passed": passed, "canonical": canonical or ""}
