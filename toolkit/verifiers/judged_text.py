"""Which text of a completion was judged, found again by its digest.

Whoever only reads a run asks here: a verifier would know it too, but comes with its sandbox. All
that a completion may be read as is tried, and the digest tells which of it was judged.
"""

import json
from collections.abc import Iterator

from toolkit.records import Judge, Problem, PromptStyle, after_thoughts, answer_digest
from toolkit.verifiers.answers import OR, fenced_blocks, take, up_to_stop
from toolkit.verifiers.fenced_program import fenced_program
from toolkit.verifiers.python_program import extract_program
from toolkit.verifiers.python_prompt import bare_prompt
from toolkit.verifiers.tidied import number_in, tidy

_STOP = ("Question:",)
"""Of prompts that no task phrases, where an answer is a text (`toolkit.verifiers.number`)."""


def judged_text(
    problem: Problem, completion: str, style: PromptStyle, judge: Judge, digest: int
) -> str | None:
    """The answer with this digest in a completion; None where it cannot be found.

    judge: of the run. Answers that a program of the user's takes are not found, nor are
    those of most provers and of patches, unless they stand in the completion as they are.
    """
    readings = _readings(problem, completion, style, judge)
    return next((text for text in readings if answer_digest(text) == digest), None)


def _readings(problem: Problem, completion: str, style: PromptStyle, judge: Judge) -> Iterator[str]:
    """What a completion may be read as; what costs least comes first."""
    yield completion
    yield problem.prompt + completion
    yield bare_prompt(problem.prompt) + completion
    said = after_thoughts(completion)
    if said is None:
        return
    yield said
    yield from fenced_blocks(said)
    if judge.verifier == "python_tests":
        tests = json.loads(problem.reference)
        beginning = "" if tests.get("whole") else problem.prompt
        if program := extract_program(beginning, tests["entry_point"], completion, style):
            yield program
        return
    if program := fenced_program(completion):
        yield program
    rule = judge.settings.get("answer")
    if isinstance(rule, str):
        stop = problem.phrased.stop if problem.phrased else _STOP
        yield from _by_rule(rule, up_to_stop(said, stop) if style == "completion" else said)


def _by_rule(rule: str, said: str) -> Iterator[str]:
    for one in rule.split(OR):
        if found := take(one, said):
            yield found
            yield number_in(found) or found
            yield tidy(found)
            yield found.lstrip(" \n\t(*$")[:1].upper()
