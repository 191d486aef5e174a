"""A confined worker process, as the supervisor sees it: it starts, hears, ends and reaps it.

What a worker does is a matter of its module: `toolkit.sandbox.worker` judges programs,
`toolkit.sandbox.errand_worker` does errands.
"""

import importlib.util
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from toolkit.cli import job_command
from toolkit.errors import IsolationUnavailable, ToolkitError
from toolkit.sandbox import confine, protocol

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 10.0
_MOST_STARTS: Final = 5

_BOOT: Final = (
    "import sys; sys.path.insert(0, {root!r}); from toolkit.sandbox import {module}; "
    "del sys.path[0]; {module}.start()"
)


class WorkerProcess:
    """A worker that runs `module` of this package, and its channel."""

    def __init__(self, module: str, setup: protocol.AnySetup) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.outbox = bytearray(protocol.frame(setup))
        self.is_dead = False
        self.is_ready = False
        self.report: dict[str, str] = {}
        self.starts = 1  # that it took to get so far; see `start_in_place`
        self._inbox = bytearray()
        self._last_heard = time.monotonic()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-s", "-B", "-P"),
                    *("-c", _BOOT.format(root=_source_root(), module=module)),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(setup["libraries"]),
                cwd="/",
                start_new_session=True,
            )
        ours.setblocking(False)
        self.flush()

    def await_ready(self) -> dict[str, str]:
        """Wait until the worker is confined; the isolation report.

        Raises `MechanismFailed` naming what the node refused, `ToolkitError` when the worker died.
        """
        while not self.is_ready:
            if self.is_dead or self.is_stuck:
                raise _did_not_start(self.reap(at_once=True))
            await_events([self])
        return self.report

    def take_ready(self) -> None:
        """Read the isolation report of a worker that starts, if all of it is there; does not wait.

        Raises `MechanismFailed` naming what the node refused.
        """
        begun = self._last_heard
        self._hear()
        self._last_heard = begun  # the time of a start counts from its beginning
        start = protocol.LENGTH.size
        if len(self._inbox) < start:
            return
        end = start + protocol.LENGTH.unpack_from(self._inbox)[0]
        if len(self._inbox) < end:
            return
        answer = json.loads(self._inbox[start:end])
        del self._inbox[:end]
        if "failed" in answer:
            refused: protocol.Refused = answer
            raise confine.MechanismFailed(refused["failed"], refused["why"])
        confined: protocol.Confined = answer
        self.report = confined["report"]
        self.is_ready = True

    @property
    def is_stuck(self) -> bool:
        """Whether it has been starting for too long."""
        return not self.is_ready and self.silent_seconds > _START_SECONDS

    @property
    def silent_seconds(self) -> float:
        """Since when nothing came from it, though it has something to do."""
        return time.monotonic() - self._last_heard

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.is_dead = True

    def _hear(self) -> None:
        """Take what the socket holds into the inbox."""
        self._last_heard = time.monotonic()
        try:
            if not (data := self.channel.recv(1 << 16)):
                self.is_dead = True
        except BlockingIOError:
            data = b""
        except OSError:
            self.is_dead, data = True, b""
        self._inbox += data

    def hang_up(self) -> None:
        """Tell it that no more is coming: it ends its children and itself."""
        self.channel.close()

    def reap(self, *, at_once: bool = False) -> str:
        """Wait for its end, or bring it about; how it ended."""
        self.channel.close()
        try:
            code = self._process.wait(timeout=0.5 if at_once else _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"


_W = TypeVar("_W", bound=WorkerProcess)


def start_workers(
    start: Callable[[], _W], workers: int, setup: protocol.AnySetup, level: confine.IsolationLevel
) -> tuple[list[_W], dict[str, str]]:
    """Workers confined by all that the node offers, and their isolation report.

    `start` starts one with `setup`, in which the mechanisms that the node refuses are noted. Raises
    `IsolationUnavailable` if the node offers less than `level` asks for.
    """
    while True:
        started = [start() for _ in range(workers)]
        try:
            report, *_ = [worker.await_ready() for worker in started]
            if level == "strongest" and (why := confine.below_minimum(report)):
                raise IsolationUnavailable(
                    f"isolation of untrusted programs is too weak on this node, {why}; "
                    "or accept it by --isolation weak"
                )
        except confine.MechanismFailed as failure:
            end_workers(started)
            disabled = setup["disabled"]
            if failure.name not in confine.MECHANISMS or failure.name in disabled:
                raise IsolationUnavailable(
                    f"isolation: {failure}; see `{job_command('doctor')}`"
                ) from None
            setup["disabled"] = confine.disable_also(disabled, failure.name, failure.why)
        except BaseException:
            end_workers(started)
            raise
        else:
            return started, report


def start_in_place(start: Callable[[], _W], died: WorkerProcess, how: str) -> _W:
    """A worker in place of one that died. Nobody waits for it: see `take_ready`.

    It may be killed while it starts, as the one before was: by a node without memory, or by hand.
    how: the way the one before ended, for the message. Raises `ToolkitError` after `_MOST_STARTS`
    of them.
    """
    starts = 1 if died.is_ready else died.starts + 1
    if starts > _MOST_STARTS:
        raise _did_not_start(how)
    worker = start()
    worker.starts = starts
    return worker


def _did_not_start(how: str) -> ToolkitError:
    return ToolkitError(
        f"a worker process did not start ({how}): does `{sys.executable} -c 'import toolkit'` work?"
    )


def await_events(workers: Iterable[_W], more: int | None = None) -> list[_W]:
    """Wait a few seconds for news of these workers: those that may have something to say.

    What was to be sent to a worker is sent as its socket takes it. One that starts becomes ready
    here; raises `MechanismFailed` as `take_ready` does. more: a descriptor that ends the waiting
    too; what can be read there is taken away.
    """
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
            selector.register(worker.channel, events, worker)
        if more is not None:
            selector.register(more, selectors.EVENT_READ)
        ready = selector.select(timeout=5.0)
    heard = []
    for key, events in ready:
        if key.data is None:
            os.read(key.fd, 1 << 12)
            continue
        if events & selectors.EVENT_WRITE:
            key.data.flush()
        if events & selectors.EVENT_READ and key.data.is_ready:
            heard.append(key.data)
        elif events & selectors.EVENT_READ:
            key.data.take_ready()
    return heard


def end_workers(workers: Sequence[WorkerProcess]) -> None:
    """End and reap every process; their files go with them."""
    for worker in workers:
        worker.hang_up()
    for worker in workers:
        worker.reap()


def _source_root() -> str:
    """Where the package `toolkit` lies, so that a worker imports the same one."""
    return str(Path(__file__).resolve().parents[2])


def _library_folders(libraries: Sequence[str]) -> list[str]:
    """Where these libraries lie, as this process would import them."""
    specs = (importlib.util.find_spec(name) for name in libraries)
    origins = [Path(spec.origin) for spec in specs if spec and spec.origin]
    return sorted({str(o.parents[1] if o.stem == "__init__" else o.parent) for o in origins})


def _environment(libraries: Sequence[str]) -> dict[str, str]:
    """All that a program may know of the environment; no secret of the launcher's is in it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": ":".join(_library_folders(libraries)),  # not for programs: see `harness`
    }
    # An interpreter of a module system may not even start without it.
    if path := os.environ.get("LD_LIBRARY_PATH"):
        environment["LD_LIBRARY_PATH"] = path
    return environment
