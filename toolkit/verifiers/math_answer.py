r"""Answers that are mathematical expressions, judged by math-verify in the sandbox.

A problem's reference is {answer}: LaTeX or a number, alone or in a text with \boxed{...}. What
decides is `toolkit.verifiers.math_check`, in processes under a clock and in `MEMORY_BYTES`. An
answer that is too large to be evaluated is compared as a text.

Answers come to a process several at a time, as that costs half. Only verdicts that are reached at
once count there. The first answer that takes longer, or more memory, or ends the process, is
*doubted*: it is judged at the end, in a process of its own, under the judge's clock. What stood
behind it goes to another process. So no answer changes the verdict of another.

A verdict depends on the libraries that read formulas, so their versions are fixed (`LIBRARIES`).
With another version here, the judge gets another version too.
"""

import importlib.metadata
import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from toolkit.errors import UsageError
from toolkit.records import Answer, Examples, Judge, Problem, Prompt, PromptStyle, Setting, Verdict
from toolkit.sandbox import protocol
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.answers import (
    ANSWERS_VERSION,
    before_stop,
    candidates,
    check_rule,
    phrase,
    take,
)
from toolkit.verifiers.canonical import MAX_CANONICAL
from toolkit.verifiers.errand_judging import ErrandJudging, failed, undone
from toolkit.verifiers.tidied import TIDY_VERSION, tidy

LIBRARIES: Final[Mapping[str, str]] = {
    "math-verify": "0.9.0",
    "latex2sympy2_extended": "1.11.0",
    "antlr4-python3-runtime": "4.13.2",
    "sympy": "1.14.0",
}
"""Distribution -> the version that this version of the judge needs."""
MEMORY_BYTES: Final = 2 << 30
"""Of each answer."""
_TOGETHER: Final = 16
"""Answers that are given to a process at a time."""
_AT_ONCE_SECONDS: Final = 0.5
"""Of CPU time: what an answer among others may take; half of the judge's limit if that is less."""
_FUNCTION: Final = "toolkit.verifiers.math_check:check"


def check_libraries() -> None:
    """Raise `UsageError` if this environment lacks what reads formulas, or has another version."""
    for name, needed in LIBRARIES.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = ""
        if found != needed:
            which = " ".join(f"{n}=={version}" for n, version in LIBRARIES.items())
            has = f"{name} {found} is" if found else f"{name} is not"
            raise UsageError(
                f"judge math: {has} installed on this node, and verdicts need {needed}; "
                f"pip install {which}"
            )


class MathAnswer:
    """The verifier of mathematical expressions. settings: `answer`, a rule."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._rule = str(settings["answer"])
        check_rule(self._rule)
        self.extraction = f"{self._rule} {ANSWERS_VERSION}.{TIDY_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        asked = f"{problem.prompt}\nThink step by step. Put the final answer within \\boxed{{}}."
        text = f"Problem: {problem.prompt}\nSolution:"
        return Prompt(messages=(("user", asked),), text=text, stop=("Problem:",))

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`: what the first rule finds that finds something."""
        completion = before_stop(completion, style, problem.phrased or self.prompt(problem))
        found = (tidy(text) for text in candidates(self._rule, completion))
        return next((text for text in found if text), None)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        given = problem.solution or phrase(self._rule, right_answer(problem))
        wrong = (phrase(self._rule, text) for text in ("-7919.25", "q^{17}", "17, 19, 23"))
        return Examples((given,) if given else (), (*(text for text in wrong if text), "unknown"))

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "MathJudging":
        """See `Verifier.judging`. Raises `UsageError` where `check_libraries` does."""
        check_libraries()
        right = {problem.task_id: right_answer(problem) for problem in problems}
        runner = Runner(
            _FUNCTION,
            workers=workers,
            limits=Limits(memory_bytes=MEMORY_BYTES, tree_bytes=MEMORY_BYTES),
            isolation=isolation,
        )
        return MathJudging(runner, right, float(judge.settings["timeout"]), workers)


def right_answer(problem: Problem) -> str:
    """The answer of a problem's reference, as it is compared."""
    answer = str(json.loads(problem.reference)["answer"])
    return tidy(take("boxed", answer) or answer)


class MathJudging(ErrandJudging):
    """See `Judging`. right: task_id -> the right answer. timeout: of an answer, in seconds."""

    def __init__(
        self, runner: Runner, right: Mapping[str, str], timeout: float, workers: int
    ) -> None:
        super().__init__(runner, timeout)
        self._right = right
        self._workers = workers
        self._at_once = min(_AT_ONCE_SECONDS, timeout / 2)
        self._decided: deque[Verdict] = deque()
        self._doubted: deque[Answer] = deque()

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`. Doubted answers come last."""
        self._decided.clear()
        self._doubted.clear()
        for _ in self._runner.run(self._batches(answer for _, answer in pairs), self._follow):
            while self._decided:
                yield self._decided.popleft()
        for result in self._runner.run(self._alone()):
            yield _verdict(result)

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`: doubted answers too."""
        count, seconds = self._runner.slow()
        doubted = len(self._doubted)
        return count + doubted, seconds + -(-doubted // self._workers) * self._timeout

    def _batches(self, answers: Iterator[Answer]) -> Iterator[Errand]:
        while batch := tuple(itertools.islice(answers, _TOGETHER)):
            yield self._together(batch)

    def _together(self, batch: tuple[Answer, ...]) -> Errand:
        timeout = len(batch) * self._at_once + self._timeout  # each ends by its own share
        return Errand(batch, self._payload(batch, self._at_once), timeout)

    def _alone(self) -> Iterator[Errand]:
        while self._doubted:
            answer = self._doubted.popleft()
            yield Errand(answer, self._payload([answer], None), self._timeout)

    def _payload(self, answers: Sequence[Answer], seconds: float | None) -> bytes:
        pairs = [(answer.text, self._right[answer.task_id]) for answer in answers]
        return json.dumps({"answers": pairs, "seconds": seconds}).encode()

    def _follow(self, result: Result) -> Errand | None:
        """Believe what a process has told of its answers, and doubt the first that it has not.

        Returns what those behind it need.
        """
        batch = cast(tuple[Answer, ...], result.key)  # as `_together` made it
        verdicts = [told(p) for p in protocol.parts(result.output)[: len(batch)]]
        count = next((i for i, verdict in enumerate(verdicts) if not verdict), len(verdicts))
        share = result.seconds / max(count, 1)
        self._decided += (
            _decided(answer, verdict, share)
            for answer, verdict in zip(batch, verdicts[:count], strict=False)
            if verdict
        )
        self._doubted += batch[count : count + 1]
        rest = batch[count + 1 :]
        return self._together(rest) if rest else None


@dataclass(frozen=True, slots=True)
class Told:
    """What `math_check` says of an answer; see `toolkit.verifiers.math_check.judged`."""

    passed: bool
    canonical: str
    unread: str


def told(part: bytes) -> Told | None:
    """What a process has told of an answer, None if it is anything else."""
    try:
        found = json.loads(part)
        said = Told(found["passed"] is True, str(found["canonical"]), str(found["unread"]))
    except (ValueError, TypeError, KeyError):  # something else than our function has written
        return None
    return replace(said, canonical=said.canonical[:MAX_CANONICAL])


def _verdict(result: Result) -> Verdict:
    """The verdict on an answer that was alone."""
    answer = cast(Answer, result.key)  # as `_alone` made it
    if verdict := undone(answer, result):
        return verdict
    parts = protocol.parts(result.output)
    said = told(parts[0]) if len(parts) == 1 else None
    if said is None:
        return failed(answer, "exit", "its process told no verdict", result.seconds)
    return _decided(answer, said, result.seconds)


def _decided(answer: Answer, said: Told, seconds: float) -> Verdict:
    if said.passed:
        return Verdict(answer.task_id, answer.digest, "passed", "", "", (), seconds, said.canonical)
    why = f"; compared as a text: {said.unread}"[:90] if said.unread else ""
    detail = f"{said.canonical[:80]} does not equal the answer{why}"
    return replace(failed(answer, "wrong_answer", detail, seconds), canonical=said.canonical)
