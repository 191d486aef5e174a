"""An engine in a process of its own, as a backend of the task.

Whatever the engine does, the task goes on within a second: no call here waits longer. So it can
answer signals while the engine starts, works, or hangs. It ends an engine by killing it, also at a
normal end: nothing of an engine needs a tidy one. `toolkit.backends.engine_host` is the other side.
"""

import contextlib
import fcntl
import logging
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from toolkit.backends.engine_host import Failed, Started, Steps
from toolkit.backends.engine_watch import EngineWatch, Limits
from toolkit.backends.processes import adopt_orphans, how_it_ended, kill, of_session
from toolkit.config import Config
from toolkit.errors import EngineFailure, EngineRefused, StartInterrupted, UsageError
from toolkit.records import EngineFacts, Load, Request, Sample

log = logging.getLogger(__name__)

STEP_SECONDS = 1.0
"""The longest time that a call here waits for the engine."""
END_SECONDS = 7.0
"""How long the guard may take to end an engine. Then the task does it."""
FORCE_SECONDS = 2.0
LONGEST_FOLDER = 60
"""A socket's path has at most 107 characters. vLLM adds 37 to that of the folder."""
LAST_WORDS = (
    re.compile(r"(Worker proc \S+ died unexpectedly \(exit code: [^)]*\))"),
    re.compile(r"\b((?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception): .+)"),
)
"""Lines of the engine that tell why it ended; the first kind tells more."""
EMPTY_WORDS = ("EngineDeadError", "root cause", "RuntimeError: cancelled")
"""Errors that only repeat that something died."""


class EngineProcess:
    """Its constructor returns when the engine is up."""

    def __init__(
        self,
        config: Config,
        engine: str,
        stop_requested: Callable[[], bool],
        limits: Limits | None = None,
        surroundings: Mapping[str, str] | None = None,
    ) -> None:
        """engine: "module:class". It is called with the configuration and a folder for its files.

        surroundings: variables of its environment that are not the task's, such as its GPUs.

        Raises `StartInterrupted` if a stop is requested meanwhile, `EngineRefused` if the engine
        says that it cannot start, and `EngineFailure` if it dies.
        """
        self._messages: queue.SimpleQueue[Started | Steps | Failed | None] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._queued: list[Request] = []
        self._unfinished = 0
        self._load = Load()
        self._lines: deque[str] = deque(maxlen=200)
        self._folder, lock = _make_folder()
        self._start(engine, lock, surroundings or {})
        session = self._guard.pid
        asked = Limits(step=config.engine.step_limit, startup=config.engine.startup_limit)
        self._watch = EngineWatch(lambda: of_session(session), limits or asked)
        try:
            self._outgoing.put(config)
            started = self._wait_until_up(stop_requested)
        except BaseException:
            self.close()
            raise
        self._facts = started.facts
        self.max_in_flight = started.max_in_flight
        self.staging_seconds = started.staging_seconds

    def _start(self, engine: str, lock: int, surroundings: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        output, theirs_out = os.pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; import {_HOST} as host; host.main()"
        given = [str(theirs.fileno()), str(lifeline), self._folder, engine]
        self._guard = subprocess.Popen(
            [sys.executable, "-c", code, *given],
            stdin=subprocess.DEVNULL,
            stdout=theirs_out,
            stderr=theirs_out,
            pass_fds=(theirs.fileno(), lifeline, lock),
            start_new_session=True,
            env=os.environ | surroundings,
        )
        theirs.close()
        for descriptor in (lifeline, theirs_out, lock):
            os.close(descriptor)
        self._connection = Connection(ours.detach())
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"engine {work.__name__}")
            for work in (self._receive, self._send, lambda: self._forward(output))
        ]
        for thread in self._threads:
            thread.start()

    def _receive(self) -> None:
        # In a thread of its own: an engine that stops in the middle of a message blocks the reader.
        with contextlib.suppress(Exception):
            while True:
                self._messages.put(self._connection.recv())
        self._messages.put(None)

    def _send(self) -> None:
        # In a thread of its own: an engine that is stopped does not read.
        try:
            while (message := self._outgoing.get()) is not None:
                self._connection.send(message)
        except OSError:
            pass  # it has ended; `_receive` sees that too
        except Exception as error:  # the program was changed on disk, for instance
            self._messages.put(Failed(f"nothing can be sent to it: {error}", "died"))

    def _forward(self, output: int) -> None:
        """Pass what the engine prints on to the log, and keep its last lines."""
        with open(output, "rb", buffering=0) as pipe:
            rest = b""
            while chunk := pipe.read(65536):
                with contextlib.suppress(OSError):
                    os.write(2, chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                self._lines += [line.decode(errors="replace") for line in lines]
                rest = rest[-65536:]

    def _wait_until_up(self, stop_requested: Callable[[], bool]) -> Started:
        while not stop_requested():
            message = self._next_message()
            if isinstance(message, Started):
                return message
        raise StartInterrupted("stopped while the engine started")

    def _next_message(self) -> Started | Steps | None:
        """None: nothing came for a second. Raises `EngineFailure` if the engine has failed."""
        began = time.monotonic()
        try:
            message = self._messages.get(timeout=STEP_SECONDS)
        except queue.Empty:
            # Where this process was suspended, more time has passed than it has waited.
            waited = min(time.monotonic() - began, 2 * STEP_SECONDS)
            try:
                self._watch.passed(waited)
            except EngineFailure as failure:
                self._fail(Failed(str(failure), "died"))
            if self._guard.poll() is None:
                return None
            message = None
        if message is None:
            self._fail(None)
        if isinstance(message, Failed):
            self._fail(message)
        self._watch.heard()
        return message

    def _fail(self, failed: Failed | None) -> NoReturn:
        """Raise the error that tells how the engine ended. None: it has hung up without a word."""
        if failed is None:  # its guard learns how it ended
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(END_SECONDS)
        self.close()
        if failed is not None and failed.kind == "usage":
            raise UsageError(failed.cause)
        words = self._last_words()
        if failed is not None and failed.kind == "refused":
            # What failed in another process is only in the log.
            elsewhere = "root cause above" in failed.cause and words
            raise EngineRefused(f"{failed.cause} {words}" if elsewhere else failed.cause)
        code = self._guard.returncode or 0
        how = how_it_ended(128 - code if code > 128 else code)
        cause = failed.cause if failed else f"its process ended: {how}"
        said = f"; its last words: {words}" if words and words not in cause else ""
        raise EngineFailure(f"the engine died: {cause}{said}; see the log, then launch again")

    def _last_words(self) -> str:
        for kind in LAST_WORDS:
            for line in reversed(self._lines):
                found = kind.search(line)
                if found and not any(empty in line for empty in EMPTY_WORDS):
                    return found[1].strip()[:300]
        return ""

    def submit(self, request: Request) -> None:
        """See `Backend.submit`. A prompt that does not fit shows at the next `step`."""
        self._queued.append(request)

    def step(self) -> list[Sample]:
        """See `Backend.step`."""
        if self._queued:
            self._unfinished += len(self._queued)
            self._outgoing.put(self._queued)
            self._queued = []
        if not self._unfinished:
            return []
        samples: list[Sample] = []
        message = self._next_message()
        if isinstance(message, Steps):
            samples = message.samples
            known = [k for k in (self._load.kv_cache, message.load.kv_cache) if k is not None]
            self._load = Load(max(known, default=None), message.load.preemptions)
        self._unfinished -= len(samples)
        return samples

    def load(self) -> Load:
        """See `Backend.load`. As the engine said it last."""
        load, self._load = self._load, Load(None, self._load.preemptions)
        return load

    def describe(self) -> EngineFacts:
        """See `Backend.describe`."""
        return self._facts

    def close(self) -> None:
        """See `Backend.close`. Kills the engine. Takes ten seconds at most."""
        if self._lifeline < 0:
            return
        os.close(self._lifeline)
        self._lifeline = -1
        self._outgoing.put(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(END_SECONDS)
        self._end_by_force()
        for thread in self._threads:
            thread.join(0.5)
        if not any(thread.is_alive() for thread in self._threads):
            self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end_by_force(self) -> None:
        """Kill what is left: all if the guard was killed or stopped, else nothing."""
        began = time.monotonic()
        while left := [p for p in of_session(self._guard.pid) if p.state not in "ZX"]:
            if time.monotonic() - began > FORCE_SECONDS:
                log.error("%s of the engine does not end (state %s)", left[0], left[0].state)
                return
            adopt_orphans()
            kill(left)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(0.1)
            for process in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)


_HOST = "toolkit.backends.engine_host"


def _make_folder() -> tuple[str, int]:
    """A folder for the engine's files, and a lock that its processes hold as long as one lives.

    Removes the folders of engines that were killed together with their guards.
    """
    usual = tempfile.gettempdir()
    short = len(usual) + len("/engine-12345678") <= LONGEST_FOLDER
    base = usual if short else "/tmp"
    for left in Path(base).glob("engine-????????/lock"):
        with contextlib.suppress(OSError), left.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix="engine-", dir=base)
    # Another task looks for this name: it must not find the file before it is locked.
    new = os.open(f"{folder}/new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(new, fcntl.LOCK_EX)
    os.rename(f"{folder}/new", f"{folder}/lock")  # noqa: PTH104
    return folder, new
