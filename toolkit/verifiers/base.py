"""The interface to one kind of problem: how it is asked, how an answer is taken and judged.

A verifier holds all knowledge of its kind of problem. No other code reads a problem's reference,
or knows what an answer is. `extract` is pure, so that it can be improved and repeated without a
GPU. Judging executes or parses the text of a model, so it happens in the sandbox.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from toolkit.errors import UsageError
from toolkit.records import (
    Answer,
    Examples,
    Judge,
    JudgeChoice,
    Problem,
    Prompt,
    PromptStyle,
    Verdict,
)
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel
from toolkit.verifiers.judges import judge_of


class Judging(Closing, Protocol):
    """A judge at work. Its processes live until the context ends."""

    @property
    def isolation(self) -> Mapping[str, str]:
        """How this node confines what it executes: mechanism -> "on" or "off: why".

        Empty if nothing is executed.
        """

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """Yield a verdict for each pair, in the order in which the verdicts are reached.

        Only a few pairs are read ahead. An answer that cannot be decided gets the outcome `error`.
        pairs: if they are `toolkit.verifiers.arriving.Arriving`, a verifier may go on with what
        comes after they had ended.
        """

    def slow(self) -> tuple[int, float]:
        """The answers in hand that take far longer than others, and the seconds all they take."""

    def seconds(self, problem: Problem) -> float | None:
        """The time limit of an answer to this problem, in seconds; None: there is none."""


class Verifier(Protocol):
    """One kind of problem. For its version and settings see `toolkit.verifiers.judges`."""

    extraction: str
    """The version of `extract`. When it changes, answers are taken from all samples again."""

    def prompt(self, problem: Problem) -> Prompt:
        """What a model is asked about this problem, where its task does not phrase it."""

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """The answer in a completion, None if there is none. Never raises, whatever the text."""

    def examples(self, problem: Problem) -> Examples:
        """Completions of this problem whose verdicts are known."""

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> Judging:
        """Get ready to judge answers to these problems, `workers` of them at the same time.

        Raises `IsolationUnavailable` if this node cannot confine them as `isolation` asks.
        """


def open_verifier(choice: JudgeChoice) -> Verifier:
    """The verifier of this choice. Raises `UsageError` if there is none."""
    settings = judge_of(choice).settings
    match choice.verifier:
        case "python_tests":
            from toolkit.verifiers.python_tests import PythonTests

            return PythonTests()
        case "number":
            from toolkit.verifiers.number import Number

            return Number(settings)
        case "choice":
            from toolkit.verifiers.choice import Choice

            return Choice(settings)
        case "math":
            from toolkit.verifiers.math_answer import MathAnswer

            return MathAnswer(settings)
        case "stdin":
            from toolkit.verifiers.stdin_program import StdinTests

            return StdinTests(settings)
        case "proof":
            from toolkit.verifiers.proof import Proof

            return Proof(settings)
        case "command":
            from toolkit.verifiers.command import Command

            return Command(settings)
        case "file":
            from toolkit.verifiers.python_file import PythonFile

            return PythonFile(settings)
        case "swebench":
            from toolkit.verifiers.patch import Patch

            return Patch(settings)
        case "reported":
            from toolkit.verifiers.reported import Reported

            return Reported()
        case _:
            raise UsageError(
                f"there is no verifier {choice.verifier!r}: a newer version of the toolkit made "
                "the run; install that version"
            )


def check_node(judge: Judge) -> None:
    """Raise `UsageError` if this node lacks what the judge needs beside the toolkit itself."""
    if judge.verifier == "math":
        from toolkit.verifiers.math_answer import check_libraries

        check_libraries()
    elif judge.verifier == "proof":
        from toolkit.verifiers.proof import check_prover

        check_prover(judge)
    elif judge.verifier == "command":
        from toolkit.verifiers.command import check_command

        check_command(judge.settings)
    elif judge.verifier == "file":
        from toolkit.verifiers.python_file import check_file

        check_file(judge.settings)


def only_kind(problems: Iterable[Problem]) -> str:
    """The kind of all these problems. Raises `UsageError` if there are several kinds, or none."""
    kinds = sorted({p.kind for p in problems})
    if len(kinds) != 1:
        found = " and ".join(kinds) or "no kind (there are no problems)"
        raise UsageError(f"a run needs problems of one kind; these are of {found}")
    return kinds[0]


def prompts_of(problems: Sequence[Problem]) -> dict[str, Prompt]:
    """task_id -> the prompt, as the problem's task phrases it, or else its verifier."""
    verifier = open_verifier(JudgeChoice(only_kind(problems)))
    return {p.task_id: p.phrased or verifier.prompt(p) for p in problems}


def examples_of(
    problems: Sequence[Problem], choice: JudgeChoice | None = None
) -> dict[str, Examples]:
    """task_id -> completions whose verdicts by this choice are known, from its verifier.

    choice: None means the problems' verifier with its default settings.
    """
    verifier = open_verifier(choice or JudgeChoice(only_kind(problems)))
    return {p.task_id: verifier.examples(p) for p in problems}
