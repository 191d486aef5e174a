"""A worker process as the supervisor sees it: started, fed, listened to, ended and reaped.

The process itself is `toolkit.sandbox.worker`; the messages between the two are fixed there.
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from toolkit.errors import ToolkitError
from toolkit.records import Answer, Outcome, Verdict
from toolkit.sandbox import confine
from toolkit.sandbox.worker import ALONE, LAST, REPLY, REQUEST, TOGETHER

DETAIL_CHARACTERS: Final = 200
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 10.0

_BOOT: Final = (
    "import sys; sys.path.insert(0, {root!r}); from toolkit.sandbox import worker; "
    "del sys.path[0]; worker.start()"
)


class Job:
    """A program on its way to a verdict."""

    __slots__ = ("alone", "attempts", "confirming", "number", "problem", "program", "timeout")

    def __init__(self, number: int, program: Answer, problem: int, timeout: float) -> None:
        self.number = number
        self.program = program
        self.problem = problem
        self.timeout = timeout
        self.attempts = 0
        self.alone = False
        self.confirming = False

    def request(self, manner: bytes) -> bytes:
        """The message that hands it to a worker."""
        text = self.program.text.encode("utf-8", "surrogatepass")
        head = REQUEST.pack(self.number, self.problem, self.timeout, manner, len(text))
        return head + text

    def verdict(self, outcome: Outcome, detail: str, seconds: float) -> Verdict:
        """What became of it, with the detail cut to DETAIL_CHARACTERS."""
        return Verdict(
            self.program.task_id,
            self.program.digest,
            outcome,
            detail[:DETAIL_CHARACTERS],
            seconds,
        )


class Worker:
    """A worker process as the supervisor sees it."""

    def __init__(self, setup: Mapping[str, object]) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.jobs: dict[int, Job] = {}  # in the order in which the worker will take them
        self.outbox = bytearray()
        self.is_dead = False
        self._inbox = bytearray()
        self._heard = time.monotonic()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-B", "-P", "-c", _BOOT.format(root=_source_root())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        text = json.dumps(setup).encode()
        ours.settimeout(_START_SECONDS)
        with contextlib.suppress(OSError):  # it died: await_ready will say so
            ours.sendall(struct.pack("=I", len(text)) + text)

    def await_ready(self) -> dict[str, str]:
        """Wait until the worker is confined; answers its isolation report.

        Raises `MechanismFailed` naming what the node refused, `ToolkitError` when it died.
        """
        try:
            size = struct.unpack("=I", self._receive(4))[0]
            message = json.loads(self._receive(size))
        except (OSError, EOFError):
            raise ToolkitError(
                f"a worker process did not start ({self.reap(at_once=True)}): "
                f"does `{sys.executable} -c 'import toolkit'` work?"
            ) from None
        if "failed" in message:
            raise confine.MechanismFailed(message["failed"], message["why"])
        self.channel.setblocking(False)
        report: dict[str, str] = message["report"]
        return report

    @property
    def silent_seconds(self) -> float:
        """Since when nothing came from it, though it has work."""
        return time.monotonic() - self._heard

    def submit_alone(self, job: Job) -> None:
        """Queue a program, which gets a process of its own."""
        job.alone = True
        self._queue(job, ALONE)
        self.flush()

    def submit_together(self, jobs: Sequence[Job]) -> None:
        """Queue programs, which share a process as far as they are tame."""
        for job in jobs:
            self._queue(job, LAST if job is jobs[-1] else TOGETHER)
        self.flush()

    def _queue(self, job: Job, manner: bytes) -> None:
        if not self.jobs:
            self._heard = time.monotonic()
        self.jobs[job.number] = job
        self.outbox += job.request(manner)

    @property
    def jobs_alone(self) -> int:
        """How many of its jobs get a process of their own."""
        return sum(job.alone for job in self.jobs.values())

    def forget(self) -> None:
        """Replies to what was submitted so far no longer matter."""
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

    def replies(self) -> list[tuple[Job, bytes, bytes, float, str]]:
        """Job, outcome, quiet or busy, seconds and detail of each reply that is there in full."""
        self._heard = time.monotonic()
        try:
            if not (data := self.channel.recv(1 << 16)):
                self.is_dead = True
        except BlockingIOError:
            data = b""
        except OSError:
            self.is_dead, data = True, b""
        self._inbox += data
        found = []
        while len(self._inbox) >= REPLY.size:
            number, outcome, quiet, seconds, size = REPLY.unpack_from(self._inbox)
            end = REPLY.size + size
            if len(self._inbox) < end:
                break
            detail = self._inbox[REPLY.size : end].decode("utf-8", "replace")
            del self._inbox[:end]
            if (job := self.jobs.pop(number, None)) is not None:
                found.append((job, outcome, quiet, seconds, detail))
        return found

    def hang_up(self) -> None:
        """Tell it that no more is coming: it ends its programs and itself."""
        self.channel.close()

    def reap(self, *, at_once: bool = False) -> str:
        """Wait for its end, or bring it about; answers how it ended."""
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


def _environment() -> dict[str, str]:
    """All that a program may know of the environment; no secret of the launcher's is in it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    # An interpreter of a module system may not even start without it.
    if path := os.environ.get("LD_LIBRARY_PATH"):
        environment["LD_LIBRARY_PATH"] = path
    return environment
