"""Executes a program as the interpreter would: as `__main__`, with real descriptors.

It runs in the child of an errand (`toolkit.sandbox.errand_worker`). The payload is a JSON object
{program, function, inputs}, the last two optional. The input is what descriptor 0 gives, the output
is what goes to descriptor 1. What it should be is nowhere near.

- Without `function` the program is executed whole. At its end this does as the interpreter does: it
  waits for the program's threads, calls what was registered with `atexit`, and lets go of the
  program's objects. So files of its own write what they still hold.
- With `function` the program defines one of this name, or a class `Solution` with such a method. It
  is called with the arguments in the input, a JSON list. The output is its value as JSON.
- With `inputs`, a list of texts, it is executed for each of them in turn, in one process. Each has
  files of its own at descriptors 0 and 1. The output has those of all, each after its length.

A child that does several errands compiles a program once. Each execution finds the random numbers
as they are in a process of its own.
"""

import atexit
import builtins
import contextlib
import gc
import io
import json
import random
import sys
import threading
from collections.abc import Sequence
from os import close, dup, dup2, pread
from types import CodeType, ModuleType
from typing import Any, Final

from toolkit.sandbox import imports
from toolkit.sandbox.errand_child import ErrandFailed
from toolkit.sandbox.protocol import part
from toolkit.sandbox.scratch import unnamed_file

_FILE: Final = "program.py"
_BUFFER_BYTES: Final = 1 << 16
_finish_threads = threading._shutdown  # type: ignore[attr-defined]
_finish = atexit._run_exitfuncs
_recursion_limit: Final = sys.getrecursionlimit()


_OFFERED: Final = """
    string re datetime collections heapq bisect copy math random statistics itertools functools
    operator io sys json builtins typing
"""
"""Modules whose names a function finds imported, as on the sites that pose such problems."""
_offered: Final[dict[str, Any]] = {}
_compiled: Final[dict[str, CodeType]] = {}
_random_state: Final = random.Random(0).getstate()
_set_random_state: Final = random.setstate


def prepare(libraries: Sequence[str]) -> None:
    """Before the first fork: import what programs may and commonly do import, close the rest.

    Raises `ImportError` if a library is missing.
    """
    imports.offer(libraries)
    _set_random_state(_random_state)  # a program draws the same random numbers in every worker
    sys.argv[:] = [_FILE]
    for name in _OFFERED.split():
        exec(f"from {name} import *\nimport {name}", _offered)


def run(payload: bytes) -> bytes:
    """Execute the program; the value of its function as JSON, if one is asked for.

    Raises what the program raises, `SystemExit` only for a status that is not 0.
    """
    given = json.loads(payload)
    program = given["program"]
    if (code := _compiled.get(program)) is None:
        try:
            code = _compiled[program] = compile(program, _FILE, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
            raise ErrandFailed("syntax", f"{type(error).__name__}: {error}") from None
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
    function = given.get("function") or ""
    if "inputs" in given:
        return _in_turn(code, function, given["inputs"])
    return _once(code, function)


def _once(code: CodeType, function: str) -> bytes:
    sys.setrecursionlimit(_recursion_limit + _depth())  # as deep as a program by itself
    if function:
        return _value(code, function)
    _execute(code)
    return b""


def _in_turn(code: CodeType, function: str, inputs: list[str]) -> bytes:
    """The outputs for all inputs, each after its length."""
    result = dup(1)
    parts = []
    for text in inputs:
        given, taken = unnamed_file(text.encode("utf-8", "surrogatepass")), unnamed_file()
        dup2(given, 0)
        dup2(taken, 1)
        _set_random_state(_random_state)
        value = _once(code, function)
        parts.append(part(_read_at_start(taken) + value))
        close(given)
        close(taken)
    dup2(result, 1)
    return b"".join(parts)


def _read_at_start(file: int) -> bytes:
    """All of a file, whatever is read or written through other descriptors of it."""
    parts, size = [], 0
    while part_read := pread(file, _BUFFER_BYTES, size):
        parts.append(part_read)
        size += len(part_read)
    return b"".join(parts)


def _execute(code: CodeType) -> None:
    _open_streams()
    itself = ModuleType("__main__")
    itself.__dict__.update(__builtins__=builtins, __file__=_FILE)
    sys.modules["__main__"] = itself
    try:
        exec(code, itself.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
        del end
    _finish_threads()
    _finish()
    _let_go(itself)


def _value(code: CodeType, function: str) -> bytes:
    """What the function returns for the arguments in the input."""
    arguments = json.loads(_read_all(0))
    space: dict[str, Any] = {**_offered, "__name__": "program"}
    exec(code, space)
    solution: Any = space.get("Solution")
    found = getattr(solution(), function) if isinstance(solution, type) else space.get(function)
    if found is None:
        raise ErrandFailed("no_function", f"the program defines no {function}")
    return json.dumps(found(*arguments)).encode()


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _open_streams() -> None:
    """The standard streams on their descriptors, as the interpreter opens them for files."""
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        raw = io.FileIO(descriptor, mode, closefd=False)
        buffer = (
            io.BufferedReader(raw, _BUFFER_BYTES)
            if mode == "r"
            else io.BufferedWriter(raw, _BUFFER_BYTES)
        )
        errors = "surrogateescape" if descriptor < 2 else "backslashreplace"
        stream = io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=descriptor == 2)
        stream.mode = mode  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _depth() -> int:
    """How many frames are above a program that `run` executes."""
    frame, count = sys._getframe(1).f_back, 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count


def _let_go(program: ModuleType) -> None:
    """Write what is still held: by the streams, and by objects that only the program knew.

    Raises `OSError` or `ValueError` where the standard output cannot be written.
    """
    output = sys.stdout
    if not getattr(output, "closed", False):
        output.flush()
    program.__dict__.clear()
    gc.collect()
    with contextlib.suppress(Exception):
        sys.__stdout__.flush()  # type: ignore[union-attr]
