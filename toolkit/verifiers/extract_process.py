"""Calls a user's `extract` in a process of its own, so that it can neither hang nor end a job.

The function is the user's and it is trusted; the text is a model's. So no sandbox is needed, but
each call has a limit of CPU time, which counts the same on a busy machine. A limit by the wall
clock ends one that sleeps. The process is kept from call to call, for a run has a million texts.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, Final

from toolkit.errors import UsageError
from toolkit.verifiers import extract_child
from toolkit.verifiers.judge_source import JudgeSource

CPU_SECONDS: Final = 2.0
WALL_SECONDS: Final = 60.0
MEMORY_BYTES: Final = 4 << 30
"""Address space of the process."""
MOST_LOST_SECONDS: Final = 300.0
"""A job gives up when calls that ran out of time have cost so many seconds together."""
_GRACE_SECONDS: Final = 30.0
"""Beyond the limits, until the process is ended from here."""


class ExtractFailed(Exception):
    """`extract` gave no answer and did not say that there is none: it raised, or took too long."""


class Extractor:
    """The user's `extract`, behind limits. The process starts with the first call.

    path: of the file, for messages. cpu_seconds, wall_seconds: of each call.
    """

    def __init__(
        self,
        source: JudgeSource,
        path: Path,
        *,
        cpu_seconds: float = CPU_SECONDS,
        wall_seconds: float = WALL_SECONDS,
    ) -> None:
        self._source, self._path = source, path
        self._cpu_seconds, self._wall_seconds = cpu_seconds, wall_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lost = 0.0

    def extract(self, problem: str, text: str) -> str | None:
        """The answer that the function finds; problem: a JSON object.

        Raises `ExtractFailed` where the function does not end well, and `UsageError` where the file
        cannot be executed, or where too much time is lost.
        """
        process = self._process or self._start()
        asked = f'{{"problem": {problem}, "text": {json.dumps(text)}}}'.encode()
        started = time.monotonic()
        reply = _ask(process, asked, self._wall_seconds + _GRACE_SECONDS)
        if reply is None:
            why = self._why_ended()
            self._note_lost(time.monotonic() - started, why)
            raise ExtractFailed(why)
        if error := reply.get("error"):
            raise ExtractFailed(str(error))
        answer: str | None = reply["answer"]
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", extract_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the job, which then ends this
        )
        self._process = process
        weakref.finalize(self, _end, process, os.getpid())
        given = {
            "source": self._source.text,
            "name": self._path.name,
            "cpu_seconds": self._cpu_seconds,
            "wall_seconds": self._wall_seconds,
            "memory_bytes": MEMORY_BYTES,
        }
        wait = extract_child.LOAD_SECONDS + _GRACE_SECONDS
        reply = _ask(process, json.dumps(given).encode(), wait)
        if reply is None or "error" in reply:
            why = self._why_ended() if reply is None else reply["error"]
            self._process = None
            _end(process, os.getpid())
            raise UsageError(f"{self._path}: cannot be executed: {why}; mend the judge")
        return process

    def _why_ended(self) -> str:
        """Why the process has ended; it is ended if it has not. The next call starts another."""
        process, self._process = self._process, None
        if process is None:
            return "it has ended"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
        _end(process, os.getpid())
        match -process.returncode:
            case signal.SIGPROF:
                return f"it took over {self._cpu_seconds:g} s of CPU time"
            case signal.SIGALRM | signal.SIGKILL:
                return f"it took over {self._wall_seconds:g} s"
            case number if number > 0:
                return f"its process was ended by signal {number}"
        return f"its process ended with status {process.returncode}"

    def _note_lost(self, seconds: float, why: str) -> None:
        self._lost += seconds
        if self._lost > MOST_LOST_SECONDS:
            raise UsageError(
                f"{self._path}: extract has cost {self._lost:.0f} s on texts that it does not come "
                f"to an end with ({why}); mend it, and launch again with --task"
            )


def _ask(process: subprocess.Popen[bytes], data: bytes, wait: float) -> dict[str, Any] | None:
    """The reply to a message; None if the process ends before, or says nothing for so long."""
    assert process.stdin
    try:
        process.stdin.write(len(data).to_bytes(extract_child.LENGTH_BYTES, "big") + data)
        process.stdin.flush()
    except OSError:
        return None
    deadline = time.monotonic() + wait
    head = _read(process, extract_child.LENGTH_BYTES, deadline)
    body = head and _read(process, int.from_bytes(head, "big"), deadline)
    if not body:
        return None
    found: dict[str, Any] = json.loads(body)
    return found


def _read(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes | None:
    assert process.stdout
    descriptor, data = process.stdout.fileno(), b""
    while len(data) < size:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([descriptor], [], [], left)[0]:
            return None
        if not (part := os.read(descriptor, size - len(data))):
            return None
        data += part
    return data


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End and reap the process. A fork of this process leaves it alone."""
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for file in (process.stdin, process.stdout):
        if file:
            with contextlib.suppress(OSError):
                file.close()
