"""The seam between the toolkit and a kind of task: what is asked, taken and decided.

A verifier owns all that is known of one kind of problem. Nobody else reads a problem's reference,
or knows what an answer is. `extract` is pure, so that it can be improved and run again without a
GPU; judging executes or parses a model's text, so it happens in the sandbox.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from toolkit.errors import UsageError
from toolkit.records import Answer, Examples, Judge, Problem, Prompt, PromptStyle, Verdict
from toolkit.sandbox.confine import IsolationLevel


class Judging(Protocol):
    """A judge at work: the processes behind it live as long as the context."""

    @property
    def isolation(self) -> Mapping[str, str]:
        """How this node confines what is executed: mechanism -> "on", or "off: why"."""

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """A verdict for each pair, in the order in which they are reached.

        Pairs are read only a little ahead. Answers without a verdict of their own come as `error`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Verifier(Protocol):
    """One kind of task. Its version and settings stand in `toolkit.verifiers.judges`."""

    extraction: str
    """Names what `extract` returns; another name makes the answers of all samples anew."""

    def prompt(self, problem: Problem) -> Prompt:
        """What a model is asked about this problem."""

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """The answer in a completion, None where there is none. Never raises, whatever the text."""

    def examples(self, problem: Problem) -> Examples:
        """Completions whose verdicts are known."""

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> Judging:
        """Get ready to judge answers of these problems, `workers` of them at a time.

        Raises `IsolationUnavailable` where this node cannot confine them as `isolation` asks.
        """


def open_verifier(kind: str) -> Verifier:
    """The verifier of this kind. Raises `UsageError` where there is none."""
    match kind:
        case "python_tests":
            from toolkit.verifiers.python_tests import PythonTests

            return PythonTests()
        case _:
            raise UsageError(
                f"no verifier is called {kind!r}: the run was made by a newer version of the "
                "toolkit; install that one"
            )


def only_kind(problems: Iterable[Problem]) -> str:
    """The kind of all these problems. Raises `UsageError` where there are several, or none."""
    kinds = sorted({p.kind for p in problems})
    if len(kinds) != 1:
        raise UsageError(f"problems of one kind are needed, these are of {kinds or 'none'}")
    return kinds[0]


def prompts_of(problems: Sequence[Problem]) -> dict[str, Prompt]:
    """task_id -> what a model is asked, by the problems' verifier."""
    verifier = open_verifier(only_kind(problems))
    return {p.task_id: verifier.prompt(p) for p in problems}


def examples_of(problems: Sequence[Problem]) -> dict[str, Examples]:
    """task_id -> completions whose verdicts are known, by the problems' verifier."""
    verifier = open_verifier(only_kind(problems))
    return {p.task_id: verifier.examples(p) for p in problems}
