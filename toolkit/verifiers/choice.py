"""Answers that are one of the letters A to Z.

A problem's reference is {answer}: the letter.
"""

import json
import re
from collections.abc import Mapping, Sequence

from toolkit.records import Examples, Judge, Problem, Prompt, PromptStyle, Setting
from toolkit.sandbox.confine import IsolationLevel
from toolkit.verifiers.answers import (
    ANSWERS_VERSION,
    before_stop,
    candidates,
    check_rule,
    phrase,
)
from toolkit.verifiers.compared import ComparedJudging

_LETTER = re.compile(r"[\s(*$]{0,20}([A-Za-z])(?![A-Za-z])")


class Choice:
    """The verifier of multiple choice. settings: `answer`, a rule."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._rule = str(settings["answer"])
        check_rule(self._rule)
        self.extraction = f"{self._rule} {ANSWERS_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        asked = f'{problem.prompt}\nEnd with "The answer is (X)", where X is the letter.'
        text = f"Question: {problem.prompt}\nAnswer:"
        return Prompt(messages=(("user", asked),), text=text, stop=("Question:",))

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`: the letter in what the first rule finds that finds one."""
        completion = before_stop(completion, style, problem.phrased or self.prompt(problem))
        found = (_LETTER.match(text) for text in candidates(self._rule, completion))
        return next((letter[1].upper() for letter in found if letter), None)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        right = right_letter(problem)
        given = problem.solution or phrase(self._rule, right)
        wrong = (phrase(self._rule, letter) for letter in "ABC" if letter != right)
        return Examples(
            (given,) if given else (), (*(text for text in wrong if text), "no idea at all")
        )

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> ComparedJudging:
        """See `Verifier.judging`."""
        return ComparedJudging(right_letter)


def right_letter(problem: Problem) -> str:
    """The letter of a problem's reference. If it is none, its text, which no answer equals."""
    answer = str(json.loads(problem.reference)["answer"])
    found = re.fullmatch(r"\s*\(?([A-Za-z])[).]?\s*", answer)
    return found[1].upper() if found else answer
