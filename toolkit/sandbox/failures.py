"""What happened to a program that failed: the kind of failure, and a text that is never empty."""

import errno
import os
import re
import signal
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Final

from toolkit.records import FailureKind

_REFUSALS: Final = (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.ENETUNREACH)
_FILE: Final = "<string>"
"""The name that `exec` gives to a text."""
_NEWLINE: Final = re.compile(r"\r\n|\r|\n")
"""What ends a line for the compiler."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the lines of an ending stand in the numbers of lines that tracebacks give.

    lines_before: line j of the ending (from 1) has the number lines_before + j. Smaller numbers are
    lines of the program.
    """

    ending: str
    lines_before: int

    @classmethod
    def joined(cls, program: str, ending: str) -> "Source":
        """Of one text: the program, followed by the ending."""
        return cls(ending, len(_NEWLINE.findall(program)))


def describe(error: BaseException, source: Source) -> tuple[FailureKind, str]:
    """Kind and detail for the exception that a program, or its test, has raised."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    trace = _innermost(error.__traceback__)
    line, statement = _statement(trace, source) if trace else (0, "")
    match error:
        case Exception() if trace is None:  # not even compiled
            return "syntax", text
        case AssertionError() if line:
            said = f": {error}" if str(error) else ""
            return "wrong_answer", f"test line {line}: {statement}{said}"
        case NameError() if line and trace and trace.tb_frame.f_code.co_name == "<module>":
            return "no_function", text
    return kind_of(error), text


def kind_of(error: BaseException) -> FailureKind:
    """The kind of an exception, wherever it was raised."""
    match error:
        case MemoryError():
            return "memory"
        case SystemExit():
            return "exit"
        case OSError(errno=number) if number in _REFUSALS:
            return "refused"
    return "exception"


def describe_end(end: os.waitid_result) -> tuple[FailureKind, str]:
    """Kind and detail for a process that ended before its tests did."""
    if end.si_code == os.CLD_EXITED:
        return "exit", f"{describe_exit(end)} before the tests did"
    return "exit", f"{describe_exit(end)} before the tests ended"


def describe_exit(end: os.waitid_result) -> str:
    """How a process ended, as text."""
    if end.si_code == os.CLD_EXITED:
        return f"its process ended with status {end.si_status}"
    try:
        name = signal.Signals(end.si_status).name
    except ValueError:
        name = f"signal {end.si_status}"
    return f"its process was ended by {name}"


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    """The last entry of a traceback that is in the program or its ending."""
    last = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            last = trace
        trace = trace.tb_next
    return last


def _statement(trace: TracebackType, source: Source) -> tuple[int, str]:
    """Line number and text of the ending's statement that raised; (0, "") if the program did."""
    first, end = _lines(trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno)
    first, end = first - source.lines_before, end - source.lines_before
    if first < 1:
        return 0, ""
    lines = _NEWLINE.split(source.ending)[first - 1 : end]
    return first, " ".join(" ".join(lines).split())


def _lines(code: CodeType, instruction: int, line: int) -> tuple[int, int]:
    """First and last line of the expression that an instruction belongs to."""
    positions = list(code.co_positions())[instruction // 2]
    return positions[0] or line, positions[1] or line
