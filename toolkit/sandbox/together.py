"""Tame programs executed one after the other in one child of the worker.

The child decides which of the programs it was given are tame (`toolkit.sandbox.tame`) and
executes those, each with an empty globals dictionary, fresh streams, the same lots and at the
recursion depth that it has alone. It reports what became of each: believed, because a tame
program cannot reach what reports. Whatever is out of the ordinary has no verdict here and is
executed alone: a program that is not tame, takes long, needs much memory, runs out of stack or
memory, or takes the child with it.
So a batch can be in doubt about a program, but no load and no neighbour can change a verdict.
"""

import ast
import functools
import gc
import operator
import os
import random
import re
import resource
import select
import struct
import sys
import time
import typing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from toolkit.sandbox import harness, tame
from toolkit.sandbox.child import FAILED, PASSED, SLOW, UNFIT, Child

_GROWN: Final = b"G"
"""UNFIT, and the child has ended."""
_RECORD: Final = struct.Struct("=cfH")
"""Outcome, seconds, bytes of detail that follow: of the next candidate."""
_PATIENCE_SECONDS: Final = 0.25
_PATIENCE_SHARE: Final = 0.25
"""Of a program's timeout: what it may take here."""
_GROWTH_KIB: Final = 64 << 10
_LONGEST_TEST: Final = 1 << 16
_TYPING_CACHES: Final = tuple(getattr(typing, "_cleanups", ()))
_FRAMES_ABOVE: Final = 1
"""Makes a program start at the recursion depth that it has when it is alone."""


@dataclass(frozen=True, slots=True)
class SharedTest:
    """A problem's test and its call, compiled once for all programs of the problem."""

    text: str
    code: CodeType
    names: tame.Names


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that may turn out to be tame; `timeout` in seconds of its own time."""

    number: int
    text: str
    test: SharedTest
    timeout: float

    @property
    def patience(self) -> float:
        """Seconds that it may take here."""
        return min(_PATIENCE_SECONDS, _PATIENCE_SHARE * self.timeout)


@dataclass(frozen=True, slots=True)
class Found:
    """What a batch says of one program: the outcome, or UNFIT or SLOW."""

    number: int
    outcome: bytes
    seconds: float = 0.0
    detail: bytes = b""


def share_test(text: str) -> SharedTest | None:
    """None when it is not tame, so that programs of this problem are executed alone."""
    if len(text) > _LONGEST_TEST:
        return None
    try:
        tree = _parse(text)
        names = tame.tame_test(tree)
        return SharedTest(text, compile(tree, "<string>", "exec"), names) if names else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parse(text: str) -> ast.Module:
    # The name of the file and the mode are those of `exec`: they show in messages.
    tree = compile(text, "<string>", "exec", ast.PyCF_ONLY_AST)
    assert isinstance(tree, ast.Module)
    return tree


def execute_batch(candidates: Sequence[Candidate], report: int) -> None:
    """In the child: execute what is tame and write a record for each candidate to `report`.

    Ends early when a program has left much memory behind.
    """
    lots = random.getstate()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for candidate in candidates:
        started = time.process_time()
        outcome, detail = _outcome(candidate)
        _forget(lots)
        seconds = time.process_time() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > _GROWTH_KIB
        if grown or seconds > candidate.patience:
            outcome, detail = (_GROWN if grown else SLOW), b""
        os.write(report, _RECORD.pack(outcome, seconds, len(detail)) + detail)
        if grown:
            return


def _outcome(candidate: Candidate) -> tuple[bytes, bytes]:
    scope: dict[str, object] = {}
    try:
        try:
            tree = _parse(candidate.text)
        except (SyntaxError, ValueError):
            # Joined with its test it may mean something else; if not, that is the message.
            compile(candidate.text + candidate.test.text, "<string>", "exec")
            return UNFIT, b""
        if not tame.is_tame(tree, candidate.test.names):
            return UNFIT, b""
        code = compile(tree, "<string>", "exec")
        del tree
        sys.stdout = sys.stderr = sys.stdin = harness.WriteOnlyStringIO()
        ended: list[bool] = []
        codes = code, candidate.test.code
        harness.at_depth(_FRAMES_ABOVE, functools.partial(_run, codes, scope, ended))
        # Without a mark it raised StopIteration, which `map` takes for the end of the steps.
        return (PASSED if ended else FAILED), b""
    except (RecursionError, MemoryError):
        return UNFIT, b""
    except BaseException as error:
        return FAILED, harness.message(error)
    finally:
        scope.clear()


def _run(codes: Sequence[CodeType], scope: dict[str, object], ended: list[bool]) -> None:
    # As in the harness, which has as many calls in C.
    steps = [functools.partial(exec, code, scope) for code in codes]
    deque(map(operator.call, [*steps, functools.partial(ended.append, True)]), maxlen=0)


def _forget(lots: tuple[Any, ...]) -> None:
    """Leave nothing of a program to the next: values in cycles, cached by equality, lots drawn."""
    gc.collect()
    for clear in (re.purge, *_TYPING_CACHES):
        clear()
    random.setstate(lots)


def watch(
    candidates: Sequence[Candidate], child: Child, look_up: Callable[[], None]
) -> Iterator[Found]:
    """In the worker: what the child reports of a beginning of `candidates`, as it comes.

    The last of them is SLOW when the child computed too long for it and UNFIT when the child died;
    the rest is for another child. `look_up` is called now and then.
    """
    poll = select.poll()
    poll.register(child.report, select.POLLIN)
    waiting = deque(candidates)
    inbox, since = b"", 0.0
    while waiting:
        patience = waiting[0].patience
        while not poll.poll(1000 * patience):
            look_up()
            if child.seconds_computed() > since + patience:
                yield Found(waiting[0].number, SLOW)
                return
        data = os.read(child.report, 1 << 16)
        if not data:
            yield Found(waiting[0].number, UNFIT)
            return
        inbox += data
        while len(inbox) >= _RECORD.size:
            outcome, seconds, size = _RECORD.unpack_from(inbox)
            end = _RECORD.size + size
            if len(inbox) < end:
                break
            detail, inbox = inbox[_RECORD.size : end], inbox[end:]
            number = waiting.popleft().number
            if outcome == _GROWN:
                yield Found(number, UNFIT)
                return
            since += seconds
            yield Found(number, outcome, seconds, detail)
