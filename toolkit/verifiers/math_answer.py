r"""Answers that are mathematical expressions, judged by math-verify in the sandbox.

A problem's reference is {answer}: LaTeX or a number, alone or in a text with \boxed{...}. What
decides is `toolkit.verifiers.math_check`. Each answer has a process of its own, under the judge's
clock and in `MEMORY_BYTES`. An answer that is too large to be evaluated is compared as a text.

A verdict depends on the libraries that read formulas, so their versions are fixed (`LIBRARIES`).
With another version here, the judge gets another version too.
"""

import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from toolkit.errors import UsageError
from toolkit.records import Answer, Examples, Judge, Problem, Prompt, PromptStyle, Setting, Verdict
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.answers import (
    ANSWERS_VERSION,
    candidates,
    check_rule,
    phrase,
    take,
    up_to_stop,
)
from toolkit.verifiers.errand_judging import ErrandJudging

LIBRARIES: Final[Mapping[str, str]] = {
    "math-verify": "0.9.0",
    "latex2sympy2_extended": "1.11.0",
    "antlr4-python3-runtime": "4.13.2",
    "sympy": "1.14.0",
}
"""Distribution -> the version that this version of the judge needs."""
MEMORY_BYTES: Final = 2 << 30
"""Of each answer."""
MAX_CANONICAL: Final = 200
"""Characters of a canonical form, as `math_check` bounds it too."""
TIDY_VERSION: Final = 1
"""Raised with every change of `tidy`. Answers are then extracted again."""
_FUNCTION: Final = "toolkit.verifiers.math_check:check"
_MAX_TIDIED: Final = 20_000
_MARKED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\fbox")
_WORDS = re.compile(r"\\(?:text|mbox|mathrm|begin|operatorname)")
_AROUND_SIGNS = re.compile(r"(?:(?<!\\)\s+)?([-+=<>^_{}()])\s*")


def tidy(text: str) -> str:
    r"""An answer in fewer ways to write it, so that equal answers are one text more often.

    Only what math-verify reads the same: blanks around signs, \dfrac, \!, a final dot. A text with
    words, or with formulas between delimiters, keeps its blanks.
    """
    text = " ".join(text.split())
    if len(text) > _MAX_TIDIED or _MARKED.search(text):
        return text
    text = text.removesuffix(".").rstrip().replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = text.replace("\\!", "").replace("\\displaystyle", "").strip()
    return text if _WORDS.search(text) else _AROUND_SIGNS.sub(r"\1", text)


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
        if style == "completion":
            completion = up_to_stop(completion, (problem.phrased or self.prompt(problem)).stop)
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
        return MathJudging(runner, right, float(judge.settings["timeout"]))


def right_answer(problem: Problem) -> str:
    """The answer of a problem's reference, as it is compared."""
    answer = str(json.loads(problem.reference)["answer"])
    return tidy(take("boxed", answer) or answer)


class MathJudging(ErrandJudging):
    """See `Judging`. right: task_id -> the right answer. timeout: of an answer, in seconds."""

    def __init__(self, runner: Runner, right: Mapping[str, str], timeout: float) -> None:
        super().__init__(runner, timeout)
        self._right = right

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`."""
        for result in self._runner.run(self._errand(answer) for _, answer in pairs):
            yield _verdict(result)

    def _errand(self, answer: Answer) -> Errand:
        given = {"answer": answer.text, "gold": self._right[answer.task_id]}
        return Errand((answer.task_id, answer.digest), json.dumps(given).encode(), self._timeout)


def _verdict(result: Result) -> Verdict:
    task_id, digest = cast(tuple[str, int], result.key)  # as `_errand` made it
    if result.end == "error":
        return Verdict(task_id, digest, "error", "", result.detail[:200], (), result.seconds)
    if result.end == "timed_out":
        return Verdict(task_id, digest, "timed_out", "time", "timed out", (), result.seconds)
    if result.end == "failed":
        return Verdict(
            task_id, digest, "failed", result.kind, result.detail[:200], (), result.seconds
        )
    try:
        found = json.loads(result.output)
        passed, canonical, unread = found["passed"] is True, found["canonical"], found["unread"]
    except (ValueError, TypeError, KeyError):  # something else than our function has written
        detail = "its process told no verdict"
        return Verdict(task_id, digest, "failed", "exit", detail, (), result.seconds)
    canonical = str(canonical)[:MAX_CANONICAL]
    if passed:
        return Verdict(task_id, digest, "passed", "", "", (), result.seconds, canonical)
    why = f"; compared as a text: {unread}"[:90] if unread else ""
    detail = f"{canonical[:80]} does not equal the answer{why}"
    return Verdict(task_id, digest, "failed", "wrong_answer", detail, (), result.seconds, canonical)
