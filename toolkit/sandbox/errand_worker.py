"""The worker that does errands: it forks a child for each, and answers with what that wrote.

A child calls one function of this toolkit with the errand's payload. What counts is how its process
ended, and what came through its descriptor 1: what the function returned, or what a program has
written that it executed. Neither is evaluated here. A failure is told beside, over a socket.

The errand that follows upon another may be done by the same child, if that is quick and tells that
it waits. It waits a moment only. So a program that pretends to wait gains no time.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from os import dup2  # a program may replace it in `os`
from pathlib import Path
from typing import Any, Final, NoReturn

from toolkit.sandbox import confine, errand_child, forking, protocol
from toolkit.sandbox.child import Child
from toolkit.sandbox.errand_child import Following, Function
from toolkit.sandbox.errand_monitor import ErrandMonitor
from toolkit.sandbox.errands import wall_limit
from toolkit.sandbox.forking import ForkingWorker
from toolkit.sandbox.scratch import unnamed_file

_SPARE_CPU_SECONDS: Final = 2
_PARTS_AT_ONCE: Final = 16
"""Of an answer; the kernel takes 1,024 at most."""
_WAIT_SECONDS: Final = 0.05
"""So long a child waits for an errand that follows: nobody looks at what its processes do."""
_MOST_SECONDS: Final = 0.1
"""A child whose errands took longer, all together, gets no other. A process would save it little,
and its limit of CPU time would come near.
"""


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
        self._waiting: Child | None = None
        self._seconds = 0.0  # of all the errands of that child
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Do errands until the supervisor closes the channel."""
        while True:
            self._let_wait()
            head = self._receive(protocol.ERRAND.size)
            number, timeout, follows, more, payload_bytes, stdin_bytes = protocol.ERRAND.unpack(
                head
            )
            if stdin_bytes or not follows:
                self._let_go()
            payload = self._receive(payload_bytes)
            stdin = self._receive(stdin_bytes)
            found = self._do(timeout, payload, stdin, more=more)
            self._answer(number, found)
            # A child has a copy of this process's memory: also of what is no longer in use.
            for data in (memoryview(payload), memoryview(stdin), *found.output):
                data[:] = bytes(len(data))

    def _answer(self, number: int, found: ErrandMonitor) -> None:
        load = protocol.BUSY if found.is_doubtful else protocol.QUIET
        head = protocol.result_head(
            number,
            found.code,
            load,
            found.seconds,
            found.kind,
            found.detail,
            sum(map(len, found.output)),
            waits=self._waiting is not None,
        )
        # At once, as each message wakes the supervisor; but no copy of the output stays here.
        parts = [memoryview(head), *found.output]
        sent = self._channel.sendmsg(parts[:_PARTS_AT_ONCE])
        for part in parts:
            if sent < len(part):
                self._channel.sendall(part[sent:])
            sent = max(sent - len(part), 0)

    def _let_wait(self) -> None:
        """Give the child that waits a moment for the next errand to come."""
        if self._waiting:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            if not poll.poll(_WAIT_SECONDS * 1000):
                self._let_go()

    def _let_go(self) -> None:
        """End the child that waits, if there is one."""
        if child := self._waiting:
            self._waiting = None
            self._clean_up(child)

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

    def _do(
        self, timeout: float, payload: bytearray, stdin: bytearray, *, more: bool
    ) -> ErrandMonitor:
        started = time.monotonic()
        source = unnamed_file(stdin) if stdin else os.open(os.devnull, os.O_RDONLY)
        output, output_end = os.pipe()
        if not (child := self._go_on(Following(payload, more), source, output_end)):
            self._seconds = 0.0
            action = self._action(payload, source, (output, output_end), more=more)
            child = self._fork(action, int(timeout) + _SPARE_CPU_SECONDS)
        os.close(output_end)
        os.close(source)  # before the scratch place is looked at: the file lies in it
        found = ErrandMonitor(
            child,
            output,
            started,
            timeout,
            self._tree_bytes,
            self._output_bytes,
            may_wait=more and self._confinement.pid_namespace,
        )
        wall = wall_limit(timeout, self._wall_seconds)
        try:
            found.decide(started + wall, self._check_supervisor)
            self._seconds += found.seconds
            if found.waits and self._seconds < _MOST_SECONDS:
                self._waiting = child
        finally:
            if not self._waiting:
                self._clean_up(child)
            os.close(output)
        return found

    def _go_on(self, following: Following, source: int, output: int) -> Child | None:
        """Let the child that waits do this errand; None if there is none."""
        child, self._waiting = self._waiting, None
        if child:
            child.begin_anew()
        if child and not errand_child.send_following(child.pipe, following, source, output):
            self._clean_up(child)
            return None
        return child

    def _action(
        self, payload: bytearray, source: int, ends: tuple[int, int], *, more: bool
    ) -> Callable[[int], None]:
        """What a child does for this errand; `ends` of the pipe for its output."""
        output, output_end = ends

        def action(pipe: int) -> None:
            os.close(output)
            dup2(source, 0)
            dup2(output_end, 1)
            os.close(source)
            os.close(output_end)
            errand_child.call(self._function, bytes(payload), pipe, more=more)

        return action


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
