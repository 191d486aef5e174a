"""Answers that are whole programs, judged by what they write for given inputs.

`toolkit.verifiers.stdin_reference` says what a problem's reference is, and
`toolkit.verifiers.stdin_judging` how a program goes through its tests.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from toolkit.records import Examples, Judge, Problem, Prompt, PromptStyle, Setting
from toolkit.sandbox.confine import IsolationLevel
from toolkit.verifiers.answers import ANSWERS_VERSION, check_rule, take
from toolkit.verifiers.checkers import check_checker
from toolkit.verifiers.fenced_program import FENCED, FENCED_VERSION, fenced_program
from toolkit.verifiers.judges import library_names
from toolkit.verifiers.python_tests import check_installed
from toolkit.verifiers.stdin_judging import StdinJudging
from toolkit.verifiers.stdin_reference import read_reference

WRONG_PROGRAMS: Final = (
    "pass\n",
    "raise ValueError('no idea')\n",
    "print('no idea')\n",
    "import sys\nsys.exit(1)\n",
)


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
    ) -> StdinJudging:
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
