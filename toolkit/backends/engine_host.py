"""The process of an engine, and its guard. `toolkit.backends.engine_process` starts this module.

The guard is a small process between the task and the engine. It ends the engine, with all its
processes, when the task lets go of the lifeline: because it is done, or because it died. Then it
removes what they leave: shared memory, and the folder with their sockets and files.
"""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import select
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from toolkit.backends.processes import (
    adopt_orphans,
    descendants,
    die_with_parent,
    end_descendants,
    how_it_ended,
    reap,
    shared_memory,
)
from toolkit.cli import configure_log
from toolkit.errors import EngineFailure, EngineRefused, UsageError
from toolkit.records import EngineFacts, Load, Request, Sample

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""How long the processes of an engine may take to end once they are killed."""
GUARD_SECONDS = 60.0
"""How long an engine without a task waits for the guard to end it. Only a guard that sees it alive
learns which shared memory it uses. A busy machine may keep the guard from looking at once."""
TICK_SECONDS = 0.1
"""So much may the time of a new file lag behind the clock."""
REPORT_SECONDS = 0.5
"""An engine reports at least this often that it has made steps."""
MEMORY_SECONDS = 10.0
"""Time between two looks at the shared memory that the engine uses."""
IGNORED = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Slurm sends its signals to all processes of a task. The task alone answers them."""


@dataclass(frozen=True, slots=True)
class Started:
    """The engine is up. staging_seconds: what it spent before that on copying the model."""

    facts: EngineFacts
    max_in_flight: int
    staging_seconds: float


@dataclass(frozen=True, slots=True)
class Steps:
    """The engine has made steps. samples: those that have finished."""

    samples: list[Sample]
    load: Load


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine cannot go on. usage: the user's mistake. refused: it would refuse again."""

    cause: str
    kind: Literal["usage", "refused", "died"]


def main() -> None:
    """Guard an engine. Arguments: connection, lifeline (descriptors), folder, its class."""
    connection, lifeline, folder, name = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3],
        sys.argv[4],
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    adopt_orphans()
    guard = os.getpid()
    # Before the engine can run: on one core it may do much before its guard goes on.
    began = time.time() - TICK_SECONDS
    engine = os.fork()
    if engine == 0:
        die_with_parent(guard)
        os.close(lifeline)
        _Host(Connection(connection)).run(name, Path(folder))
    os.close(connection)
    sys.exit(_guard(engine, lifeline, Path(folder), began))


def _guard(engine: int, lifeline: int, folder: Path, began: float) -> int:
    """Wait for the end of the engine, which `began` then, or of the task. Returns its exit code."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    looked, memory = time.monotonic(), set[str]()
    ended: dict[int, int] = {}
    while engine not in ended and not poll.poll(200):
        ended |= reap()
        if time.monotonic() - looked > MEMORY_SECONDS:
            looked = time.monotonic()
            memory |= shared_memory(descendants(os.getpid()))
    memory |= shared_memory(descendants(os.getpid()))
    for left in end_descendants(END_SECONDS):
        log.error("%s of the engine does not end (state %s)", left, left.state)
    _remove_memory(memory, began)
    shutil.rmtree(folder, ignore_errors=True)
    code = ended.get(engine, 0)
    return 128 - code if code < 0 else code


def _remove_memory(names: set[str], since: float) -> None:
    """Remove the files of shared memory that were made by this user since this time."""
    for path in map(Path, names):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if found.st_uid == os.getuid() and found.st_ctime >= since:
                path.unlink()


class _Host:
    """Runs an engine: takes requests from the task, and sends back what finishes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def run(self, name: str, folder: Path) -> None:
        """Serve the engine `module:class` until the task hangs up. Does not return."""
        code = 0
        try:
            configure_log()
            self._serve(name, folder)
        except (EOFError, ConnectionError):
            time.sleep(GUARD_SECONDS)  # the task is gone, and the guard will end this process
        except BaseException as error:
            code = 1
            self._fail(error)
        # Nothing of the engine needs a tidy end: the guard removes what it leaves.
        os._exit(code)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, UsageError):
            failed = Failed(str(error), "usage")
        elif isinstance(error, EngineRefused):
            failed = Failed(str(error), "refused")
        elif isinstance(error, EngineFailure):
            failed = Failed(str(error), "died")
        else:
            log.error("the engine failed", exc_info=error)
            text = (str(error).strip().splitlines() or [""])[-1]
            failed = Failed(f"{type(error).__name__}: {text}", "died")
        with contextlib.suppress(OSError):
            self._send(failed)

    def _send(self, message: Started | Steps | Failed) -> None:
        with self._sending:
            self._connection.send(message)

    def _serve(self, name: str, folder: Path) -> None:
        config = self._connection.recv()
        module, _, opener = name.partition(":")
        engine = getattr(import_module(module), opener)(config, folder)
        threading.Thread(target=self._watch_children, daemon=True).start()
        staging = getattr(engine, "staging_seconds", 0.0)
        self._send(Started(engine.describe(), engine.max_in_flight, staging))
        unfinished, samples, reported = 0, list[Sample](), 0.0
        while True:
            while self._connection.poll(0 if unfinished else None):
                requests: list[Request] = self._connection.recv()
                unfinished += len(requests)
                for request in requests:
                    engine.submit(request)
            finished = engine.step()
            unfinished -= len(finished)
            samples += finished
            if samples or time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._send(Steps(samples, engine.load()))
                samples = []

    def _watch_children(self) -> None:
        """The engine's core may be a child. If that ends, vLLM may wait for it for ever."""
        children: list[Any] = list(multiprocessing.active_children())
        if not children:
            return
        multiprocessing.connection.wait([child.sentinel for child in children])
        for _ in range(10):  # another thread may be about to learn the exit code
            ended = next((c for c in children if c.exitcode is not None), None)
            if ended is not None:
                break
            time.sleep(0.1)
        who = f"its process {ended.name} ({ended.pid})" if ended else "one of its processes"
        how = how_it_ended(ended.exitcode) if ended else "unknown exit code"
        with contextlib.suppress(OSError):
            self._send(Failed(f"{who} ended: {how}", "died"))
        os._exit(1)
