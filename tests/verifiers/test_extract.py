"""From raw answers to programs: forms by hand, and real answers of the embedded model."""

import json

import pytest
from execute_once import execute
from hypothesis import given
from hypothesis import strategies as st
from run_jobs import ROOT

from toolkit.problems.humaneval import python_problem
from toolkit.problems.load import load_problems
from toolkit.records import Answer, answer_digest
from toolkit.verifiers import python_program
from toolkit.verifiers.python_tests import PythonTests, endings

PROMPT = 'from typing import List\n\n\ndef total(x: List[int]) -> int:\n    """Add up x."""\n'
TEST = "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n"
PROBLEM = python_problem("t/0", PROMPT, TEST, "total")
WHOLE = "def total(x: List[int]) -> int:\n    return sum(x)\n"

FORMS = {
    "body only": "    return sum(x)\n",
    "body, first line not indented": "return sum(x)",
    "body, only first line not indented": "s = 0\n    for i in x:\n        s += i\n    return s\n",
    "body in another indentation": "  s = 0\n  for i in x:\n    s += i\n  return s\n",
    "whole function": WHOLE,
    "whole function with its imports": f"from typing import List\n\n{WHOLE}",
    "fenced whole function": f"```python\n{WHOLE}```",
    "fenced body": "```python\n    return sum(x)\n```",
    "fence without end": f"```python\n{WHOLE}",
    "fence of another name": f"```py3\n{WHOLE}\n```\n",
    "prose around a fence": f"Sure! Here it is:\n\n```python\n{WHOLE}```\n\nIt adds them up.",
    "helper in a block of its own": (
        "```python\ndef add(a, b):\n    return a + b\n```\nand\n```python\n"
        "def total(x):\n    s = 0\n    for i in x:\n        s = add(s, i)\n    return s\n```\n"
    ),
    "prose before plain code": f"Here is the function.\n\n{WHOLE}",
    "prose after plain code": f"{WHOLE}\nThis uses the built-in sum.",
    "windows line ends": f"```python\n{WHOLE}```".replace("\n", "\r\n"),
}
WRONG = {
    "empty": "",
    "prose only": "I cannot do that.",
    "a wrong body stays wrong": "    return 0\n",
    "a pass is not made up": "```python\npass\n```",
}


def verdicts(answers, style="chat"):
    programs = {
        name: Answer("t/0", answer_digest(text), text)
        for name, text in (
            (n, PythonTests().extract(PROBLEM, answer, style)) for n, answer in answers.items()
        )
    }
    found = {v.answer: v for v in execute(programs.values(), endings([PROBLEM]), workers=2)}
    return {name: found[p.digest].outcome for name, p in programs.items()}


def test_each_form_of_a_right_answer_passes():
    assert verdicts(FORMS) == dict.fromkeys(FORMS, "passed")


def test_no_answer_is_made_right():
    assert verdicts(WRONG) == dict.fromkeys(WRONG, "failed")


def test_a_completion_is_cut_where_it_leaves_the_function():
    answers = {
        "clean": "\n    return sum(x)\n",
        "goes on with prose": "\n    return sum(x)\n\nThis function adds\nup.\n",
    }
    assert verdicts(answers, "completion") == dict.fromkeys(answers, "passed")


def test_verbatim_is_prompt_and_completion():
    assert PythonTests().extract(PROBLEM, "```x", "verbatim") == PROMPT + "```x"


ANSWERS = [
    json.loads(line)
    for line in (ROOT / "tests" / "data" / "embedded_answers.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


def test_real_answers_of_the_embedded_model_keep_their_verdicts():
    """33 answers of every form it gives, with the verdict that reading them confirms."""
    problems = {p.task_id: p for p in load_problems("humaneval")}
    programs = [
        PythonTests().extract(problems[a["task_id"]], a["completion"], "chat") for a in ANSWERS
    ]
    keyed = [
        Answer(a["task_id"], answer_digest(text), text)
        for a, text in zip(ANSWERS, programs, strict=True)
    ]
    found = {
        (v.task_id, v.answer): v.outcome
        for v in execute(keyed, endings(problems.values()), workers=2)
    }
    passed = [found[p.task_id, p.digest] == "passed" for p in keyed]
    assert passed == [a["passed"] for a in ANSWERS]
    assert 0 < sum(passed) < len(passed)


@given(st.text(max_size=300), st.sampled_from(["chat", "completion", "verbatim"]))
def test_no_text_makes_it_raise_and_it_is_pure(text, style):
    program = PythonTests().extract(PROBLEM, text, style)
    assert program == PythonTests().extract(PROBLEM, text, style)


def test_canonical_solutions_survive_every_form():
    problems = {p.task_id: p for p in load_problems("humaneval")[::4]}
    programs = {}
    for p in problems.values():
        whole = p.prompt + p.solution
        for answer in (p.solution, whole, f"```python\n{whole}\n```"):
            text = PythonTests().extract(p, answer, "chat")
            programs[p.task_id, answer_digest(text)] = Answer(p.task_id, answer_digest(text), text)
    found = execute(programs.values(), endings(problems.values()), workers=2)
    assert {v.outcome for v in found} == {"passed"}


UNITS = {
    "fences": "```\n",
    "empty blocks": "```\n```\n",
    "indented fences": "  ```",
    "fences that are none": " \t```x`\n",
    "backticks": "`",
    "empty lines": "\n",
    "blank lines": " \t \n",
    "spaces": " ",
    "tabs": "\tx\n",
    "carriage returns": "\r\n",
    "one line": "x",
    "blocks": "```python\nx = 1\n```\n",
    "blocks that are wrong": "```\nx = = 1\n```\n",
    "blocks that call": "```\ntotal(1)\n```\n",
    "blocks that call and are wrong": "```\ntotal( = 1\n```\n",
    "helpers": "```\ndef g(): pass\n```\n",
    "helpers that call": "```\ndef g(): return total(1)\n```\n",
    "imports": "```\nimport os\n```\n",
    "definitions": "def total(x): pass\n",
    "definitions and calls": "def total(x): pass\ntotal(1)\n",
    "prose": "total is a function.\n",
    "statements": "a=1\n",
    "statements that are wrong": "a b;",
    "branches": "if a: pass\n",
    "branches by name": "if __name__: pass\n",
    "demonstrations": "total(1)\n",
    "decorators": "@a\n",
    "decorators before a call": "@total(1)\n",
    "parentheses": "(",
    "braces": "{",
    "negations": "not ",
    "lambdas": "lambda:",
    "attributes": "a.",
    "subscripts": "a[0]\n",
    "quotes": "'",
    "open texts": '"""',
    "formatted texts": "f'{a}' ",
    "backslashes": "\\\n",
    "zero bytes": "\0",
    "surrogates": "\udcff",
    "letters": "\u00e9",
    "steps": "if a:\n ",
}
STARTS = ("", "def total(x):\n    return 1\n", "```python\n", "    return sum(x)\n", 'total = f"')
PARSED = 500_000
"""Characters that may be parsed of one completion."""


@pytest.fixture
def parsed(monkeypatch):
    """Lengths of the texts that extraction parses."""
    lengths = []
    parse = python_program._tree_or_line

    def counting(code):
        lengths.append(len(code))
        return parse(code)

    monkeypatch.setattr(python_program, "_tree_or_line", counting)
    return lengths


@pytest.mark.slow
@pytest.mark.parametrize("style", ["chat", "completion"])
@pytest.mark.parametrize("name", UNITS)
def test_any_hundred_thousand_characters_take_bounded_work(name, style, parsed):
    unit = UNITS[name]
    for start in STARTS:
        text = (start + unit * (100_000 // len(unit) + 1))[:100_000]
        parsed.clear()
        assert isinstance(PythonTests().extract(PROBLEM, text, style), str)
        assert sum(parsed) <= PARSED, start


def blocks(number, code="def g{}(): return total({})"):
    return "".join(f"```\n{code.format(i, i)}\n```\n" for i in range(number))


def test_a_block_is_parsed_once_as_a_helper(parsed):
    for code in (
        "x{} = {}",
        "def g{}(): return {}",
        "def g{}(): return total({})",
        "import a{}, b{}",
    ):
        parsed.clear()
        assert PythonTests().extract(
            PROBLEM, blocks(100, code) + FORMS["fenced whole function"], "chat"
        )
        assert len(parsed) <= 102, code


def test_work_grows_with_the_number_of_blocks(parsed):
    found = []
    for number in (50, 100, 200):
        parsed.clear()
        program = PythonTests().extract(PROBLEM, blocks(number - 1) + f"```\n{WHOLE}```\n", "chat")
        assert program.endswith(WHOLE)
        found.append(sum(parsed))
    assert found[2] < 2.5 * found[1] < 2.5 * 2.5 * found[0]


def test_three_thousand_blocks_are_a_failed_extraction_after_little_work(parsed):
    text = blocks(3000)
    assert len(text) > 69_000
    assert PythonTests().extract(PROBLEM, text, "chat") == PROMPT + text
    assert len(parsed) <= 600
    assert sum(parsed) < 100_000


def test_an_answer_before_very_many_blocks_is_found():
    first = f"```\n{WHOLE}```\n"
    assert PythonTests().extract(PROBLEM, first + blocks(3000), "chat").endswith(WHOLE)
    within = blocks(150) + first + blocks(3000)
    assert PythonTests().extract(PROBLEM, within, "chat").endswith(WHOLE)


@pytest.mark.parametrize("style", ["chat", "completion"])
def test_beyond_the_bound_nothing_is_parsed_and_nothing_is_lost(style, parsed):
    text = "\n    return sum(x)\n" + "#" * 1_000_000
    assert PythonTests().extract(PROBLEM, text, style).endswith(text)
    fields = "\n    return sum(x)\n" + 'f"' + "{x}" * 100_000 + '"\n'
    assert PythonTests().extract(PROBLEM, fields, style).endswith(fields)
    assert sum(parsed) <= PARSED
    assert max(parsed, default=0) < 100_000


def test_a_deep_condition_at_the_outer_level_does_not_raise():
    for condition in (
        "a" + ".a" * 900,
        "-" * 90 + "a",
        "a" + "[0]" * 900,
        "(" * 90 + "a" + ")" * 90,
    ):
        answer = f"```python\n{WHOLE}if {condition}:\n    pass\n```"
        assert WHOLE in PythonTests().extract(PROBLEM, answer, "chat")
    for condition in (
        '__name__ == "__main__"',
        "x.__name__",
        "f(__name__=1)",
        "lambda __name__: 0",
    ):
        answer = f"```python\n{WHOLE}if {condition}:\n    pass\n```"
        assert PythonTests().extract(PROBLEM, answer, "chat").endswith(WHOLE)
