"""Programs are judged by what they write for given inputs, one test after the other.

The tests of a problem are executed in their order, up to the first that fails. The expected output
stays outside the sandbox, where it is compared: no program can read it.

The first test is decided in a fresh process. A program that passes it is executed for the next
tests in the same process if it was quick, else in one of their own. Both cost a fraction. Together
they have the time of one test, and only what is passed counts. A test that is not is decided in a
fresh process, so no program fails by what it left behind.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from toolkit.records import DETAIL_CHARACTERS, Answer, FailureKind, Outcome, Problem, Verdict
from toolkit.sandbox import protocol
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.checkers import PROGRAM, difference
from toolkit.verifiers.stdin_reference import Reference, Test, read_reference

_STACK_BYTES: Final = 64 << 20
"""As judges of contests give it: programs recurse deep."""
_CHECK_SECONDS: Final = 30.0
"""For the checker of a problem; it is ours, so a longer one is no failure of a program."""
_MOST_TOGETHER: Final = 16
_BYTES_TOGETHER: Final = 1 << 20
"""Of the inputs of tests that share a process."""
_SHARE_OF_TIME: Final = 0.5
"""Tests share a process if they will probably take so much of the time that they have there."""


class _Trial:
    """An answer on its way through its problem's tests; `decided` is its verdict at last.

    is_alone: whether the test that it has come to is, or is to be, decided in a fresh process.
    count: how many tests the last errand has.
    """

    decided: Verdict

    def __init__(self, answer: Answer, reference: Reference, timeout: float) -> None:
        self.reference = reference
        self.count = 1
        self._answer = answer
        self._timeout = reference.timeout or timeout
        self._index = 0
        self._seconds = 0.0
        self.is_alone = True

    @property
    def test(self) -> Test:
        """The test that it has come to."""
        return self.reference.tests[self._index]

    @property
    def is_over(self) -> bool:
        """Whether it has passed all tests."""
        return self._index == len(self.reference.tests)

    def errand(self) -> Errand:
        """The program with the input of the next test, or of several; `count` says how many."""
        together = 0 if self.is_alone else self._next_together()
        self.is_alone = not together
        self.count = together or 1
        more = self._index + self.count < len(self.reference.tests)
        fields: dict[str, object] = {
            "program": self._answer.text,
            "function": self.reference.function,
        }
        if self.is_alone:
            payload = json.dumps(fields).encode()
            return Errand(self, payload, self._timeout, self.test.input, more=more)
        tests = self.reference.tests[self._index : self._index + self.count]
        fields["inputs"] = [test.input.decode("utf-8", "surrogatepass") for test in tests]
        return Errand(self, json.dumps(fields).encode(), self._timeout, more=more, follows=True)

    def _next_together(self) -> int:
        """How many of the tests to come share a process, and probably have the time for it; 0 if
        the next is better alone.
        """
        most = _MOST_TOGETHER
        if self._seconds > 0:
            most = min(most, int(_SHARE_OF_TIME * self._timeout / self._seconds))
        size, count = 0, 0
        for test in self.reference.tests[self._index : self._index + most]:
            size += len(test.input)
            if size > _BYTES_TOGETHER:
                break
            count += 1
        return count

    def advance(self) -> None:
        """Go on to the next test, which may share a process."""
        self._index += 1
        self.is_alone = False

    def be_alone(self) -> None:
        """Let the test that it has come to have a process of its own."""
        self.is_alone = True

    def measure(self, result: Result) -> None:
        """Note the time of a test, the mean of several. The longest counts: each has the limit."""
        self._seconds = max(self._seconds, result.seconds / self.count)

    def verdict(self, outcome: Outcome, kind: FailureKind = "", detail: str = "") -> Verdict:
        """Its verdict; a failure names the test."""
        if outcome != "passed":
            detail = f"test {self._index + 1} of {len(self.reference.tests)}: {detail}"
        answer = self._answer
        detail = detail[:DETAIL_CHARACTERS]
        return Verdict(answer.task_id, answer.digest, outcome, kind, detail, (), self._seconds)


def _parts(output: bytes, count: int) -> list[bytes] | None:
    """The outputs of so many tests; None if there is more or less."""
    found = protocol.parts(output)
    whole = len(output) == sum(map(len, found)) + protocol.LENGTH.size * count
    return found if whole and len(found) == count else None


def _trial(result: Result) -> _Trial:
    assert isinstance(result.key, _Trial)
    return result.key


class StdinJudging(Closing):
    """See `Judging`. The runner executes each program for each test."""

    def __init__(
        self,
        *,
        timeout: float,
        checker: str,
        workers: int,
        isolation: IsolationLevel,
        libraries: Sequence[str],
        needs_checker: bool,
    ) -> None:
        self._timeout = timeout
        self._checker = checker
        limits = Limits(stack_bytes=_STACK_BYTES)
        with contextlib.ExitStack() as opened:
            self._runner = opened.enter_context(
                Runner(
                    "toolkit.sandbox.main_program:run",
                    workers=workers,
                    limits=limits,
                    isolation=isolation,
                    libraries=libraries,
                )
            )
            # Workers of their own: they hold expected outputs, which no program may find.
            self._checks = (
                opened.enter_context(
                    Runner(
                        "toolkit.sandbox.checker_program:run",
                        workers=1,
                        isolation=isolation,
                        libraries=libraries,
                    )
                )
                if needs_checker
                else None
            )
            self._opened = opened.pop_all()

    @property
    def isolation(self) -> Mapping[str, str]:
        """See `Judging.isolation`."""
        return self._runner.isolation_report

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`."""
        untested: list[Verdict] = []
        for result in self._runner.run(self._errands(pairs, untested), self._follow):
            yield _trial(result).decided
            while untested:
                yield untested.pop()
        yield from untested

    def seconds(self, problem: Problem) -> float:
        """See `Judging.seconds`: of a test, that of the problem or else of the judge."""
        return read_reference(problem.reference, self._checker).timeout or self._timeout

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`: programs that will probably run out of time."""
        return self._runner.slow()

    def _errands(
        self, pairs: Iterable[tuple[Problem, Answer]], untested: list[Verdict]
    ) -> Iterator[Errand]:
        """The first test of each answer. `untested` takes the verdicts of those without tests."""
        for problem, answer in pairs:
            reference = read_reference(problem.reference, self._checker)
            trial = _Trial(answer, reference, self._timeout)
            if reference.tests:
                yield trial.errand()
            else:
                untested.append(trial.verdict("error", "", "the problem has no tests"))

    def _follow(self, result: Result) -> Errand | None:
        """The next test of a program that has passed one; else None, and there is a verdict."""
        trial = _trial(result)
        trial.measure(result)
        verdict = None
        if not trial.is_alone:
            self._take_together(trial, result)
        elif (verdict := self._judge_one(trial, result)) is None:
            trial.advance()
        if verdict is None and not trial.is_over:
            return trial.errand()
        trial.decided = verdict or trial.verdict("passed")
        return None

    def _take_together(self, trial: _Trial, result: Result) -> None:
        """Believe the tests of one process that are passed, up to the first that is not."""
        outputs = _parts(result.output, trial.count) if result.end == "done" else None
        for output in outputs or []:
            if self._wrong(trial, output):
                break
            trial.advance()
        else:
            if outputs:
                return
        trial.be_alone()

    def _judge_one(self, trial: _Trial, result: Result) -> Verdict | None:
        """The verdict if a test was not passed."""
        match result.end:
            case "failed":
                return trial.verdict("failed", result.kind, result.detail)
            case "timed_out":
                return trial.verdict("timed_out", "time", "timed out")
            case "error":
                return trial.verdict("error", "", result.detail)
        return self._wrong(trial, result.output)

    def _wrong(self, trial: _Trial, output: bytes) -> Verdict | None:
        """The verdict if this output of its test is not right."""
        reference = trial.reference
        if reference.checker == PROGRAM:
            return self._check(trial, output)
        wrong = difference(reference.checker, output, trial.test.output)
        return None if wrong is None else trial.verdict("failed", "wrong_answer", wrong)

    def _check(self, trial: _Trial, output: bytes) -> Verdict | None:
        """What the problem's own checker says."""
        assert self._checks is not None
        fields = {
            "checker": trial.reference.source,
            "input": trial.test.input.decode("utf-8", "replace"),
            "output": output.decode("utf-8", "replace"),
            "expected": trial.test.output.decode("utf-8", "replace"),
        }
        (said,) = self._checks.run([Errand(0, json.dumps(fields).encode(), _CHECK_SECONDS)])
        if said.end != "done":
            return trial.verdict("error", "", f"the problem's checker: {said.detail}")
        word = json.loads(said.output)
        if word["right"]:
            return None
        return trial.verdict("failed", "wrong_answer", word["why"] or "the checker says no")

    def close(self) -> None:
        """See `Closing.close`."""
        self._opened.close()
