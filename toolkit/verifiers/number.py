"""Answers that are numbers, right where they equal the reference's exactly.

A problem's reference is {answer}: a text that holds a number. Numbers are compared as decimals, in
one way of writing: no sign of a currency, no thousands separators, no needless zeros. So equal
numbers are one answer.
"""

import json
import re
from collections.abc import Mapping, Sequence

from toolkit.records import Examples, Judge, Problem, Prompt, PromptStyle, Setting
from toolkit.sandbox.confine import IsolationLevel
from toolkit.verifiers.answers import (
    ANSWERS_VERSION,
    NUMBER,
    OR,
    before_stop,
    check_rule,
    phrase,
    take,
)
from toolkit.verifiers.compared import ComparedJudging
from toolkit.verifiers.tidied import number_in

_UP_TO_NUMBER = re.compile(r"[\s:*_=~(\[{]*")


class Number:
    """The verifier of questions whose answer is a number. settings: `answer`, a rule."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._rule = str(settings["answer"])
        check_rule(self._rule)
        self.extraction = f"{self._rule} {ANSWERS_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        asked = f"{problem.prompt}\nThink step by step. Give the final answer as a number."
        text = f"Question: {problem.prompt}\nAnswer:"
        return Prompt(messages=(("user", asked),), text=text, stop=("Question:",))

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`: the number in what the first rule finds that finds one.

        Behind a marker it must come at once: `#### Step 3` is a heading.
        """
        completion = before_stop(completion, style, problem.phrased or self.prompt(problem))
        for rule in self._rule.split(OR):
            found = take(rule, completion) or ""
            if rule.startswith("marker:"):
                found = _UP_TO_NUMBER.sub("", found, count=1)
                found = found if NUMBER.match(found) else ""
            if (number := number_in(found)) is not None:
                return number
        return None

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        right = right_number(problem)
        given = problem.solution or phrase(self._rule, right)
        wrong = (phrase(self._rule, text) for text in (f"{right}1", "-0.0625", "unknown"))
        return Examples(
            (given,) if given else (), tuple(text if text else "unknown" for text in wrong)
        )

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> ComparedJudging:
        """See `Verifier.judging`."""
        return ComparedJudging(right_number)


def right_number(problem: Problem) -> str:
    """The number of a problem's reference. If it holds none, its text, which no answer equals."""
    answer = str(json.loads(problem.reference)["answer"])
    return number_in(answer) or answer
