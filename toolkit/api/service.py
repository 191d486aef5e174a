"""Judges a stream: programs come in as lines of JSON, verdicts go out as lines of JSON.

One thread reads. The caller's thread writes each verdict when it is there. Between them are at most
`in_flight` lines: who reads the verdicts slowly is not sent more, and then reads no more programs.
"""

import heapq
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from toolkit.api.judging import SIGNAL_SECONDS, Judge
from toolkit.errors import ToolkitError, UsageError
from toolkit.records import Verdict

MOST_LINE_BYTES = 64 << 20
"""A longer line is refused: it must fit the memory, and no answer is so long."""
TEXTS = ("completion", "solution")
"""Fields that are not sent back."""


@dataclass(slots=True)
class Served:
    """What became of a stream, in lines: judged, of these undecided (`error`), and refused.

    first: of the first refused line, its number and what is wrong with it.
    """

    judged: int = 0
    undecided: int = 0
    refused: int = 0
    first: str = ""


@dataclass(slots=True, order=True)
class _Line:
    """A line to answer, and its verdict, or what is wrong with it (`found`).

    position: among the lines that get an answer, from 0. number: among all lines, from 1.
    """

    position: int
    number: int = field(compare=False)
    row: dict[str, Any] = field(compare=False)
    found: Verdict | Exception = field(compare=False)


class _End(NamedTuple):
    """The stream has ended after so many lines. error: what has ended it, if not its end."""

    lines: int
    error: BaseException | None = None


_Out = queue.SimpleQueue[_Line | _End]


def serve(
    judge: Judge,
    source: int,
    write: Callable[[bytes], object],
    flush: Callable[[], object],
    *,
    in_flight: int,
    ordered: bool = False,
) -> Served:
    """Judge the lines of the descriptor `source` until it ends; `write` gets the answers.

    A line is a JSON object with task_id and completion, or solution. Its answer has all its other
    fields, `line`, and the verdict: passed, outcome, kind, detail, suspect, seconds, canonical. A
    line that cannot be judged is answered by `error` in place of a verdict. Answers come as they
    are reached, or in the order of the lines if `ordered`. `flush` is called when none waits.
    Raises `OSError` if the source cannot be read, and whatever `write` raises.
    """
    out: _Out = queue.SimpleQueue()
    room = threading.Semaphore(in_flight)
    threading.Thread(target=_read, args=(judge, source, room, out), daemon=True).start()
    served, total = Served(), None
    waiting: list[_Line] = []
    written = 0
    while total is None or written < total:
        try:
            item = out.get(timeout=SIGNAL_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            total = item.lines
            continue
        heapq.heappush(waiting, item)
        while waiting and (not ordered or waiting[0].position == written):
            line = heapq.heappop(waiting)
            write(_answer(line, served))
            written += 1
            room.release()
        if out.empty():
            flush()
    flush()
    return served


def _read(judge: Judge, source: int, room: threading.Semaphore, out: _Out) -> None:
    """In a thread: submit line after line, as there is room."""
    count = 0
    try:
        for number, data in lines_of(source):
            if data is not None and not data.strip():
                continue
            room.acquire()
            _submit(judge, _Line(count, number, {}, UsageError("")), data, out)
            count += 1
        out.put(_End(count))
    except BaseException as error:
        out.put(_End(count, error))


def _submit(judge: Judge, line: _Line, data: bytes | None, out: _Out) -> None:
    """Ask for the verdict of a line; `out` gets it, or what is wrong with the line."""
    try:
        line.row = _row(data)
        fields: dict[str, Any] = {name: line.row.get(name) for name in ("task_id", *TEXTS)}
        future = judge.submit(**fields)
    except UsageError as error:
        line.found = error
        out.put(line)
    else:
        future.add_done_callback(partial(_answered, line, out))


def _answered(line: _Line, out: _Out, future: "Future[Verdict]") -> None:
    error = future.exception()
    line.found = future.result() if error is None else ToolkitError(str(error))
    out.put(line)


def _row(data: bytes | None) -> dict[str, Any]:
    if data is None:
        raise UsageError(f"longer than {MOST_LINE_BYTES >> 20} MiB")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UsageError("not a JSON object")
    return row


def _answer(line: _Line, served: Served) -> bytes:
    """The answer to a line, as a line; counted in `served`."""
    echo = {k: v for k, v in line.row.items() if k not in TEXTS} | {"line": line.number}
    if isinstance(line.found, Exception):
        served.refused += 1
        served.first = served.first or f"line {line.number}: {line.found}"
        found: dict[str, Any] = {"error": str(line.found)}
    else:
        verdict = line.found
        served.judged += 1
        served.undecided += verdict.outcome == "error"
        found = {
            "passed": verdict.outcome == "passed",
            "outcome": verdict.outcome,
            "kind": verdict.kind,
            "detail": verdict.detail,
            "suspect": list(verdict.suspect),
            "seconds": round(verdict.seconds, 4),
            "canonical": verdict.canonical,
        }
    return (json.dumps(echo | found) + "\n").encode()


def lines_of(source: int) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line) as lines come; None for one of more than `MOST_LINE_BYTES`.

    It reads the descriptor itself: a thread that waits in Python's own reader of stdin holds its
    lock, and the process could not end.
    """
    number, size, parts = 1, 0, list[bytes]()
    while data := os.read(source, 1 << 16):
        *ended, rest = data.split(b"\n")
        for piece in ended:
            whole = b"".join([*parts, piece])
            yield number, None if size + len(piece) > MOST_LINE_BYTES else whole
            number, size, parts = number + 1, 0, []
        size += len(rest)
        if size <= MOST_LINE_BYTES:
            parts.append(rest)
        else:
            parts = []
    if size:
        yield number, None if size > MOST_LINE_BYTES else b"".join(parts)
