"""What was judged is found again by its digest, without the verifier that has taken it."""

import json

import pytest

from toolkit.problems.humaneval import python_problem
from toolkit.records import Judge, Problem, answer_digest
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judged_text import judged_text
from toolkit.verifiers.judges import choice_of, judge_of

PROGRAM = python_problem(
    "a",
    "import math\n\ndef f(n):\n    '''Twice n.'''\n",
    "def check(f):\n    assert f(2) == 4\n",
    "f",
)
WHOLE = "def f(n):\n    return 2 * n\n"


def asks(kind, answer="17", **more):
    return Problem("a", "What is it?", kind, json.dumps({"answer": answer, **more}))


def judge(kind, **settings) -> Judge:
    return judge_of(choice_of(kind, settings=settings))


@pytest.mark.parametrize("style", ["chat", "completion", "verbatim", "solution"])
@pytest.mark.parametrize(
    "completion",
    [
        f"Sure!\n```python\n{WHOLE}```\nThat is it.",
        f"<think>\nhm\n</think>\n{WHOLE}",
        "    return 2 * n\n\nprint(f(2))\nand so on (",
        "```\nreturn 2 * n\n```",
        "no idea",
        "",
        "\ud800 lone",
    ],
)
def test_programs(completion, style):
    assert found(PROGRAM, completion, style, judge("python_tests")) is not None


@pytest.mark.parametrize(
    ("asked", "completion", "by"),
    [
        (asks("number"), "5 + 12 makes $1,017.50", judge("number")),
        (asks("number"), "so\n#### 17 apples", judge("number", answer="marker:#### | last_number")),
        (asks("math"), "It is $\\boxed{ \\dfrac{1}{2} }$.", judge("math")),
        (asks("choice", "B"), "The answer is (b), since", judge("choice")),
        (asks("command"), "Result: x\nend", judge("command", answer="marker:Result:", command="c")),
        (asks("stdin", tests=[]), "Here:\n```python\nprint(1)\n```\nthat", judge("stdin")),
        (asks("stdin", tests=[]), "print(1)", judge("stdin")),
    ],
)
def test_other_answers(asked, completion, by):
    assert found(asked, completion, "chat", by) is not None


def test_what_runs_on_into_a_next_question_is_cut_as_the_verifier_cuts_it():
    text = " 17\nQuestion: and this?\nAnswer: 18"
    assert found(asks("number"), text, "completion", judge("number")) == "17"


def test_a_digest_of_something_else_is_not_found():
    said = judged_text(PROGRAM, WHOLE, "chat", judge("python_tests"), answer_digest("other"))
    assert said is None


def found(asked, completion, style, by):
    """The text that was judged, once it is the one that the verifier takes."""
    taken = open_verifier(by.choice).extract(asked, completion, style)
    assert taken is not None
    assert judged_text(asked, completion, style, by, answer_digest(taken)) == taken
    return taken
