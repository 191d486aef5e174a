"""The supervisor's handle on a worker process: it starts, feeds, hears, ends and reaps it.

The process itself is `toolkit.sandbox.worker`, the messages are those of
`toolkit.sandbox.protocol`.
"""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

from toolkit.errors import ToolkitError
from toolkit.records import FAILURE_KINDS, Answer, FailureKind, Outcome, Verdict
from toolkit.sandbox import confine, protocol, reasons

DETAIL_CHARACTERS: Final = 200
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 10.0

_BOOT: Final = (
    "import sys; sys.path.insert(0, {root!r}); from toolkit.sandbox import worker; "
    "del sys.path[0]; worker.start()"
)


class Job:
    """A program on its way to a verdict; `ending` is the index of its problem's ending."""

    __slots__ = ("alone", "attempts", "confirming", "ending", "number", "program", "timeout")

    def __init__(self, number: int, program: Answer, ending: int, timeout: float) -> None:
        self.number = number
        self.program = program
        self.ending = ending
        self.timeout = timeout
        self.attempts = 0
        self.alone = False
        self.confirming = False

    def request(self, mode: bytes) -> bytes:
        """The message that hands it to a worker."""
        return protocol.request(self.number, self.ending, self.timeout, mode, self.program.text)

    def verdict(
        self,
        outcome: Outcome,
        seconds: float,
        kind: FailureKind = "",
        detail: str = "",
        suspect: tuple[str, ...] = (),
    ) -> Verdict:
        """Its verdict, with the detail cut to DETAIL_CHARACTERS."""
        return Verdict(
            self.program.task_id,
            self.program.digest,
            outcome,
            kind,
            detail[:DETAIL_CHARACTERS],
            suspect,
            seconds,
        )


class Reply(NamedTuple):
    """What a worker says of a job; codes and loads are those of `toolkit.sandbox.protocol`."""

    job: Job
    code: bytes
    load: bytes
    seconds: float
    kind: FailureKind
    detail: str
    suspect: tuple[str, ...]


class WorkerHandle:
    """A worker process, as the supervisor sees it."""

    def __init__(self, setup: protocol.Setup) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.jobs: dict[int, Job] = {}  # in the order in which the worker will take them
        self.outbox = bytearray()
        self.is_dead = False
        self._inbox = bytearray()
        self._last_heard = time.monotonic()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-B", "-P", "-c", _BOOT.format(root=_source_root())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(setup["libraries"]),
                cwd="/",
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        with contextlib.suppress(OSError):  # it died: await_ready will say so
            ours.sendall(protocol.frame(setup))

    def await_ready(self) -> dict[str, str]:
        """Wait until the worker is confined; the isolation report.

        Raises `MechanismFailed` naming what the node refused, `ToolkitError` when the worker died.
        """
        try:
            size = protocol.LENGTH.unpack(self._receive(protocol.LENGTH.size))[0]
            answer = json.loads(self._receive(size))
        except (OSError, EOFError):
            raise ToolkitError(
                f"a worker process did not start ({self.reap(at_once=True)}): "
                f"does `{sys.executable} -c 'import toolkit'` work?"
            ) from None
        if "failed" in answer:
            refused: protocol.Refused = answer
            raise confine.MechanismFailed(refused["failed"], refused["why"])
        confined: protocol.Confined = answer
        self.channel.setblocking(False)
        return confined["report"]

    @property
    def silent_seconds(self) -> float:
        """Since when nothing came from it, though it has jobs."""
        return time.monotonic() - self._last_heard

    def submit_alone(self, job: Job) -> None:
        """Queue a program that gets a child of its own."""
        job.alone = True
        self._queue(job, protocol.ALONE)
        self.flush()

    def submit_batch(self, batch: Sequence[Job]) -> None:
        """Queue programs of which the tame ones share a child."""
        for job in batch:
            self._queue(job, protocol.LAST if job is batch[-1] else protocol.TOGETHER)
        self.flush()

    def _queue(self, job: Job, mode: bytes) -> None:
        if not self.jobs:
            self._last_heard = time.monotonic()
        self.jobs[job.number] = job
        self.outbox += job.request(mode)

    @property
    def jobs_alone(self) -> int:
        """How many of its jobs get a child of their own."""
        return sum(job.alone for job in self.jobs.values())

    def forget(self) -> None:
        """Drop all its jobs: replies to them no longer matter."""
        self.jobs.clear()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.is_dead = True

    def replies(self) -> list[Reply]:
        """The replies that are there in full."""
        self._last_heard = time.monotonic()
        try:
            if not (data := self.channel.recv(1 << 16)):
                self.is_dead = True
        except BlockingIOError:
            data = b""
        except OSError:
            self.is_dead, data = True, b""
        self._inbox += data
        found = []
        while len(self._inbox) >= protocol.REPLY.size:
            head = protocol.REPLY.unpack_from(self._inbox)
            number, code, load, kind, seconds, suspicions, size = head
            end = protocol.REPLY.size + size
            if len(self._inbox) < end:
                break
            detail = self._inbox[protocol.REPLY.size : end].decode("utf-8", "replace")
            del self._inbox[:end]
            if (job := self.jobs.pop(number, None)) is not None:
                name = cast(FailureKind, FAILURE_KINDS[kind])
                suspect = reasons.reasons_of(suspicions)
                found.append(Reply(job, code, load, seconds, name, detail, suspect))
        return found

    def hang_up(self) -> None:
        """Tell it that no more is coming: it ends its programs and itself."""
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

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := self.channel.recv(size - len(data))):
                raise EOFError
            data += more
        return data


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
