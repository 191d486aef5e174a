"""Tame programs executed one after the other in one child of the worker, which they share.

The child decides which programs of a batch are tame (`toolkit.sandbox.tame`), and executes those.
Each gets what it has when it is alone: an empty globals dictionary, fresh streams, the same
recursion depth. The child reports what became of each program.

The worker takes any report that is one, passes too. The supervisor does not believe it yet
(`toolkit.sandbox.trust`).

Whatever is out of the ordinary has no verdict here, and is executed alone: a program that

- is not tame,
- takes long,
- needs much memory, or leaves the child without memory or stack,
- takes the child with it,
- is still waiting for its turn when the batch has taken too long.

So no load changes a verdict.
"""

import ast
import functools
import gc
import operator
import os
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
from typing import Final, cast

from toolkit.records import FAILURE_KINDS, FailureKind
from toolkit.sandbox import failures, harness, tame
from toolkit.sandbox.child import Child
from toolkit.sandbox.protocol import FAILED, PASSED, SLOW, UNFIT

_GROWN: Final = b"G"
"""UNFIT, and the child has ended: the program left much memory behind."""
_RECORD: Final = struct.Struct("=cBfH")
"""Code, index of the kind, seconds, bytes of detail that follow: of the next candidate."""
_LINES_BEFORE: Final = 1_000_000
"""What is added to the numbers of lines in an ending, so that they are not those of a program."""
_ALLOWANCE_SECONDS: Final = 0.25
_ALLOWANCE_SHARE: Final = 0.25
"""A program may take this share of its timeout here, and no more than these seconds."""
MAX_WALL_SECONDS: Final = 10.0
"""A batch that takes longer is broken off. Nothing tame sleeps, but what is not might."""
_MAX_GROWTH_KIB: Final = 64 << 10
_MAX_ENDING: Final = 1 << 16
"""Characters; a longer ending is not parsed, and its programs are executed alone."""
_TYPING_CACHES: Final = tuple(getattr(typing, "_cleanups", ()))
_FRAMES_ABOVE: Final = 1
"""Makes a program start at the recursion depth that it has when it is alone."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The text that follows each program of a problem, compiled once for all of them.

    `names`: those that it binds and reads.
    """

    text: str
    compiled: CodeType
    names: tame.EndingNames


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that may turn out to be tame; `timeout` in seconds of its own time."""

    number: int
    text: str
    ending: Ending
    timeout: float

    @property
    def allowance(self) -> float:
        """Seconds of CPU time that it may take here."""
        return min(_ALLOWANCE_SECONDS, _ALLOWANCE_SHARE * self.timeout)


@dataclass(frozen=True, slots=True)
class Result:
    """What the shared child says of one program: `code` is a verdict, or UNFIT or SLOW."""

    number: int
    code: bytes
    seconds: float = 0.0
    kind: FailureKind = ""
    detail: bytes = b""


def compile_ending(text: str) -> Ending | None:
    """None when it is not tame, so that programs of this problem are executed alone."""
    if len(text) > _MAX_ENDING:
        return None
    try:
        names = tame.tame_ending(text)
        tree = _parse(text)
        ast.increment_lineno(tree, _LINES_BEFORE)
        return Ending(text, compile(tree, "<string>", "exec"), names) if names else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parse(text: str) -> ast.Module:
    # The name of the file and the mode are those of `exec`: they show in messages.
    tree = compile(text, "<string>", "exec", ast.PyCF_ONLY_AST)
    assert isinstance(tree, ast.Module)
    return tree


def execute_batch(batch: Sequence[Candidate], pipe: int) -> None:
    """In the child: execute what is tame, and write a record for each candidate to `pipe`.

    Ends early when a program has left much memory behind.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for candidate in batch:
        started = time.process_time()
        code, kind, detail = _execute(candidate)
        _set_back()
        seconds = time.process_time() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > _MAX_GROWTH_KIB
        if grown or seconds > candidate.allowance:
            code, kind, detail = (_GROWN if grown else SLOW), "", b""
        index = FAILURE_KINDS.index(kind)
        os.write(pipe, _RECORD.pack(code, index, seconds, len(detail)) + detail)
        if grown:
            return


def _execute(candidate: Candidate) -> tuple[bytes, FailureKind, bytes]:
    """Code, kind and detail."""
    scope: dict[str, object] = {}
    try:
        try:
            tree = _parse(candidate.text)
        except (SyntaxError, ValueError):
            # Joined with its ending it may mean something else; if not, that is the message.
            compile(candidate.text + candidate.ending.text, "<string>", "exec")
            return UNFIT, "", b""
        if not tame.is_tame(tree, candidate.ending.names):
            return UNFIT, "", b""
        compiled = compile(tree, "<string>", "exec")
        del tree
        sys.stdout = sys.stderr = sys.stdin = harness.WriteOnlyStringIO()
        ended: list[bool] = []
        texts = compiled, candidate.ending.compiled
        harness.at_depth(_FRAMES_ABOVE, functools.partial(_run_steps, texts, scope, ended))
        if not ended:  # it raised StopIteration, which `map` took for the end of the steps
            return UNFIT, "", b""
        return PASSED, "", b""
    except (RecursionError, MemoryError):
        return UNFIT, "", b""
    except BaseException as error:
        source = failures.Source(candidate.ending.text, _LINES_BEFORE)
        kind, text = failures.describe(error, source)
        return FAILED, kind, harness.cut(text)
    finally:
        scope.clear()


def _run_steps(texts: Sequence[CodeType], scope: dict[str, object], ended: list[bool]) -> None:
    # As in the harness, which has as many calls in C.
    steps = [functools.partial(exec, text, scope) for text in texts]
    deque(map(operator.call, [*steps, functools.partial(ended.append, True)]), maxlen=0)


def _set_back() -> None:
    """Leave nothing of a program to the next: values in cycles, caches by equality."""
    gc.collect()
    for clear in (re.purge, *_TYPING_CACHES):
        clear()


def read_results(
    batch: Sequence[Candidate],
    child: Child,
    deadline: float,
    check_supervisor: Callable[[], None],
) -> Iterator[Result]:
    """In the worker: the results of a first part of `batch`, as they come; the rest is for another
    child.

    The last result is SLOW when the child computed too long, and UNFIT when it died. At `deadline`
    (monotonic seconds) all that is left is UNFIT. `check_supervisor` is called now and then.
    """
    poll = select.poll()
    poll.register(child.pipe, select.POLLIN)
    waiting = deque(batch)
    inbox, accounted, heard = b"", 0.0, False
    while waiting:
        if (left := deadline - time.monotonic()) <= 0:
            yield from (Result(candidate.number, UNFIT) for candidate in waiting)
            return
        if not poll.poll(1000 * min(waiting[0].allowance, left)):
            check_supervisor()
            used = child.main_thread_seconds()
            if heard:  # the clock is not read at each report: what it says now, others used
                accounted, heard = used, False
            elif used > accounted + waiting[0].allowance:
                yield Result(waiting[0].number, SLOW)
                return
            continue
        data = os.read(child.pipe, 1 << 16)
        if not data:
            yield Result(waiting[0].number, UNFIT)
            return
        heard = True
        inbox += data
        while waiting and len(inbox) >= _RECORD.size:
            code, kind, seconds, size = _RECORD.unpack_from(inbox)
            end = _RECORD.size + size
            if len(inbox) < end:
                break
            detail, inbox = inbox[_RECORD.size : end], inbox[end:]
            yield _result(waiting.popleft(), code, kind, seconds, detail)
            if code == _GROWN:
                return


def _result(candidate: Candidate, code: bytes, kind: int, seconds: float, detail: bytes) -> Result:
    """What a record says. The child wrote it, and perhaps a program in it: it may hold anything."""
    if code == SLOW:
        return Result(candidate.number, SLOW)
    verdict = code in (PASSED, FAILED) and kind < len(FAILURE_KINDS)
    if not verdict or (code == PASSED) != (kind == 0) or not 0 <= seconds <= candidate.allowance:
        return Result(candidate.number, UNFIT)
    name = cast(FailureKind, FAILURE_KINDS[kind])
    return Result(candidate.number, code, seconds, name, detail)
