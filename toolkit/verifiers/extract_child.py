"""The process in which a user's `extract` runs. It is started by its path, and imports no toolkit.

It reads messages from descriptor 0 and answers each over descriptor 1: 4 bytes of length, then
JSON. The first message is {source, name, cpu_seconds, wall_seconds, memory_bytes}; its answer is
{} once the file is executed. Each further one is {problem, text}; its answer is {answer}, a text or
null. Where the file or `extract` fails, the answer is {error}.

A timer ends the whole process where a call takes too long: no loop of C code keeps a signal from
that. What the file prints goes nowhere.
"""

import functools
import json
import os
import resource
import signal
import sys
import types
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH_BYTES = 4
MAX_CHARACTERS = 1_000_000
"""Of an answer."""
LOAD_SECONDS = 60.0
"""To execute the file: it may import what takes long."""


def main() -> None:
    """Serve until the requests end."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    given = _receive(requests)
    if given is None:
        return
    limit = given["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = types.ModuleType("own_judge")
    sys.modules["own_judge"] = module

    def load() -> dict[str, Any]:
        exec(compile(given["source"], given["name"], "exec", dont_inherit=True), module.__dict__)
        return {}

    _send(replies, _within(LOAD_SECONDS, LOAD_SECONDS, load))
    while (asked := _receive(requests)) is not None:
        call = functools.partial(_call, module.__dict__["extract"], asked)
        _send(replies, _within(given["cpu_seconds"], given["wall_seconds"], call))


def _call(extract: Callable[[Any, str], Any], asked: dict[str, Any]) -> dict[str, Any]:
    found = extract(asked["problem"], asked["text"])
    if found is not None and not isinstance(found, str):
        return {"error": f"gave {type(found).__name__}, not a text or None"}
    if found is not None and len(found) > MAX_CHARACTERS:
        return {"error": f"gave {len(found)} characters; an answer has {MAX_CHARACTERS} at most"}
    return {"answer": found}


def _within(cpu: float, wall: float, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the call gives, or the error that it raises; the process ends where it takes longer."""
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)
    try:
        return call()
    except BaseException as error:  # SystemExit too: the next text has its turn
        return {"error": f"{type(error).__name__}: {error}".removesuffix(": ")[:200]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _receive(file: BinaryIO) -> dict[str, Any] | None:
    head = file.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    found: dict[str, Any] = json.loads(file.read(int.from_bytes(head, "big")))
    return found


def _send(file: BinaryIO, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode()
    file.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    file.flush()


if __name__ == "__main__":
    main()
