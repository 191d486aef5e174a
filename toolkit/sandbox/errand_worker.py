"""The worker that does errands: it forks a child for each, and answers with what that wrote.

A child calls one function of this toolkit with the errand's payload. What counts is how its process
ended, and what came through its descriptor 1: what the function returned, or what a program has
written that it executed. Neither is evaluated here. A failure is told beside, over a socket.
"""

import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from os import _exit, dup2, getpid, write  # a program may replace them in `os`
from pathlib import Path
from typing import Any, Final, NoReturn

from toolkit.records import FAILURE_KINDS, FailureKind
from toolkit.sandbox import confine, failures, forking, linux, protocol
from toolkit.sandbox.errand_monitor import REPORT_BYTES, ErrandMonitor
from toolkit.sandbox.forking import ForkingWorker

_WALL_SHARE: Final = 8
"""So many times its timeout an errand may take by the wall clock, on a crowded machine."""
_SPARE_CPU_SECONDS: Final = 2

Function = Callable[[bytes], bytes]


class ErrandFailed(Exception):
    """Raised by a function that knows the kind of failure itself."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class ErrandWorker(ForkingWorker):
    """Forks for the errands that come over `channel`."""

    def __init__(
        self,
        channel: socket.socket,
        confinement: confine.Confinement,
        setup: protocol.ErrandSetup,
        function: Function,
    ) -> None:
        super().__init__(channel, confinement)
        self._wall_seconds = float(setup["limits"]["wall_seconds"])
        self._tree_bytes = int(setup["limits"]["tree_bytes"])
        self._output_bytes = setup["output_bytes"]
        self._function = function
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Do errands until the supervisor closes the channel."""
        while True:
            head = self._receive(protocol.ERRAND.size)
            number, timeout, payload_bytes, stdin_bytes = protocol.ERRAND.unpack(head)
            payload = self._receive(payload_bytes)
            stdin = self._receive(stdin_bytes)
            found = self._do(timeout, payload, stdin)
            load = protocol.BUSY if found.is_doubtful else protocol.QUIET
            size = sum(map(len, found.output))
            self._channel.sendall(
                protocol.result_head(
                    number, found.code, load, found.seconds, found.kind, found.detail, size
                )
            )
            for part in found.output:
                self._channel.sendall(part)
            # A child has a copy of this process's memory: also of what is no longer in use.
            for data in (memoryview(payload), memoryview(stdin), *found.output):
                data[:] = bytes(len(data))

    def _receive(self, size: int) -> bytearray:
        """Exactly so many bytes: a child inherits nothing of errands to come."""
        data = bytearray(size)
        with memoryview(data) as view:
            received = 0
            while received < size:
                if not (count := self._channel.recv_into(view[received:])):
                    raise EOFError
                received += count
        return data

    def _do(self, timeout: float, payload: bytearray, stdin: bytearray) -> ErrandMonitor:
        started = time.monotonic()
        source = _file_of(stdin)
        output, output_end = os.pipe()

        def action(pipe: int) -> None:
            os.close(output)
            dup2(source, 0)
            dup2(output_end, 1)
            os.close(source)
            os.close(output_end)
            _call(self._function, bytes(payload), pipe)

        child = self._fork(action, int(timeout) + _SPARE_CPU_SECONDS)
        os.close(output_end)
        os.close(source)  # before the scratch place is looked at: the file lies in it
        found = ErrandMonitor(child, output, started, timeout, self._tree_bytes, self._output_bytes)
        wall = max(self._wall_seconds, _WALL_SHARE * timeout)
        try:
            found.decide(started + wall, self._check_supervisor)
        finally:
            self._clean_up(child)
            os.close(output)
        return found


def _file_of(data: bytearray) -> int:
    """A descriptor at the beginning of a file with these data, which has no name."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY)
    with tempfile.TemporaryFile(dir=".", buffering=0) as file:
        written = 0
        with memoryview(data) as view:
            while written < len(view):
                written += file.write(view[written:])
        file.seek(0)
        return os.dup(file.fileno())


def _call(function: Function, payload: bytes, pipe: int) -> None:
    """In the child: write what the function returns, or tell over the pipe why it failed."""
    itself = getpid()
    try:
        left = memoryview(function(payload))
        while left:
            left = left[write(1, left) :]
    except BaseException as error:
        if getpid() == itself:  # what a process says that it has started counts for nothing
            _tell(error, pipe)
        _exit(linux.EXIT_STATUS)


def _tell(error: BaseException, pipe: int) -> None:
    if isinstance(error, ErrandFailed):
        kind, detail = error.kind, str(error)
    else:
        kind = failures.kind_of(error)
        detail = f"{type(error).__name__}: {error}".removesuffix(": ")
    report = protocol.FAILED + bytes([FAILURE_KINDS.index(kind)])
    write(pipe, report + detail.encode("utf-8", "backslashreplace")[: REPORT_BYTES - len(report)])


def start() -> NoReturn:
    """Where the process begins that the supervisor starts."""
    channel, setup = forking.take_channel()
    # What a function prints is no result: that is what comes through descriptor 1.
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        module, function = _load(setup["function"])
    except Exception as error:
        forking.refuse(channel, confine.MechanismFailed("function", _text(error)))
        sys.exit(1)

    def get_ready(confinement: confine.Confinement) -> ErrandWorker:
        worker = ErrandWorker(channel, confinement, setup, function)
        try:
            if prepare := getattr(module, "prepare", None):
                prepare(setup["libraries"])
            else:
                for name in setup["libraries"]:
                    importlib.import_module(name)
        except ImportError as error:
            raise confine.MechanismFailed("libraries", str(error)) from error
        gc.collect()
        gc.freeze()
        return worker

    forking.main(channel, setup, get_ready, setup["readable"])
    sys.exit(0)


def _load(function: str) -> tuple[Any, Function]:
    """The module and the function that `package.module:name` names.

    It is imported before the confinement, which shows no source of this package.
    """
    name, _, attribute = function.partition(":")
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    try:
        module = importlib.import_module(name)
    finally:
        del sys.path[0]
    return module, getattr(module, attribute)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
