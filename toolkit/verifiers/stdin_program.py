"""Answers that are whole programs, judged by what they write for given inputs.

A problem's reference is {tests, function, compare, checker, timeout}, all but `tests` optional.
`tests` is a list of {input, output}. They are executed one after the other, up to the first that
fails. The expected output stays outside the sandbox, where it is compared: no program can read it.

The first test is decided in a fresh process. A program that passes it is executed for the next
tests in the same process if it was quick, else in one of their own. Both cost a fraction. Together
they have the time of one test, and only what is passed counts. A test that is not is decided in a
fresh process, so no program fails by what it left behind.

`function` is for problems that ask for a function of this name, or for a class `Solution` with such
a method. `input` is then the list of its arguments, `output` its value, equal as JSON. `compare`
may be `value_in_list`, where `output` is a list of one that may stand for what is in it.

The other fields are for problems that differ from their task. `compare` is the name of a checker
(`toolkit.verifiers.checkers`), `checker` the Python source of one of its own. `timeout` is in
seconds a test.
"""

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import (
    Answer,
    Examples,
    FailureKind,
    Judge,
    Outcome,
    Problem,
    Prompt,
    PromptStyle,
    Setting,
    Verdict,
)
from toolkit.sandbox import protocol
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.answers import ANSWERS_VERSION, check_rule, take
from toolkit.verifiers.checkers import PROGRAM, VALUE, VALUE_IN_LIST, check_checker, difference
from toolkit.verifiers.fenced_program import FENCED, FENCED_VERSION, fenced_program
from toolkit.verifiers.judges import library_names
from toolkit.verifiers.python_tests import check_installed

KIND: Final = "stdin"
WRONG_PROGRAMS: Final = (
    "pass\n",
    "raise ValueError('no idea')\n",
    "print('no idea')\n",
    "import sys\nsys.exit(1)\n",
)
_STACK_BYTES: Final = 64 << 20
"""As judges of contests give it: programs recurse deep."""
_CHECK_SECONDS: Final = 30.0
"""For the checker of a problem; it is ours, so a longer one is no failure of a program."""
_DETAIL_CHARACTERS: Final = 200
_MOST_TOGETHER: Final = 16
_BYTES_TOGETHER: Final = 1 << 20
"""Of the inputs of tests that share a process."""
_SHARE_OF_TIME: Final = 0.5
"""Tests share a process if they will probably take so much of the time that they have there."""


@dataclass(frozen=True, slots=True)
class Test:
    """What a program is given, and what it should write."""

    input: bytes
    output: bytes


@dataclass(frozen=True, slots=True)
class Reference:
    """A problem's reference, read. checker: a name; source: the text of a checker program."""

    tests: tuple[Test, ...]
    function: str
    checker: str
    source: str
    timeout: float | None


@functools.lru_cache(maxsize=64)
def read_reference(reference: str, checker: str) -> Reference:
    """Read a reference; `checker` is the name for problems that give none.

    Raises `UsageError` for a checker that does not exist, or that the problem does not bring.
    """
    fields = json.loads(reference)
    source = fields.get("checker") or ""
    function = fields.get("function") or ""
    compare = fields.get("compare")
    if function:
        name = VALUE_IN_LIST if compare == VALUE_IN_LIST else VALUE
    else:
        name = PROGRAM if source else compare or checker
        check_checker(name)
    if name == PROGRAM and not source:
        raise UsageError("checker = program: a problem's reference has no field `checker`")
    written = json.dumps if function else str
    tests = tuple(
        Test(_encoded(written(t["input"])), _encoded(written(t["output"]))) for t in fields["tests"]
    )
    return Reference(tests, function, name, source, fields.get("timeout"))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class StdinTests:
    """The verifier of programs that read their input and write their output.

    settings: timeout (seconds a test), checker, answer (the rule of extraction), libraries. Raises
    `UsageError` for a value that cannot be.
    """

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._rule = str(settings["answer"])
        self._checker = str(settings["checker"])
        check_checker(self._checker)
        if self._rule == FENCED:
            self.extraction = f"{FENCED} {FENCED_VERSION}.{ANSWERS_VERSION}"
        else:
            check_rule(self._rule)
            self.extraction = f"{self._rule} {ANSWERS_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`: asks for a program, or a function, in a fenced block."""
        if function := read_reference(problem.reference, self._checker).function:
            what = f"Write Python code that solves the problem by `{function}`."
        else:
            what = (
                "Write a Python program that solves the problem. It reads from standard input and "
                "writes to standard output."
            )
        asked = f"{problem.prompt.strip()}\n\n{what} Answer with the program in one fenced block."
        text = f"{asked}\n\n```python\n"
        return Prompt(messages=(("user", asked),), text=text, stop=("\n```",))

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`. A text made elsewhere is the program as it is."""
        if style not in ("chat", "completion"):
            return completion
        return fenced_program(completion) if self._rule == FENCED else take(self._rule, completion)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`. Each example is a whole program."""
        return Examples((problem.solution,) if problem.solution else (), WRONG_PROGRAMS)

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "StdinJudging":
        """See `Verifier.judging`. Raises `UsageError` for a library that is not installed."""
        libraries = library_names(judge.settings["libraries"])
        check_installed(libraries)
        needs_checker = any('"checker"' in problem.reference for problem in problems)
        return StdinJudging(
            timeout=float(judge.settings["timeout"]),
            checker=self._checker,
            workers=workers,
            isolation=isolation,
            libraries=libraries,
            needs_checker=needs_checker,
        )


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
        detail = detail[:_DETAIL_CHARACTERS]
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
