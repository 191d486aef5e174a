"""Answers whose verdicts came with them, from whoever published the samples.

Nothing is judged here: the whole completion is the answer, and the run has its verdict.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

from toolkit.errors import UsageError
from toolkit.records import Examples, Judge, Problem, Prompt, PromptStyle
from toolkit.sandbox.confine import IsolationLevel

EXTRACTION: Final = "reported 1"


class Reported:
    """The verifier of samples that were published with their verdicts."""

    def __init__(self) -> None:
        self.extraction = EXTRACTION

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        return Prompt((("user", problem.prompt),), problem.prompt)

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`."""
        return completion

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`. There are none."""
        return Examples((), ())

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> NoReturn:
        """Raises `UsageError`: nothing is judged here."""
        raise UsageError(
            "the verdicts of these samples were published with them, and nothing judges more: "
            "ingest them by a task of yours to judge them anew"
        )
