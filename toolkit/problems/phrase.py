"""From a problem to its prompt, as a task phrases it: template, worked examples, stop strings.

A task may ask in two ways. A base model continues a text: worked examples, then the question in the
same form. A chat model gets messages: the same examples as turns, or a message of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.errors import UsageError
from toolkit.records import Problem, Prompt

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
BETWEEN = "\n\n"
"""Between two worked examples."""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """How a task asks.

    template: the question with its frame; `{name}` stands for a field of the problem. shots: worked
    examples, the fields of each, with `answer`. chat: the user's message, without the examples; ""
    for the template, with each example as a question and an answer. system: the first message of a
    chat, "" for none. stop: the strings at which a completion goes beyond its answer.
    """

    template: str
    shots: tuple[Mapping[str, str], ...] = ()
    stop: tuple[str, ...] = ()
    chat: str = ""
    system: str = ""

    def prompt(self, fields: Mapping[str, str]) -> Prompt:
        """What a model is asked about the problem with these fields, `question` among them."""
        asked = fill(self.template, fields)
        shown = [(fill(self.template, shot), shot["answer"]) for shot in self.shots]
        turns: list[tuple[str, str]] = [("system", self.system)] if self.system else []
        if self.chat:
            turns.append(("user", fill(self.chat, fields)))
        else:
            for question, answer in shown:
                turns += [("user", question), ("assistant", answer)]
            turns.append(("user", asked))
        before = "".join(_joined(question, answer) + BETWEEN for question, answer in shown)
        return Prompt(messages=tuple(turns), text=before + asked, stop=self.stop)


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields filled in. What names no field stays: `\\boxed{}`, `{x}`."""
    return _FIELD.sub(lambda found: fields.get(found[1], found[0]), template)


def named_fields(template: str) -> set[str]:
    """What the template names in braces."""
    return set(_FIELD.findall(template))


def phrased(
    problems: Sequence[tuple[Problem, Mapping[str, str]]], phrasing: Phrasing, where: str
) -> list[Problem]:
    """The problems with the task's prompts. Each comes with its fields beside `question`.

    Raises `UsageError`, beginning with `where`, if a template names no field of a problem: all
    prompts would be the same.
    """
    found = []
    for problem, more in problems:
        fields = {**more, "question": problem.prompt}
        for key, template in (("template", phrasing.template), ("chat", phrasing.chat)):
            if template and not named_fields(template) & fields.keys():
                raise UsageError(
                    f"{where}: [prompt] {key}: names no field of {problem.task_id}; write "
                    f"{{question}} where it shall stand"
                )
        found.append(replace(problem, phrased=phrasing.prompt(fields)))
    return found


def _joined(question: str, answer: str) -> str:
    """A blank between them, unless the template ends with a blank or a line."""
    return question + ("" if question[-1:].isspace() else " ") + answer
